package jitter

import "time"

const (
	// shortest is 2.5 ms, the unit of what an Opus decoder conceals (RFC 6716, section 2).
	shortest = clockRate / 400
	// worthwhile is the gain for which the delay is changed, in thousandths of R: each change is heard a little.
	worthwhile = 1000
	// period is the longest that one stretch changes: a period of a low voice.
	period = 20 * time.Millisecond
	// hasty is the excess that is played away as fast as speech can bear: up to a third faster. Below it changes are this
	// far apart:
	hasty, apart = 15 * time.Millisecond, 30 * time.Millisecond
	// intolerable is the excess that is not played away but skipped.
	intolerable = 500 * time.Millisecond
	// likely is the chance, in millionths, from which on what is there is made longer for a packet that may be late.
	// To be wrong costs a moment's stretch, to be late a hole.
	likely = million / 12
	// listening is how long nothing is played at the start of a stream.
	listening = 60 * time.Millisecond
	// maxAhead is how far above its target the delay may go while packets are waited for.
	maxAhead = 160 * time.Millisecond
)

// Pull decides what is played when somebody asks for sound now, a time since the same moment as Push's. What is decided
// is played after the samples that are ready from before; wanted are as many more at least.
func (b *Buffer) Pull(now time.Duration, ready, wanted int) Decision {
	t := clampTime(now) + nanos(int64(ready))
	if !b.started && !b.start(t) {
		return Decision{Kind: Wait, Samples: wanted}
	}
	skipped := b.catchUp(t)
	s, missing := b.current()
	clock := b.next + b.held
	b.delays.add(t - b.estimate.fastest() - nanos(clock))
	if s == nil {
		return b.starve(wanted)
	}
	if gap := s.ts - clock; gap >= shortest {
		return b.bridge(s, gap, missing, wanted, t)
	}
	// A packet that was waited for in vain comes with the delay that it brings.
	b.delays.shift(nanos(clock - s.ts))
	d := b.play(s, t)
	d.Skipped = skipped
	d.Delay = time.Duration(b.delays.latest())
	d.Stretch, d.Hurry = b.stretch(t, nanos(int64(ready)))
	return d
}

// Stretched tells by how many samples the sound of the last decision became longer, or, when n is negative, shorter.
func (b *Buffer) Stretched(n int) {
	if n != 0 {
		b.delays.shift(nanos(int64(n)))
		b.calm = 0
	}
}

// start begins playout when the first packet is due. At the start of a stream it listens first, for what the network is
// like; what could have been played meanwhile is left out, so that the delay is none the longer for it.
func (b *Buffer) start(now int64) bool {
	stale := int64(maxStale)
	if since := now - b.estimate.began; since < int64(first) {
		if since < int64(listening) {
			return false
		}
		stale = int64(unit)
	}
	for {
		s, _ := b.oldest()
		if s == nil {
			return false
		}
		late := now - b.estimate.due(s.ts)
		if late < 0 {
			return false
		}
		if late >= stale {
			s.state = played // it is not missed
			continue
		}
		b.started = true
		b.nextSeq, b.next, b.held, b.starved = s.seq, s.ts, 0, 0
		b.paused, b.calm = false, 0
		b.delays.reset()
		return true
	}
}

// current finds the packet to be played next, and throws away those whose time has gone.
func (b *Buffer) current() (s *slot, missing int) {
	for {
		s, missing = b.oldest()
		if s == nil || s.ts >= b.next {
			return s, missing
		}
		b.discard(s)
	}
}

// play takes s out of the buffer.
func (b *Buffer) play(s *slot, now int64) Decision {
	s.state = played
	b.nextSeq, b.next, b.held, b.starved = s.seq+1, s.ts+int64(s.samples), 0, 0
	b.paused = len(s.payload) <= 2
	b.calm += int64(s.samples)
	return Decision{Kind: Play, Payload: s.payload, Seq: uint16(s.seq), Samples: s.samples, Waited: time.Duration(max(now-s.arrival, 0))}
}

// stretch says by how much the frame that is played at now may be longer or shorter. Sound is asked for in frames, so
// what counts against the lateness of packets is the delay less what is ready from before: that changes by whole frames,
// when the ready part runs out or becomes a frame.
func (b *Buffer) stretch(now, ready int64) (samples int, hurry bool) {
	delay, e := b.delays.latest(), &b.estimate
	// When the first packet that is not there yet is likely to come too late, the time until then is better filled with
	// what is there, made longer, than with what never was.
	if delay < e.target+int64(maxAhead) && e.willBeLate(now-ready-e.fastest()-nanos(b.absent()), delay-ready) >= likely {
		return int(samplesOf(period)), true
	}
	calm := b.calm >= samplesOf(apart)
	margin := b.delays.lowest() - ready
	switch here := e.cost(margin); {
	case e.cost(margin-int64(unit))+worthwhile < here:
		hurry = margin-e.target > int64(hasty)
		if hurry || calm {
			return -int(samplesOf(period)), hurry
		}
	case e.cost(margin+int64(unit))+worthwhile < here:
		if calm {
			return int(samplesOf(period)), false
		}
	case ready > 0 && calm:
		return -int(samplesOf(time.Duration(ready))), false
	}
	return 0, false
}

// bridge fills the gap before s: with what s says of it, or with a guess, or with nothing where nothing was sent.
func (b *Buffer) bridge(s *slot, gap int64, missing, wanted int, now int64) Decision {
	d := Decision{Kind: Lost, Seq: uint16(s.seq), Waited: time.Duration(max(now-s.arrival, 0)), Delay: time.Duration(b.delays.latest())}
	switch {
	case missing == 0:
		d.Kind = Silence
		d.Samples = b.pause(gap)
	case s.fec && gap == int64(s.samples):
		// What was waited for before it is given up.
		d.Payload, d.Samples = s.payload, int(gap)
		b.next, b.held = s.ts, 0
	default:
		// What is missing may still come, so no more is made up than is wanted now. The last frame is left to FEC.
		if s.fec && gap >= int64(s.samples)+shortest {
			gap -= int64(s.samples)
		}
		d.Samples = int(min(gap, up(int64(wanted)), samplesOf(unit)))
		d.Samples -= d.Samples % shortest
		b.held += int64(d.Samples)
		b.tooLong()
	}
	return d
}

// pause is a piece of a gap in which nothing was sent; it is shorter or longer where the delay is to change.
func (b *Buffer) pause(gap int64) int {
	n := min(gap, samplesOf(unit))
	n -= n % shortest
	b.next += b.held + n
	b.held = 0
	excess := b.delays.latest() - b.estimate.target
	change := min(max(samplesOf(time.Duration(-excess)), shortest-n), n)
	change -= change % shortest
	b.delays.shift(nanos(change))
	return int(n + change)
}

// starve plays on while nothing is there. The packets may only be late, so the clock stands, but for a limited time.
func (b *Buffer) starve(wanted int) Decision {
	n := min(up(int64(wanted)), samplesOf(unit))
	b.held += n
	b.starved += n
	b.tooLong()
	if b.starved >= samplesOf(maxStarved) {
		b.started = false
	}
	kind := Lost
	if last := &b.slots[uint64(b.highest)%slots]; b.paused || last.samples == 0 && last.seq >= b.nextSeq {
		kind = Silence // the last word was that there is none, or an event in place of sound
	}
	return Decision{Kind: kind, Samples: int(n), Delay: time.Duration(b.delays.latest())}
}

// tooLong lets the clock go on when packets have been waited for long enough.
func (b *Buffer) tooLong() {
	if over := b.held - samplesOf(maxHeld); over > 0 {
		b.next += over
		b.held -= over
	}
}

// catchUp skips packets when the delay is beyond all use.
func (b *Buffer) catchUp(now int64) bool {
	if b.delays.lowestOfLast() < b.estimate.target+int64(intolerable) {
		return false
	}
	skipped := false
	for {
		s, _ := b.current()
		if s == nil || now-b.estimate.due(s.ts) < int64(unit) {
			break
		}
		b.discard(s)
		b.nextSeq, b.next, b.held = s.seq+1, s.ts+int64(s.samples), 0
		skipped = true
	}
	b.delays.reset()
	return skipped
}

// up is n, or a little more, in units that a decoder conceals.
func up(n int64) int64 { return (n + shortest - 1) / shortest * shortest }
