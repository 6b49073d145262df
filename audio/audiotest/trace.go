package audiotest

import (
	"encoding/csv"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"
)

// Packet is one line of a trace: when a packet was sent and when it came, from a common start.
type Packet struct {
	Seq      int
	Sent, At time.Duration
}

// ReadTrace reads a schedule of packets, a CSV file with a head and the columns seq, send_ms, delay_ms (-1: never comes),
// and gives those that come in the order in which they do.
func ReadTrace(path string) ([]Packet, error) {
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
	var trace []Packet
	for i, row := range rows[min(1, len(rows)):] {
		seq, err1 := strconv.Atoi(row[0])
		sent, err2 := strconv.ParseFloat(row[1], 64)
		delay, err3 := strconv.ParseFloat(row[2], 64)
		if err1 != nil || err2 != nil || err3 != nil {
			return nil, fmt.Errorf("%s:%d: want three numbers: seq, send_ms, delay_ms", path, i+2)
		}
		if delay >= 0 {
			at := func(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
			trace = append(trace, Packet{seq, at(sent), at(sent + delay)})
		}
	}
	slices.SortStableFunc(trace, func(a, b Packet) int { return int(max(min(a.At-b.At, 1), -1)) })
	return trace, nil
}
