package jitter

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sidetone/audio/audiotest"

	"github.com/pion/rtp"
)

// schedule makes a trace of n packets of 20 ms; delay says how late number i is, negative: lost.
func schedule(n int, delay func(i int) time.Duration) []audiotest.Packet {
	var trace []audiotest.Packet
	for i := range n {
		sent := time.Duration(i) * 20 * ms
		if d := delay(i); d >= 0 {
			trace = append(trace, audiotest.Packet{Seq: i, Sent: sent, At: sent + d})
		}
	}
	slices.SortStableFunc(trace, func(a, b audiotest.Packet) int { return int(a.At/1000 - b.At/1000) })
	return trace
}

const ms = time.Millisecond

func steady(int) time.Duration { return 30 * ms }

func numbers(from, to int) []int {
	var out []int
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}

func TestStartsAfterTheStartingDelay(t *testing.T) {
	p := player{b: New(Config{Start: 60 * ms}), trace: schedule(100, steady)}
	if d := p.b.Pull(0, 0, 960); d.Kind != Wait || d.Samples != 960 {
		t.Errorf("an empty buffer decides %+v", d)
	}
	if o := p.play(90 * ms); o.plays != 0 {
		t.Errorf("%d frames were played before the starting delay", o.plays)
	}
	o := p.play(500 * ms)
	if o.lost != 0 || o.order[0] != 0 || o.delay() < 50*ms || o.delay() >= 80*ms {
		t.Errorf("lost %d, first %d, delay %v; want 0, 0, 50 to 80 ms", o.lost, o.order[0], o.delay())
	}
}

// A busy machine of two cores holds packets back for 40 ms now and then, and pulls in bursts.
func TestRidesThroughABusyMachine(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var until time.Duration
	trace := schedule(3000, func(i int) time.Duration {
		sent := time.Duration(i) * 20 * ms
		if rng.IntN(40) == 0 {
			until = sent + 40*ms
		}
		return max(until-sent, 0)
	})
	p := player{b: New(Config{}), trace: trace}
	for now := time.Duration(0); now < 59*time.Second; now += 20 * ms {
		stall := time.Duration(rng.IntN(2)*rng.IntN(2)) * 15 * ms
		for len(p.trace) > 0 && p.trace[0].At <= now+stall {
			p.b.Push(packet(p.trace[0].Seq), Info{Samples: 960}, p.trace[0].At)
			p.trace = p.trace[1:]
		}
		p.now = now + stall
		p.pull()
		if now == 10*time.Second {
			p.outcome = outcome{} // it has learned
		}
	}
	if p.concealed() > 0.0005 || p.delay() > 80*ms {
		t.Errorf("concealed %.2f %%, delay %v", 100*p.concealed(), p.delay())
	}
}

func TestFallsToTheMinimum(t *testing.T) {
	p := player{b: New(Config{}), trace: schedule(1000, steady)}
	p.play(14 * time.Second)
	if o := p.play(19 * time.Second); o.delay() > 20*ms || o.lost+o.longer+o.shorter > 0 {
		t.Errorf("delay %v, %+v", o.delay(), o)
	}
}

// The first packets of a call often come in one piece, when the last layer begins to be read.
func TestStartWithABurst(t *testing.T) {
	p := player{b: New(Config{}), trace: schedule(700, func(i int) time.Duration { return max(100*ms-time.Duration(i)*20*ms, 0) })}
	o := p.play(13 * time.Second)
	if !slices.Equal(o.order, numbers(0, len(o.order))) || o.lost > 0 {
		t.Errorf("lost %d", o.lost)
	}
}

func TestReorderedAndDoubledPackets(t *testing.T) {
	trace := schedule(500, func(i int) time.Duration { return 20*ms + time.Duration(i%3)*25*ms })
	trace = append(trace, trace[100:200]...)
	slices.SortStableFunc(trace, func(a, b audiotest.Packet) int { return int(a.At/1000 - b.At/1000) })
	p := player{b: New(Config{Start: 80 * ms}), trace: trace}
	o := p.play(9 * time.Second)
	if !slices.Equal(o.order, numbers(0, len(o.order))) || o.lost > 0 {
		t.Errorf("lost %d, order %v", o.lost, o.order)
	}
	if s := p.b.Stats(); s.Duplicates != 100 || s.Discarded != 0 || s.Restarts != 0 {
		t.Errorf("%+v, want 100 duplicates and nothing else", s)
	}
}

// The first packets tell what the network is like before anything is played, and on a steady one that costs no delay.
func TestListensBeforePlaying(t *testing.T) {
	for _, tt := range []struct {
		jitter, least, most time.Duration
	}{{0, 20 * ms, 40 * ms}, {25 * ms, 40 * ms, 200 * ms}} {
		p := player{b: New(Config{}), trace: schedule(100, func(i int) time.Duration { return 10*ms + time.Duration(i*2%3)*tt.jitter })}
		o := p.play(time.Second)
		if d := o.overFastest(); d < tt.least || d > tt.most || o.lost > 0 {
			t.Errorf("jitter of %v: played %v after the fastest, lost %d", tt.jitter, d, o.lost)
		}
		if s := p.b.Stats(); s.Discarded != 0 || o.plays < 44 {
			t.Errorf("jitter of %v: %d played, %+v", tt.jitter, o.plays, s)
		}
	}
}

func TestLatePacketIsDiscardedOnce(t *testing.T) {
	trace := schedule(200, func(i int) time.Duration {
		if i == 100 {
			return 150 * ms
		}
		return 10 * ms
	})
	p := player{b: New(Config{}), trace: append(trace, trace[len(trace)-1])}
	o := p.play(3900 * ms)
	if o.lost != 960 || slices.Contains(o.order, 100) {
		t.Errorf("lost %d samples", o.lost)
	}
	p.b.Push(packet(100), Info{Samples: 960}, p.now) // and once more
	if s := p.b.Stats(); s.Discarded != 1 || s.Duplicates == 0 {
		t.Errorf("%+v, want one discarded", s)
	}
}

// What is late by up to 300 ms is played all the same, and within 2 s the delay is as low as it was.
func TestSpikeIsForgottenSoon(t *testing.T) {
	trace := schedule(3000, func(i int) time.Duration {
		if sent := time.Duration(i) * 20 * ms; sent > 20*time.Second && sent < 20*time.Second+300*ms {
			return 20*time.Second + 300*ms - sent
		}
		return 0
	})
	p := player{b: New(Config{}), trace: trace}
	p.play(16 * time.Second)
	before := p.play(20 * time.Second)
	during := p.play(22300 * ms)
	if lost := time.Duration(during.lost) * 20 * ms / 960; lost < 200*ms || lost > 300*ms {
		t.Errorf("%v concealed in a stall of 300 ms with %v of buffer", lost, before.delay())
	}
	if during.order[0] > 1000 || !slices.Equal(during.order, numbers(during.order[0], during.order[0]+len(during.order))) {
		t.Errorf("not all was played: %v", during.order)
	}
	if o := p.play(23300 * ms); o.delay() > before.delay()+20*ms || o.lost > 0 {
		t.Errorf("delay %v 2 s after the stall, %v before; lost %d", o.delay(), before.delay(), o.lost)
	}
}

// Stalls that come again are waited for.
func TestStallsAreLearned(t *testing.T) {
	p := player{b: New(Config{}), trace: schedule(6000, func(i int) time.Duration {
		return max(120*ms-time.Duration(i%100)*20*ms, 0)
	})}
	p.play(60 * time.Second)
	if o := p.play(119 * time.Second); o.concealed() > 0.002 || o.overFastest() > 160*ms {
		t.Errorf("concealed %.2f %% at %v; stalls of 120 ms", 100*o.concealed(), o.overFastest())
	}
}

func TestBurstOfLossKeepsTheDelay(t *testing.T) {
	p := player{b: New(Config{}), trace: schedule(1200, func(i int) time.Duration {
		if i >= 1010 && i < 1030 {
			return -1
		}
		return 0
	})}
	p.play(15 * time.Second)
	before := p.play(20 * time.Second)
	during := p.play(21 * time.Second)
	after := p.play(23 * time.Second)
	if during.lost != 20*960 || during.longer+during.shorter > 0 {
		t.Errorf("20 packets lost, %d samples concealed", during.lost)
	}
	if d := after.delay() - before.delay(); d < -5*ms || d > 5*ms {
		t.Errorf("the delay moved by %v", d)
	}
}

// It is worth a packet's time to wait for what the next packet tells of the one before.
func TestWaitsForRedundancy(t *testing.T) {
	p := player{b: New(Config{}), codes: true, trace: schedule(3000, func(i int) time.Duration {
		if i%20 == 7 {
			return -1
		}
		return 30 * ms
	})}
	p.play(20 * time.Second)
	if o := p.play(59 * time.Second); o.lost > 0 || o.fec == 0 || o.delay() > 45*ms {
		t.Errorf("concealed %d, recovered %d, delay %v", o.lost, o.fec, o.delay())
	}
}

// The last of several lost in a row is recovered, too, whatever was made up before it.
func TestRedundancyEndsABurst(t *testing.T) {
	p := player{b: New(Config{}), codes: true, trace: schedule(3000, func(i int) time.Duration {
		if i%40 >= 30 && i%40 < 35 || i%40 == 7 {
			return -1
		}
		return 30 * ms
	})}
	p.play(20 * time.Second)
	if o := p.play(52 * time.Second); o.lost != 40*4*960 || o.fec != 80*960 {
		t.Errorf("of 40 bursts of 5, concealed %d frames, recovered %d with the 40 lost alone", o.lost/960, o.fec/960)
	}
}

func TestAnotherStream(t *testing.T) {
	change := map[string]func(*rtp.Packet){
		"SSRC":               func(p *rtp.Packet) { p.SSRC = 2 },
		"sequence number":    func(p *rtp.Packet) { p.SequenceNumber += 20000 },
		"timestamp forward":  func(p *rtp.Packet) { p.Timestamp += 1 << 29 },
		"timestamp backward": func(p *rtp.Packet) { p.Timestamp -= 1 << 29 },
		"everything":         func(p *rtp.Packet) { p.SSRC, p.SequenceNumber, p.Timestamp = 3, p.SequenceNumber-9999, 5 },
	}
	for name, change := range change {
		p := player{b: New(Config{})}
		for i := range 400 {
			p.now = time.Duration(i) * 20 * ms
			q := packet(i)
			if i >= 200 {
				if change(q); name == "everything" {
					q.Timestamp += uint32(i) * 960
				}
			}
			p.b.Push(q, Info{Samples: 960}, p.now)
			p.pull()
		}
		if s := p.b.Stats(); s.Restarts != 1 {
			t.Errorf("%s: %d restarts, want 1", name, s.Restarts)
		}
		// What was buffered of the old stream is given up, and the new one starts with its own delay.
		if p.plays < 385 || p.lost > 0 || p.b.Target() > 20*ms {
			t.Errorf("%s: played %d of 400, lost %d, target %v", name, p.plays, p.lost, p.b.Target())
		}
	}
}

func TestOneStrayPacketIsNoNewStream(t *testing.T) {
	p := player{b: New(Config{})}
	for i := range 200 {
		p.now = time.Duration(i) * 20 * ms
		if i == 100 {
			stray := packet(i)
			stray.SequenceNumber += 30000
			p.b.Push(stray, Info{Samples: 960}, p.now)
		}
		p.b.Push(packet(i), Info{Samples: 960}, p.now)
		p.pull()
	}
	if s := p.b.Stats(); s.Restarts != 0 || s.Discarded != 1 || p.lost != 0 {
		t.Errorf("%+v, lost %d", s, p.lost)
	}
}

func TestPauseOfTheSender(t *testing.T) {
	t.Run("without a word", func(t *testing.T) {
		p := player{b: New(Config{})}
		for i := range 700 {
			p.now = time.Duration(i) * 20 * ms
			// Nothing is sent for 6 s; sequence numbers go on as if nothing was, timestamps with time.
			if q := packet(i); i < 200 || i >= 500 {
				if i >= 500 {
					q.SequenceNumber -= 300
				}
				p.b.Push(q, Info{Samples: 960}, p.now)
			}
			p.pull()
		}
		if s := p.b.Stats(); p.plays < 390 || s.Discarded > 0 || s.Restarts > 0 {
			t.Errorf("played %d of 400, %+v", p.plays, s)
		}
		if p.lost > 102*960 {
			t.Errorf("concealed %d samples where nothing was sent", p.lost)
		}
	})
	t.Run("by DTX", func(t *testing.T) {
		p := player{b: New(Config{})}
		seq := 0
		for i := range 700 {
			p.now = time.Duration(i) * 20 * ms
			resting := i >= 200 && i < 500
			if !resting || i%20 == 0 { // an update every 400 ms
				q := packet(i)
				q.SequenceNumber = uint16(seq)
				seq++
				if resting {
					q.Payload = q.Payload[:2]
				}
				p.b.Push(q, Info{Samples: 960}, p.now)
			}
			d := p.pull()
			if d.Kind == Lost {
				t.Fatalf("frame %d is taken for lost", i)
			}
		}
	})
}

func TestEventsAreNotMissing(t *testing.T) {
	p := player{b: New(Config{})}
	for i := range 100 {
		p.now = time.Duration(i) * 20 * ms
		q := packet(i)
		if i >= 50 && i < 55 { // a telephone event in place of sound
			q.Payload = nil
		}
		p.b.Push(q, Info{Samples: 960}, p.now)
		p.pull()
	}
	if p.lost != 0 || p.silence < 4*960 || p.silence > 6*960 {
		t.Errorf("lost %d, silence %d; want 0 and about 4800", p.lost, p.silence)
	}
}

func TestNobodyPulls(t *testing.T) {
	b := New(Config{})
	for i := range 10000 {
		b.Push(packet(i), Info{Samples: 960}, time.Duration(i)*20*ms)
	}
	p := player{b: b, now: 10000 * 20 * ms}
	for i := 10000; i < 10200; i++ {
		b.Push(packet(i), Info{Samples: 960}, p.now)
		p.pull()
		p.now += 20 * ms
	}
	p.outcome = outcome{}
	for i := 10200; i < 10300; i++ {
		b.Push(packet(i), Info{Samples: 960}, p.now)
		p.pull()
		p.now += 20 * ms
	}
	if p.delay() > 400*ms || p.plays < 95 {
		t.Errorf("played %d of 100 with a delay of %v after a long time without pulls", p.plays, p.delay())
	}
}

func TestPacketsOfOtherLengths(t *testing.T) {
	for _, samples := range []int{120, 480, 1920, 2880, 5760} {
		b := New(Config{})
		p := player{b: b}
		var heard, lost, n int // in samples
		for now := time.Duration(0); now < 10*time.Second; now += 20 * ms {
			for ; samplesOf(now) >= int64(n*samples); n++ {
				q := packet(n)
				q.Timestamp = uint32(n * samples)
				if n%50 != 25 {
					b.Push(q, Info{Samples: samples}, now)
				}
			}
			for p.ready < 960 {
				d := b.Pull(now, p.ready, 960-p.ready)
				p.ready += d.Samples
				switch d.Kind {
				case Play:
					heard += d.Samples
				case Lost:
					lost += d.Samples
				}
			}
			p.ready -= 960
		}
		if share := float64(lost) / float64(heard+lost); share < 0.012 || share > 0.03 || heard < 9*clockRate {
			t.Errorf("packets of %d samples: heard %d, lost %d; want 2 %% lost", samples, heard, lost)
		}
	}
}

// A sound card that is not as fast as the sender's moves the delay; it must be led back, without loss, for ever.
func TestClockDrift(t *testing.T) {
	for _, ppm := range []int64{-100, 100} {
		p := player{b: New(Config{})}
		sent := 0
		for i := range 3600 * 50 * 8 {
			p.now = time.Duration(i)*20*ms + time.Duration(i)*20*ms*time.Duration(ppm)/1e6
			for time.Duration(sent)*20*ms <= p.now {
				p.b.Push(packet(sent), Info{Samples: 960}, time.Duration(sent)*20*ms)
				sent++
			}
			p.pull()
			if p.order = p.order[:0]; p.plays > 60*50 {
				if p.delay() > 30*ms || p.lost > 0 {
					t.Fatalf("%d ppm: delay %v, lost %d", ppm, p.delay(), p.lost)
				}
				p.plays, p.waited = 0, 0
			}
		}
		if ppm > 0 && p.shorter == 0 || ppm < 0 && p.longer == 0 {
			t.Errorf("%d ppm: shorter by %d, longer by %d", ppm, p.shorter, p.longer)
		}
	}
}

func TestCosts(t *testing.T) {
	for ms := int64(0); ms < 900; ms += 7 {
		ta := float64(ms) + others.Seconds()*1000
		want := 0.0
		if ta > 100 {
			x := math.Log2(ta / 100)
			want = 25 * (math.Pow(1+math.Pow(x, 6), 1.0/6) - 3*math.Pow(1+math.Pow(x/3, 6), 1.0/6) + 2)
		}
		if got := float64(delayCost(ms*1e6)-liking*ms) / 1000; math.Abs(got-want) > 0.15 {
			t.Errorf("%d ms: %v, want %v", ms, got, want)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	b := New(Config{})
	q, i := packet(0), 0
	q.Payload = make([]byte, 200)
	if n := testing.AllocsPerRun(5000, func() {
		q.SequenceNumber, q.Timestamp = uint16(i), uint32(i)*960
		now := time.Duration(i) * 20 * ms
		b.Push(q, Info{Samples: 960}, now)
		b.Pull(now, 0, 960)
		i++
	}); n != 0 {
		t.Errorf("%g allocations for a packet", n)
	}
}

func BenchmarkPushPull(b *testing.B) {
	b.ReportAllocs()
	buf := New(Config{})
	q, i := packet(0), 0
	q.Payload = make([]byte, 80)
	for b.Loop() {
		q.SequenceNumber, q.Timestamp = uint16(i), uint32(i)*960
		now := time.Duration(i) * 20 * ms
		buf.Push(q, Info{Samples: 960, FEC: i&1 == 0}, now)
		buf.Pull(now, 0, 960)
		i++
	}
}
