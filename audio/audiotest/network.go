package audiotest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"sidetone/audio"
)

// Networks are the kinds of schedules that Network makes. Each has the distribution that the recorded schedule of its
// name in testdata/traces was found to have:
//
//   - clean: every packet takes 30 ms.
//   - loss5: the same; each packet is lost with a probability of 5 %, whatever became of the others.
//   - burst: the same; a Gilbert model loses all packets of a bad state, which is entered with a probability of 3.2 % a
//     packet and left with 19.5 %: runs of 5.1 packets, every 31, 14 % in all.
//   - jitter30: each packet takes a time of its own, normally distributed around 90 ms with 30 ms, at least 10 ms; packets
//     overtake each other.
//   - wifi: 30 ms and an exponential of 5 ms, in order; 0.5 % are lost at random; every 2 to 6 s (evenly distributed) the
//     link stalls for 100 to 300 ms (evenly) and then delivers all at once, 0.1 ms apart.
var Networks = []string{"clean", "loss5", "burst", "jitter30", "wifi"}

// Network makes a schedule of one packet each 20 ms. The same kind and seed give the same schedule.
func Network(kind string, seed uint64, d time.Duration) (Schedule, error) {
	at := slices.Index(Networks, kind)
	if at < 0 {
		return nil, fmt.Errorf("there is no network %q: say one of %s", kind, strings.Join(Networks, ", "))
	}
	const (
		ms      = time.Millisecond
		base    = 30 * ms
		dropped = -1
	)
	rng := rand.New(rand.NewPCG(seed, uint64(at)))
	spread := func(from, to time.Duration) time.Duration { return from + time.Duration(rng.Int64N(int64(to-from))) }
	s := make(Schedule, int(d/audio.FrameDuration))
	var (
		bad       bool          // burst
		last      time.Duration // wifi: arrival of the packet before
		stall     = spread(2000*ms, 6000*ms)
		delivered time.Duration // wifi: end of the stall
	)
	for i := range s {
		sent := time.Duration(i) * audio.FrameDuration
		delay := base
		switch kind {
		case "loss5":
			if rng.Float64() < 0.05 {
				delay = dropped
			}
		case "burst":
			if bad {
				bad = rng.Float64() >= 0.195
			} else {
				bad = rng.Float64() < 0.032
			}
			if bad {
				delay = dropped
			}
		case "jitter30":
			delay = max(90*ms+time.Duration(rng.NormFloat64()*float64(30*ms)), 10*ms)
		case "wifi":
			if sent >= stall {
				delivered = sent + spread(100*ms, 300*ms)
				stall = sent + spread(2000*ms, 6000*ms)
			}
			arrival := sent + base + time.Duration(rng.ExpFloat64()*float64(5*ms))
			if sent < delivered {
				arrival = max(delivered, sent+base)
			}
			arrival = max(arrival, last+100*time.Microsecond)
			delay = arrival - sent
			if rng.Float64() < 0.005 {
				delay = dropped
			} else {
				last = arrival
			}
		}
		s[i] = Row{Seq: i, Sent: sent, Delay: delay.Truncate(10 * time.Microsecond)}
		if delay < 0 {
			s[i].Delay = dropped
		}
	}
	return s, nil
}
