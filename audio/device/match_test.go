package device

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/audio"
)

// TestTwoCards lets two cards run for 8 hours by clocks that differ, with callbacks that come late: what waits for the
// playback card stays within 10 ms, it never waits in vain, and the rate moves slowly once it is found.
func TestTwoCards(t *testing.T) {
	for _, ppm := range []float64{-500, -100, -20, 0, 20, 100, 500} {
		const hours = 8
		rng := rand.New(rand.NewPCG(1, uint64(ppm+1000)))
		m := newMatch()
		made := 0.0
		period := 0.02 / (1 + ppm/1e6) // of the playback card, in seconds of the capture card
		phase := period * rng.Float64()
		late := func() float64 { return math.Abs(rng.NormFloat64()) * 0.0005 }
		ring, took, next, played := float64(matchAhead), 0.0, phase+late(), 0 // when a callback was, and when the next one will be
		worst, last := 0.0, 0.0
		for frame := range hours * 3600 * 50 {
			now := float64(frame) * 0.02
			seen := now + late()
			for next <= seen {
				if ring -= audio.FrameSamples; ring < 0 {
					t.Fatalf("%v ppm: nothing to play after %.1f s", ppm, now)
				}
				played++
				took, next = next, phase+float64(played)*period+late()
			}
			waiting := ring - (seen-took)*audio.SampleRate
			if m.jump(waiting) != 0 {
				t.Fatalf("%v ppm: %.1f ms too many after %.1f s", ppm, (waiting-m.target)/48, now)
			}
			if played > 0 {
				m.follow(waiting)
			}
			before := math.Floor(made)
			made += audio.FrameSamples * (1 + m.rate/1e6) // as TestAsyncKeepsSound holds; eight hours of it would take an hour
			ring += math.Floor(made) - before
			if now > learning.Seconds()+1 && math.Abs(waiting-m.target) > math.Abs(worst) {
				worst = waiting - m.target
			}
			if step := math.Abs(m.rate - last); now > learning.Seconds()+1 && step > matchSlew/50+1e-9 {
				t.Fatalf("%v ppm: the rate moves by %.2f ppm at once after %.1f s", ppm, step, now)
			}
			last = m.rate
			if now > 300 && math.Abs(m.rate-ppm) > 20 {
				t.Fatalf("%v ppm: the rate is %.1f ppm after %.1f s", ppm, m.rate, now)
			}
		}
		t.Logf("%v ppm: at most %.2f ms from where it should be", ppm, worst/48)
		if math.Abs(worst)/48 > 10 {
			t.Errorf("%v ppm: %.1f ms from where it should be", ppm, worst/48)
		}
	}
}

// TestTwoCardsSound plays a tone through the rings of two cards for two minutes: it comes without a gap, a frame is pulled
// for each that is captured, and the tone is the capture card's.
func TestTwoCardsSound(t *testing.T) {
	for _, ppm := range []float64{-500, 300} {
		synctest.Test(t, func(t *testing.T) {
			const minutes = 2
			ctx, cancel := context.WithTimeout(t.Context(), minutes*time.Minute)
			defer cancel()
			var pulled, captured int
			c := newFakeCard(sourceFunc(func(f *audio.Frame) {
				for i := range f {
					f[i] = int16(8000 * math.Sin(2*math.Pi*400*float64(pulled*len(f)+i)/audio.SampleRate))
				}
				pulled++
			}), sinkFunc(func(*audio.Frame) bool { captured++; return true }))
			c.m.match = newMatch()
			c.m.fill(matchAhead)
			clock := func(period time.Duration, tick func()) {
				for begin, n := time.Now(), 1; ; n++ {
					select {
					case <-time.After(time.Until(begin.Add(time.Duration(n) * period))):
						tick()
					case <-ctx.Done():
						return
					}
				}
			}
			in, out := make([]byte, 2*audio.FrameSamples), make([]int16, audio.FrameSamples)
			var clocks sync.WaitGroup
			clocks.Go(func() {
				clock(audio.FrameDuration, func() { c.m.streams[0].data(nil, in, audio.FrameSamples) })
			})
			clocks.Go(func() {
				clock(time.Duration(float64(audio.FrameDuration)/(1+ppm/1e6)), func() {
					c.m.streams[1].data(bytesOf(out), nil, audio.FrameSamples)
					c.played = append(c.played, out...)
				})
			})
			if err := c.m.run(ctx); err != nil {
				t.Fatal(err)
			}
			clocks.Wait()
			if n := c.overrun.Load(); n != 0 {
				t.Errorf("%v ppm: %d xruns", ppm, n)
			}
			if ahead := pulled - captured; ahead != matchAhead/audio.FrameSamples {
				t.Errorf("%v ppm: %d frames more pulled than captured", ppm, ahead)
			}
			for i := 2; i < len(c.played); i++ { // a sine of 400 Hz bends by 22 at most
				if bend := int(c.played[i]) - 2*int(c.played[i-1]) + int(c.played[i-2]); i > 100 && (bend > 30 || bend < -30) {
					t.Fatalf("%v ppm: a gap %.2f s after the start", ppm, float64(i)/audio.SampleRate)
				}
			}
		})
	}
}

func TestOneCard(t *testing.T) {
	for _, c := range []struct {
		a, b string
		one  bool
	}{
		{"plughw:CARD=Device,DEV=0", "plughw:CARD=Device,DEV=0", true},
		{"plughw:CARD=Device,DEV=0", "plughw:CARD=Device,DEV=1", true},
		{"plughw:CARD=Device,DEV=0", "hw:Device,1", true},
		{"plughw:CARD=Device,DEV=0", "plughw:CARD=Other,DEV=0", false},
		{"default", "default", true},
		{"default", "speaker", false},
	} {
		if oneCard(c.a, c.b) != c.one {
			t.Errorf("%s and %s: one card is %t", c.a, c.b, !c.one)
		}
	}
}
