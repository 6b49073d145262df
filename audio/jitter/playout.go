package jitter

import "time"

const (
	// holdEach and dropEach are how many pulls lie between two changes of the delay that can be heard.
	holdEach, dropEach = 10, 25
	// shortest is 2.5 ms, the unit of what an Opus decoder conceals (RFC 6716, section 2).
	shortest = clockRate / 400
	// hysteresis keeps the delay from swinging between two frames.
	hysteresis = 5 * time.Millisecond
	// urgentDeficit and urgentExcess are how far the delay is from its target when a change cannot wait for a pause.
	urgentDeficit, urgentExcess = 40 * time.Millisecond, 60 * time.Millisecond
	// intolerable is the excess that is not played away but skipped.
	intolerable = 300 * time.Millisecond
)

// Pull decides what is played at now, a time since the same moment as Push's. Quiet says that what was played last is a
// pause, so that a change of delay there is not heard.
func (b *Buffer) Pull(now time.Duration, quiet bool) Decision {
	t := clampTime(now)
	if !b.started && !b.start(t) {
		return Decision{Kind: Wait, Samples: int(samplesOf(unit))}
	}
	b.sinceHold++
	b.sinceDrop++
	skipped := b.catchUp(t)

	s, missing := b.current()
	clock := b.next + b.held
	b.delays.add(t - b.estimate.fastest() - nanos(clock))
	if s == nil {
		return b.starve()
	}
	if gap := s.ts - clock; gap >= shortest {
		return b.bridge(s, gap, missing, t)
	}
	if b.shouldHold(quiet) {
		b.sinceHold = 0
		b.delays.shift(int64(unit))
		return Decision{Kind: Hold, Samples: int(samplesOf(unit))}
	}
	// A packet that was waited for in vain comes with the delay that it brings.
	b.delays.shift(nanos(clock - s.ts))
	d := b.play(s, t)
	d.Skipped = skipped
	return d
}

// Drop offers the packet after the one that was just played, to be played in its stead, when the delay is above its
// target: for long when the packet was quiet, or by so much that it cannot wait for a pause or, early in a stream, for
// the delay to settle.
func (b *Buffer) Drop(now time.Duration, quiet bool) (Decision, bool) {
	if !b.started || b.held != 0 {
		return Decision{}, false
	}
	s, _ := b.oldest()
	if s == nil || s.ts != b.next {
		return Decision{}, false
	}
	excess := b.delays.lowest() - b.estimate.target
	least := nanos(int64(s.samples)) + int64(hysteresis)
	if !quiet || !b.estimate.settled() {
		least += int64(urgentExcess)
	}
	if excess < least || (!quiet && b.sinceDrop < dropEach) {
		return Decision{}, false
	}
	b.sinceDrop = 0
	b.delays.shift(-nanos(int64(s.samples)))
	return b.play(s, clampTime(now)), true
}

// start begins playout when the first packet is due.
func (b *Buffer) start(now int64) bool {
	for {
		s, _ := b.oldest()
		if s == nil {
			return false
		}
		late := now - b.estimate.due(s.ts)
		if late < 0 {
			return false
		}
		if late > int64(maxStale) {
			b.discard(s)
			continue
		}
		b.started = true
		b.nextSeq, b.next, b.held, b.starved = s.seq, s.ts, 0, 0
		b.paused, b.sinceHold, b.sinceDrop = false, 0, 0
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
	return Decision{Kind: Play, Payload: s.payload, Samples: s.samples, Waited: time.Duration(max(now-s.arrival, 0))}
}

// bridge fills the gap before s: with what s says of it, or with a guess, or with nothing where nothing was sent.
func (b *Buffer) bridge(s *slot, gap int64, missing int, now int64) Decision {
	n := min(gap, samplesOf(unit))
	kind, payload := Lost, []byte(nil)
	switch {
	case missing == 0:
		kind = Silence
	case gap == int64(s.samples):
		n, payload = gap, s.payload
	}
	n -= n % shortest
	b.next += b.held + n
	b.held = 0
	return Decision{Kind: kind, Payload: payload, Samples: int(n), Waited: time.Duration(max(now-s.arrival, 0))}
}

// starve plays on while nothing is there. The packets may only be late, so the clock stands, but for a limited time.
func (b *Buffer) starve() Decision {
	n := samplesOf(unit)
	b.held += n
	b.starved += n
	if over := b.held - samplesOf(maxHeld); over > 0 {
		b.next += over
		b.held -= over
	}
	if b.starved >= samplesOf(maxStarved) {
		b.started = false
	}
	kind := Lost
	if last := &b.slots[uint64(b.highest)%slots]; b.paused || last.samples == 0 && last.seq >= b.nextSeq {
		kind = Silence // the last word was that there is none, or an event in place of sound
	}
	return Decision{Kind: kind, Samples: int(n)}
}

// shouldHold decides whether the delay is to grow by a frame.
func (b *Buffer) shouldHold(quiet bool) bool {
	deficit := b.estimate.target - b.delays.highest()
	if quiet {
		return deficit >= int64(unit)
	}
	return deficit >= int64(urgentDeficit) && b.sinceHold >= holdEach
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
