package jitter

import "time"

// What a delay and a loss cost a conversation, in thousandths of the transmission rating R of ITU-T G.107.

const (
	// others is the delay beside the buffer's that a call is taken to have: network, packet, codec, devices.
	others = 70 * time.Millisecond
	// liking is what a millisecond costs where G.107 has no price for it: of two delays that carry the same the shorter
	// one is better.
	liking = 60
	// robustness is Bpl of G.113 for Opus: how well a decoder hides the loss of a packet, in percent.
	robustness = 10
)

// delayCost is Idd of G.107 for others and the given delay, in nanoseconds.
func delayCost(delay int64) int64 {
	const step = int64(delayStep)
	ta := delay + int64(others)
	i := min(ta/step, int64(len(idd)-2))
	rest := min(ta-i*step, step)
	return idd[i] + (idd[i+1]-idd[i])*rest/step + liking*delay/int64(time.Millisecond)
}

// lossCost is Ie,eff of G.107 for random loss, with Ie 0. The share is in millionths.
func lossCost(share int64) int64 { return 95_000 * share / (share + robustness*10_000) }

const delayStep = 20 * time.Millisecond

// idd is Idd of G.107 (clause 7.4) for Ta of 0, 20, 40 ... ms, in thousandths.
var idd = [...]int64{
	0, 0, 0, 0, 0, 0, 1, 54, 388, 1346, 3044, 5257, 7687,
	10136, 12508, 14761, 16881, 18867, 20723, 22455, 24070, 25575, 26978, 28285, 29502, 30636,
	31692, 32677, 33594, 34450, 35247, 35991, 36685, 37332, 37938, 38503, 39032, 39527, 39991,
	40425, 40832, 41215, 41574, 41912, 42230, 42529, 42811, 43077, 43328, 43565, 43790, 44002,
}
