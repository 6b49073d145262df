package audiotest

import (
	"math"
	"testing"
	"time"

	"sidetone/audio"
)

// The room must fall by 60 dB in the time that was asked for, by Schroeder's backward integral between -5 and -25 dB
// of the sound after the direct one, and begin 12 cm away.
func TestRoomSoundsAsLongAsAsked(t *testing.T) {
	for _, want := range []time.Duration{300 * time.Millisecond, 600 * time.Millisecond} {
		for seed := uint64(1); seed <= 3; seed++ {
			h := RoomResponse(seed, want)
			peak := 0
			for i, v := range h {
				if math.Abs(v) > math.Abs(h[peak]) {
					peak = i
				}
			}
			if direct := 0.12 / 343 * audio.SampleRate; math.Abs(float64(peak)-direct) > 1 {
				t.Errorf("seed %d: the direct sound comes after %d samples, want %.1f", seed, peak, direct)
			}
			left := make([]float64, len(h)) // energy from here on, after the first 10 ms
			for i := len(h) - 2; i >= 480; i-- {
				left[i] = left[i+1] + h[i]*h[i]
			}
			at := func(db float64) float64 {
				for i := 480; i < len(h); i++ {
					if left[i] < left[480]*math.Pow(10, db/10) {
						return float64(i) / audio.SampleRate
					}
				}
				return 0
			}
			rt60 := 3 * (at(-25) - at(-5))
			t.Logf("seed %d: %.2f s for %v", seed, rt60, want)
			if rt60 < 0.65*want.Seconds() || rt60 > 1.5*want.Seconds() {
				t.Errorf("seed %d: sounds for %.2f s, want %v", seed, rt60, want)
			}
		}
	}
}

func TestSceneKeepsItsWord(t *testing.T) {
	far := Speech(1, 20*time.Second)
	scene := EchoScene{Seed: 1, RT60: 300 * time.Millisecond, Delay: 30 * time.Millisecond}
	plain := scene.Microphone(far, nil)
	if d := LevelDifference(far, plain); math.Abs(d) > 0.5 {
		t.Errorf("the echo is %.1f dB over what was played, want 0", d)
	}
	if lag := Align(far, plain); lag < 30*time.Millisecond || lag > 32*time.Millisecond {
		t.Errorf("the echo comes after %v, want 30.35 ms", lag)
	}
	// 100 ppm are 2 ms in 20 s.
	scene.Drift = 100
	slow := scene.Microphone(far, nil)
	end, best, most := len(far)-2*audio.SampleRate, 0, 0.0
	for lag := range 200 {
		sum := 0.0
		for i := end; i < len(far)-200; i++ {
			sum += float64(plain[i]) * float64(slow[i+lag])
		}
		if sum > most {
			best, most = lag, sum
		}
	}
	if best < 87 || best > 95 {
		t.Errorf("after 19 s of 100 ppm the echo is %d samples later, want 91", best)
	}
	near := Speech(2, 20*time.Second)
	scene = EchoScene{Seed: 1, RT60: 300 * time.Millisecond, Return: -100}
	for i, v := range scene.Microphone(far, near) {
		if d := int(v) - int(near[i]); d < -1 || d > 1 {
			t.Fatalf("sample %d of the near end is %d, not %d", i, v, near[i])
		}
	}
}
