package jitter

import (
	"testing"
	"time"

	"sidetone/audio/audiotest"

	"github.com/pion/rtp"
)

func readTrace(t testing.TB, name string) []audiotest.Packet {
	trace, err := audiotest.ReadTrace("../audiotest/testdata/traces/" + name + ".csv")
	if err != nil {
		t.Fatal(err)
	}
	return trace
}

// packet is number n of a stream whose sequence numbers and timestamps soon wrap.
func packet(n int) *rtp.Packet {
	return &rtp.Packet{
		Header:  rtp.Header{SSRC: 1, SequenceNumber: uint16(n + 65500), Timestamp: uint32(n)*960 - 9600},
		Payload: []byte{byte(n), byte(n >> 8), 0, 0},
	}
}

func number(payload []byte) int { return int(payload[0]) | int(payload[1])<<8 }

// outcome is what was decided while a trace was played.
type outcome struct {
	plays, lost, recoverable, holds, drops, skips, silence int
	waited                                                 time.Duration // sum over plays
	order                                                  []int         // numbers of the packets played
}

// concealed is the share of the frames heard that were made up.
func (o outcome) concealed() float64 { return float64(o.lost) / float64(o.plays+o.lost-o.drops) }

func (o outcome) delay() time.Duration { return o.waited / time.Duration(max(o.plays, 1)) }

// player pulls every 20 ms; every fifth second is a pause in the speech.
type player struct {
	b     *Buffer
	trace []audiotest.Packet
	now   time.Duration
	outcome
}

// play goes on until the given time.
func (p *player) play(until time.Duration) outcome {
	p.outcome = outcome{}
	for ; p.now < until; p.now += 20 * time.Millisecond {
		for len(p.trace) > 0 && p.trace[0].At <= p.now {
			p.b.Push(packet(p.trace[0].Seq), 960, p.trace[0].At)
			p.trace = p.trace[1:]
		}
		p.pull(p.now/time.Second%5 == 4)
	}
	return p.outcome
}

func (p *player) pull(quiet bool) Decision {
	d := p.b.Pull(p.now, quiet)
	played := func(d Decision) {
		p.plays++
		p.waited += d.Waited
		p.order = append(p.order, number(d.Payload))
	}
	if d.Skipped {
		p.skips++
	}
	switch d.Kind {
	case Play:
		played(d)
		if next, ok := p.b.Drop(p.now, quiet); ok {
			p.drops++
			played(next)
		}
	case Lost:
		p.lost++
		if d.Payload != nil {
			p.recoverable++
		}
	case Hold:
		p.holds++
	case Silence:
		p.silence++
	}
	return d
}

func TestTraces(t *testing.T) {
	const ms = time.Millisecond
	tests := map[string]struct {
		concealed   float64 // at most
		recoverable float64 // share of the concealed, at least
		delay       time.Duration
	}{
		"clean":    {0, 0, 80 * ms},
		"loss5":    {0.0495, 0.9, 80 * ms}, // 4.9 % are lost
		"burst":    {0.145, 0.15, 80 * ms}, // 14 % are lost, in long runs
		"jitter30": {0.01, 0, 150 * ms},
		"wifi":     {0.02, 0, 220 * ms},
	}
	for name, want := range tests {
		trace := readTrace(t, name)
		end := trace[len(trace)-1].At
		for _, phase := range []time.Duration{0, 7 * ms, 13 * ms} {
			p := player{b: New(Config{}), trace: trace, now: phase}
			o := p.play(end)
			t.Logf("%s: delay %v, concealed %.2f %%, recoverable %d of %d, holds %d, drops %d, skips %d, target %v",
				name, o.delay().Round(ms), 100*o.concealed(), o.recoverable, o.lost, o.holds, o.drops, o.skips, p.b.Target())
			if o.concealed() > want.concealed || o.delay() > want.delay || float64(o.recoverable) < want.recoverable*float64(o.lost) || o.skips > 0 {
				t.Errorf("%s: out of bounds", name)
			}
			for i := range o.order[1:] {
				if o.order[i+1] <= o.order[i] {
					t.Fatalf("%s: packet %d was played after %d", name, o.order[i+1], o.order[i])
				}
			}
		}
	}
}
