package g711

const (
	// A voice's pitch lies between 66 and 200 Hz (as G.711's appendix I has it).
	shortest, longest = 8000 / 200, 8000 / 66
	// compared is how much of the sound is compared with itself to find the pitch.
	compared = 160
	// seam is over how many samples a guess gives way to what is received again: 4 ms.
	seam = 32
)

// guess remembers what was heard, at 8 kHz, and goes on with it: the last period of its pitch, again and again. The
// receiver fades what lasts.
type guess struct {
	past   [longest + compared]int16 // a ring
	at     int                       // of the ring
	full   bool
	period []int16 // repeated; nil while nothing is lost
	step   int     // in period
	mixing int     // samples of the seam still to come
	store  [longest]int16
}

// ready reports whether enough was heard to go on from.
func (g *guess) ready() bool { return g.full }

// heard takes the next sample that was received, and gives the one to play.
func (g *guess) heard(s int16) int16 {
	if g.period != nil && g.mixing == 0 {
		g.mixing = seam
	}
	if g.mixing > 0 {
		s = int16((int(g.repeat())*g.mixing + int(s)*(seam-g.mixing)) / seam)
		if g.mixing--; g.mixing == 0 {
			g.period = nil
		}
	}
	g.keep(s)
	return s
}

// next gives the next sample of the guess.
func (g *guess) next() int16 {
	g.mixing = 0
	if g.period == nil {
		g.find()
	}
	s := g.repeat()
	g.keep(s)
	return s
}

func (g *guess) keep(s int16) {
	g.past[g.at] = s
	if g.at++; g.at == len(g.past) {
		g.at, g.full = 0, true
	}
}

func (g *guess) repeat() int16 {
	s := g.period[g.step]
	g.step = (g.step + 1) % len(g.period)
	return s
}

// find takes the last period out of what was heard: the lag at which the sound is most like itself.
func (g *guess) find() {
	var x [longest + compared]int16
	n := copy(x[:], g.past[g.at:])
	copy(x[n:], g.past[:g.at])
	best, score := longest, -1.0
	now := x[longest:]
	for lag := shortest; lag <= longest; lag++ {
		before := x[longest-lag : longest-lag+compared]
		var like, power int64
		for i, s := range now {
			like += int64(s) * int64(before[i])
			power += int64(before[i]) * int64(before[i])
		}
		if like > 0 {
			if q := float64(like) * float64(like) / float64(power); q > score {
				best, score = lag, q
			}
		}
	}
	g.period = g.store[:best]
	end := len(x)
	copy(g.period, x[end-best:])
	// The end of a period passes over into what came before it, so that the next repetition joins without a click.
	fade := best / 4
	for i := range fade {
		a, b := int(x[end-fade+i]), int(x[end-best-fade+i])
		g.period[best-fade+i] = int16((a*(fade-i) + b*i) / fade)
	}
	g.step = 0
}
