package voice

import (
	"sync"
	"testing"
	"time"

	"sidetone/audio"

	"go.uber.org/goleak"
)

// The network pushes, the sound card pulls and pushes, and a sampler reads, all at once; run with -race.
func TestGoroutinesShareAPipeline(t *testing.T) {
	defer goleak.VerifyNone(t)
	r := NewReceiver(ReceiverConfig{Decoder: new(pcmCodec)})
	var w keep
	s := NewSender(SenderConfig{Encoder: new(pcmCodec), Out: &w})
	for i := range 200 {
		s.PushFrame(frameOf(int16(i)))
	}
	packets := w.packets[:len(w.packets):len(w.packets)]
	var all sync.WaitGroup
	all.Go(func() {
		for _, p := range packets {
			r.PushRTP(p, time.Now())
		}
	})
	all.Go(func() {
		var f audio.Frame
		for range 300 {
			r.PullFrame(&f)
		}
	})
	all.Go(func() {
		for range 300 {
			s.PushFrame(frameOf(1))
		}
	})
	all.Go(func() {
		for i := range 300 {
			r.PlayoutStats()
			s.CaptureStats()
			s.SetMuted(i%2 == 0)
		}
	})
	all.Wait()
}
