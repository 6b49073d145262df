package jitter

import "time"

const (
	binWidth = 2500 * time.Microsecond
	bins     = 320 // up to 800 ms
	// guard is what a delay has beyond the lateness that it is for: clocks drift for some seconds before that is learned.
	guard = binWidth / 2

	// block is how often the target is chosen anew, and old observations lose weight.
	block = 500 * time.Millisecond
	// memory is how many blocks an observation counts for: a stall each few seconds must be seen several times before its
	// price is known.
	memory = 120
	// one is the weight of a packet that has just come.
	one = 1 << 16

	// fastestOver is how long the fastest packet is remembered, in blocks. A power of two.
	fastestOver = 8
	// drift is the time in which the fastest packet may become slower by one bin: 500 ppm, more than any two clocks
	// differ by. What is more is not the clock but the network.
	drift = int64(5 * time.Second)

	// reach is what stretching what is there makes up for before anything is concealed.
	reach = 2 // bins
	// rescued is the share of packets, in millionths, that it does so for at most.
	rescued = million / 200

	// doubt is how long the starting delay is the least: what a network is like shows in some seconds, and a call's first
	// words are not the place to change its delay for little.
	doubt = 12 * time.Second
	// first is how long the target is chosen with each packet, for each tells much of what is known.
	first = 2 * time.Second
	// unseen is how much more than what was seen is to be expected: of n packets the latest, and so all, are taken to be
	// later by unseen/n than they were. The more have come, the less is left to come.
	unseen = 12
)

// estimator learns how late packets come, relative to the fastest, and chooses the delay with the least conversational
// cost. All times are in nanoseconds; an offset is a packet's arrival less the time of its timestamp.
type estimator struct {
	cfg    Config
	any    bool
	began  int64
	last   int64 // latest arrival
	anchor int64 // offset at which bin 0 begins: that of the fastest packet, but for the drift of clocks
	moved  int64 // when the anchor last moved
	risen  int64 // bins by which it went up with a clock, and not yet down again
	minima [fastestOver]int64
	at     int64 // number of the block that minima's newest entry is of

	late  [bins]uint64 // weight of the packets by how late they came
	total uint64
	// weights of packets that were sent, that never came, and that tell of the one before them
	sent, missing, helpful uint64

	costs  [bins + 1]int64 // of a delay of so many bins
	needed int64           // the delay with the least cost
	target int64
}

func (e *estimator) reset(c Config) {
	*e = estimator{cfg: c, target: int64(c.Start)}
}

// fastest is the offset that delays are counted from.
func (e *estimator) fastest() int64 { return e.anchor }

// due is when a packet of that timestamp is to be played.
func (e *estimator) due(ts int64) int64 { return e.anchor + nanos(ts) + e.target }

// outOfBounds reports whether no packet of this stream could come with that offset.
func (e *estimator) outOfBounds(offset int64) bool {
	d := offset - e.anchor
	return e.any && (d > int64(maxSkew) || d < -int64(maxSkew))
}

// add learns from a packet; helpful says that it tells of the one before it too.
func (e *estimator) add(offset, arrival int64, helpful bool) {
	if !e.any {
		e.any, e.began, e.last, e.moved = true, arrival, arrival, arrival
		e.anchor, e.at = offset, arrival/int64(block)
		for i := range e.minima {
			e.minima[i] = offset
		}
	}
	e.last = max(e.last, arrival)
	if offset < e.anchor {
		e.fall(1 + (e.anchor-offset-1)/int64(binWidth))
	}
	choose := e.last-e.began < int64(first)
	if n := e.last / int64(block); n != e.at {
		for i := range e.minima { // blocks without a packet repeat the last one
			if int64(i) < min(n-e.at, fastestOver) {
				e.minima[(e.at+1+int64(i))&(fastestOver-1)] = offset
			}
		}
		for range min(n-e.at, memory) {
			e.forget()
		}
		e.at = n
		e.followDrift()
		choose = true
	}
	newest := &e.minima[e.at&(fastestOver-1)]
	*newest = min(*newest, offset)

	e.late[min((offset-e.anchor)/int64(binWidth), bins-1)] += one
	e.total += one
	if helpful {
		e.helpful += one
	}
	if choose {
		e.choose()
	}
}

// count takes note of n packets that were sent, or, when n is negative, of one that was thought missing.
func (e *estimator) count(n int64) {
	if n < 0 {
		e.missing -= min(one, e.missing)
		return
	}
	e.sent += uint64(n) * one
	e.missing += uint64(n-1) * one
}

// shift moves the anchor by whole bins, and what was learned with it.
func (e *estimator) shift(by int64) {
	old := e.late
	e.anchor += by * int64(binWidth)
	e.late = [bins]uint64{}
	for i, w := range old {
		e.late[min(max(int64(i)-by, 0), bins-1)] += w
	}
}

// fall moves the anchor down to a packet that is faster by so many bins than any before. What was learned is then later by
// as much, unless it is a clock that runs fast, and the network is what it was.
func (e *estimator) fall(by int64) {
	if by == 1 && e.risen == 0 && e.last-e.moved >= drift {
		e.anchor -= int64(binWidth)
	} else {
		e.shift(-by)
	}
	e.risen = max(e.risen-by, 0)
	e.moved = e.last
}

// followDrift lets the anchor follow a clock that runs slow.
func (e *estimator) followDrift() {
	m := e.minima[0]
	for _, v := range e.minima[1:] {
		m = min(m, v)
	}
	if m-e.anchor >= int64(binWidth) && e.last-e.moved >= drift {
		e.moved = e.last
		e.shift(1)
		e.risen++
	}
}

func (e *estimator) forget() {
	fade := func(w *uint64) { *w -= *w / memory }
	e.total = 0
	for i := range e.late {
		fade(&e.late[i])
		e.total += e.late[i]
	}
	fade(&e.sent)
	fade(&e.missing)
	fade(&e.helpful)
}

const million = 1_000_000

// share is part of whole in millionths.
func share(part, whole uint64) int64 {
	if whole == 0 {
		return 0
	}
	return int64(part * million / whole)
}

// choose finds the target with the least cost. A packet that comes too late is lost; one that is lost and that the next
// one tells of is not, if that is there in time, a packet later.
func (e *estimator) choose() {
	missing, helpful := share(e.missing, e.sent), share(e.helpful, e.total)
	const packet = int(unit / binWidth) // bins
	var sum uint64
	var intime [bins + 1]int64 // share that came within so many bins
	for i, w := range e.late {
		sum += w
		intime[i+1] = share(sum, e.total)
	}
	// What comes within i bins is what came within fewer of those seen so far.
	seen := int(e.total / one)
	for i := bins; i > 0; i-- {
		intime[i] = intime[(i*seen+seen+unseen-1)/(seen+unseen)]
	}
	best, least := 0, int64(1<<62)
	e.costs[0] = lossCost(million)
	for i := 1; i <= bins; i++ {
		recovered := int64(0)
		if i > packet {
			recovered = intime[i-packet] * helpful / million * (million - missing) / million
		}
		tooLate := million - intime[i]
		tooLate -= min(intime[min(i+reach, bins)]-intime[i], rescued)
		lost := tooLate*(million-missing)/million + missing*(million-recovered)/million
		e.costs[i] = delayCost(int64(i)*int64(binWidth)) + lossCost(lost)
		if e.costs[i] < least {
			best, least = i, e.costs[i]
		}
	}
	e.needed = int64(best) * int64(binWidth)
	e.target = min(max(e.needed, e.floor()), int64(e.cfg.Max))
}

// floor is the least delay that is chosen now.
func (e *estimator) floor() int64 {
	if e.last-e.began < int64(doubt) {
		return int64(max(e.cfg.Start, e.cfg.Min))
	}
	return int64(e.cfg.Min)
}

// cost of a delay, in thousandths of R. Beyond the bounds it is prohibitive.
func (e *estimator) cost(delay int64) int64 {
	if delay < e.floor() || delay > int64(e.cfg.Max) {
		return lossCost(million) + max(e.floor()-delay, delay-int64(e.cfg.Max))/int64(time.Millisecond)
	}
	return e.costs[min(max(delay-int64(guard), 0)/int64(binWidth), bins)]
}

// willBeLate is the chance, in millionths, that a packet which is late by now, and not there, comes when it is late by
// more than the delay.
func (e *estimator) willBeLate(now, delay int64) int64 {
	if now >= delay {
		return 0
	}
	var tooLate, later uint64
	for i, w := range e.late {
		if int64(i)*int64(binWidth) >= delay {
			tooLate += w
		}
		if int64(i+1)*int64(binWidth) > now {
			later += w
		}
	}
	return share(tooLate, later+e.missing)
}
