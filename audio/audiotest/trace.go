package audiotest

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"
)

// Packet is a packet that comes: when it was sent and when it is there, from a common start.
type Packet struct {
	Seq      int
	Sent, At time.Duration
}

// Row is one line of a schedule: a packet, when it is sent, and how long it takes.
type Row struct {
	Seq   int
	Sent  time.Duration
	Delay time.Duration // negative: it never comes
}

// Schedule says of each packet of a stream when it is sent and when it comes.
type Schedule []Row

// Arrivals gives the packets that come, in the order in which they do.
func (s Schedule) Arrivals() []Packet {
	var trace []Packet
	for _, r := range s {
		if r.Delay >= 0 {
			trace = append(trace, Packet{r.Seq, r.Sent, r.Sent + r.Delay})
		}
	}
	slices.SortStableFunc(trace, func(a, b Packet) int { return int(max(min(a.At-b.At, 1), -1)) })
	return trace
}

// ReadSchedule reads a CSV file with a head and the columns seq, send_ms, delay_ms (-1: never comes).
func ReadSchedule(path string) (Schedule, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.FieldsPerRecord = 3
	rows, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var s Schedule
	for i, row := range rows[min(1, len(rows)):] {
		seq, err1 := strconv.Atoi(row[0])
		sent, err2 := strconv.ParseFloat(row[1], 64)
		delay, err3 := strconv.ParseFloat(row[2], 64)
		if err1 != nil || err2 != nil || err3 != nil {
			return nil, fmt.Errorf("%s:%d: want three numbers: seq, send_ms, delay_ms", path, i+2)
		}
		at := func(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
		s = append(s, Row{seq, at(sent), at(sent+delay) - at(sent)})
		if delay < 0 {
			s[len(s)-1].Delay = -1
		}
	}
	return s, nil
}

// ReadTrace reads what ReadSchedule does, and gives the packets that come.
func ReadTrace(path string) ([]Packet, error) {
	s, err := ReadSchedule(path)
	return s.Arrivals(), err
}

// WriteSchedule writes what ReadSchedule reads; delays are rounded to 10 us.
func WriteSchedule(path string, s Schedule) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := csv.NewWriter(f)
	rows := [][]string{{"seq", "send_ms", "delay_ms"}}
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	for _, r := range s {
		delay := "-1"
		if r.Delay >= 0 {
			delay = strconv.FormatFloat(ms(r.Delay), 'f', 2, 64)
		}
		rows = append(rows, []string{strconv.Itoa(r.Seq), strconv.FormatFloat(ms(r.Sent), 'f', -1, 64), delay})
	}
	return w.WriteAll(rows)
}
