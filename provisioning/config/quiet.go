package config

import (
	"slices"
	"time"
)

// What becomes of a call that comes in the quiet hours.
const (
	QuietReject = "reject" // it is told that we are busy
	QuietSilent = "silent" // nothing rings
	QuietSoft   = "soft"   // it rings at RingVolume
)

// Quiet are the hours in which nothing may ring. Without From and To there are none.
type Quiet struct {
	From   string   `toml:"from"`   // 15:04, by the device's local time
	To     string   `toml:"to"`     // not after From: of the next day
	Days   []string `toml:"days"`   // mon … sun, on which they begin; empty: each day
	Action string   `toml:"action"` // QuietReject | QuietSilent | QuietSoft
	// RingVolume is in percent. Lamp lets the lamp show what rings.
	RingVolume int  `toml:"ring_volume"`
	Lamp       bool `toml:"lamp"`
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} // as time.Weekday counts

const clock = "15:04"

// At tells whether t, by the clock of its location, lies within the quiet hours. They begin with From and end just
// before To. Whoever asks must know that the clock is right.
func (q Quiet) At(t time.Time) bool {
	from, err1 := time.Parse(clock, q.From)
	to, err2 := time.Parse(clock, q.To)
	if err1 != nil || err2 != nil {
		return false
	}
	now, begin, end := minutes(t), minutes(from), minutes(to)
	if begin < end {
		return begin <= now && now < end && q.on(t.Weekday())
	}
	// Over midnight: since today's beginning, or still in yesterday's.
	return now >= begin && q.on(t.Weekday()) || now < end && q.on((t.Weekday()+6)%7)
}

func (q Quiet) on(d time.Weekday) bool {
	return len(q.Days) == 0 || slices.Contains(q.Days, weekdays[d])
}

func minutes(t time.Time) int { return t.Hour()*60 + t.Minute() }
