package appliance

import (
	"slices"
	"testing"
	"time"

	"sidetone/board/door"
	"sidetone/board/health"
	"sidetone/rtc/verto"
)

// TestHealthIsOfTheWholeDevice holds that what the loop knows is told beside what the kernel says, each change once.
func TestHealthIsOfTheWholeDevice(t *testing.T) {
	a, _, _ := newLock(t, t.TempDir())
	a.sound = newSound(&soundDevice{capture: "null", playback: "null"}, a.log)
	events, stop := a.watchers.watch()
	defer stop()
	now := time.Now()
	look := func(kernel health.Readings) (codes []health.Code) {
		for range 2 {
			now = now.Add(10 * time.Minute) // longer than anything waits
			a.examine(kernel, now)
		}
		for _, h := range a.view.health {
			codes = append(codes, h.Code)
		}
		return codes
	}
	for _, c := range []struct {
		change func()
		kernel health.Readings
		want   []health.Code
	}{
		{func() {}, health.Readings{}, []health.Code{health.NotRegistered}},
		{func() { a.view.line.State = verto.Registered }, health.Readings{}, nil},
		{func() { a.view.offline, a.view.line.State = true, verto.Down }, health.Readings{}, []health.Code{health.NoNetwork}},
		{func() { a.view.offline, a.view.line.State = false, verto.Registered }, health.Readings{}, nil},
		{func() { a.view.stuck = map[string]bool{"bell": true} }, health.Readings{}, []health.Code{health.ButtonStuck}},
		{func() { a.view.stuck = nil }, health.Readings{health.Hot: {Bad: true}}, []health.Code{health.Hot}},
		{func() { a.cardGone.Store(true) }, health.Readings{health.Hot: {}, health.NoCard: {}}, []health.Code{health.NoCard}},
		{func() { a.cardGone.Store(false); a.atDoor(door.Input{Kind: door.Tamper, On: true}) }, health.Readings{health.NoCard: {}}, []health.Code{health.Tampered}},
	} {
		c.change()
		if got := look(c.kernel); !slices.Equal(got, c.want) {
			t.Errorf("%v, want %v", got, c.want)
		}
	}
	a.commands.Wait()
	var told []string
	for len(events) > 0 {
		if e := <-events; e.Event == "health" {
			told = append(told, e.Name)
		}
	}
	if want := []string{"not_registered", "no_network", "button_stuck", "hot", "no_card", "tamper"}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
	a.sound.counts.reopened.Add(1)
	a.examine(health.Readings{}, now)
	if !slices.ContainsFunc(a.view.health, func(h health.Active) bool { return h.Code == health.SoundStalls }) {
		t.Errorf("the card stopped, and wrong is %+v", a.view.health)
	}
}
