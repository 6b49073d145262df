package voice

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"

	"sidetone/audio"

	"github.com/pion/rtp"
)

// handOver gives each packet on at once, and keeps none.
type handOver func(p *rtp.Packet)

func (h handOver) WriteRTP(p *rtp.Packet) bool { h(p); return true }

// TestSoak is a call of hours between two clocks that differ by 100 ppm, over a network with a little jitter: once it has
// settled nothing is concealed, the delay stays where it is, and no memory is taken.
func TestSoak(t *testing.T) {
	length := 20 * time.Minute
	if os.Getenv("SIDETONE_LONG") != "" {
		length = 8 * time.Hour
	}
	for _, ppm := range []float64{-100, 100} {
		t.Run(fmt.Sprint(ppm), func(t *testing.T) { soak(t, ppm, length) })
	}
}

func soak(t *testing.T, ppm float64, length time.Duration) {
	const (
		settled = 2 * time.Minute
		window  = time.Minute
		within  = 10.0 // ms, up and down
	)
	var (
		start   = time.Unix(1e9, 0)
		now     = start
		r       = NewReceiver(ReceiverConfig{Decoder: new(pcmCodec), Now: func() time.Time { return now }})
		s       = NewSender(SenderConfig{Encoder: new(pcmCodec), Out: handOver(func(p *rtp.Packet) { r.PushRTP(p, now) })})
		period  = time.Duration(float64(audio.FrameDuration) / (1 + ppm/1e6)) // of the sender, by the receiver's clock
		rng     = rand.New(rand.NewPCG(1, 2))
		arrival = func(n int64) time.Duration {
			return time.Duration(n)*period + time.Duration(rng.Int64N(int64(5*time.Millisecond)))
		}
		n      int64
		next   = arrival(0)
		said   = speech(t, time.Minute)
		heard  audio.Frame
		begin  runtime.MemStats
		before audio.PlayoutStats
		least  = math.Inf(1) // of the windows' mean delays, in ms
		most   float64
	)
	for pull := time.Duration(0); pull < length; pull += audio.FrameDuration {
		for ; next <= pull; next = arrival(n) {
			now = start.Add(next)
			s.PushFrame((*audio.Frame)(said[int(n)*audio.FrameSamples%len(said):]))
			n++
		}
		now = start.Add(pull)
		r.PullFrame(&heard)
		if pull < settled || pull%window != 0 {
			continue
		}
		stats := r.PlayoutStats()
		if pull == settled {
			before = stats
			runtime.GC()
			runtime.ReadMemStats(&begin)
			continue
		}
		delay := 1000 * (stats.JitterBufferDelay - before.JitterBufferDelay) / float64(stats.JitterBufferEmittedCount-before.JitterBufferEmittedCount)
		least, most = min(least, delay), max(most, delay)
		if n := stats.ConcealedSamples - before.ConcealedSamples; n > 0 {
			t.Errorf("in the minute before %v %d samples were concealed; %.1f ms of delay", pull, n, delay)
		}
		before = stats
	}
	if most-least > 2*within {
		t.Errorf("the delay is from %.1f to %.1f ms", least, most)
	}
	var end runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&end)
	t.Logf("%v at %+.0f ppm: delay from %.1f to %.1f ms, heap %d bytes in %d objects, then %d in %d; %d allocations", length, ppm, least, most,
		begin.HeapAlloc, begin.HeapObjects, end.HeapAlloc, end.HeapObjects, end.Mallocs-begin.Mallocs)
	if end.HeapAlloc > begin.HeapAlloc+64<<10 || end.HeapObjects > begin.HeapObjects+100 {
		t.Errorf("the heap grew from %d bytes in %d objects to %d in %d", begin.HeapAlloc, begin.HeapObjects, end.HeapAlloc, end.HeapObjects)
	}
	for _, kept := range []any{r, s, said} {
		runtime.KeepAlive(kept)
	}
}
