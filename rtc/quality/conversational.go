package quality

import "time"

// Conversational is the mean opinion score, 1 to 4.5, of a conversation over a path whose sound alone has the score
// listening, and which takes delay from one packet's capture to its playout. Listening is taken back to the R of G.107
// that has it; from that the impairment of delay (Idd, section 7.4) is taken, a packet's length and the codec's look-ahead
// included, so that sound and delay weigh as the E-model weighs them.
func Conversational(listening float64, delay time.Duration) float64 {
	ta := float64(delay)/float64(time.Millisecond) + packetDelay + codecDelay
	return mosOf(rOf(listening) - delayImpairment(ta))
}

// rOf is the R, 6.5 to 100, that has the score mos: the inverse of mosOf where that rises.
func rOf(mos float64) float64 {
	low, high := 6.5, 100.0
	for range 50 {
		if mid := (low + high) / 2; mosOf(mid) < mos {
			low = mid
		} else {
			high = mid
		}
	}
	return (low + high) / 2
}
