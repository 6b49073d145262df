package appliance

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/audio"
	"sidetone/board/gpio"
	"sidetone/board/gpio/gpiofake"
	"sidetone/provisioning/config"
)

// pin notes when it was switched.
type pin struct {
	begin time.Time
	notes []string
}

func (p *pin) Set(on bool) error {
	p.notes = append(p.notes, fmt.Sprintf("%v %v", time.Since(p.begin), on))
	return nil
}

func (p *pin) Close() error {
	p.notes = append(p.notes, fmt.Sprintf("%v closed", time.Since(p.begin)))
	return nil
}

// TestAmplifier plays sound, silence and sound again: on at the first frame, off when silence has lasted, off and let go at the end.
func TestAmplifier(t *testing.T) {
	for _, c := range []struct {
		lead   time.Duration
		silent int // frames left out
	}{{0, 0}, {40 * time.Millisecond, 0}, {41 * time.Millisecond, 1}, {100 * time.Millisecond, 3}} {
		synctest.Test(t, func(t *testing.T) {
			line := &pin{begin: time.Now()}
			a := &amplifier{
				log: slog.New(slog.DiscardHandler), lead: c.lead, hold: time.Second, sound: make(chan struct{}, 1),
				open: func() (switchable, error) { return line, nil },
			}
			var p part
			p.start(t.Context(), a.run)
			play := func(sound bool, d time.Duration) (silenced int) {
				for range d / audio.FrameDuration {
					var f audio.Frame
					if sound {
						f[7] = 1
					}
					a.pulled(&f)
					if sound && f == (audio.Frame{}) {
						silenced++
					}
					time.Sleep(audio.FrameDuration)
					synctest.Wait()
				}
				return silenced
			}
			play(false, time.Second)
			first := play(true, 3*time.Second)
			play(false, 500*time.Millisecond)
			between := play(true, 500*time.Millisecond)
			play(false, 3*time.Second)
			again := play(true, time.Second)
			p.stop()
			if first != c.silent || between != 0 || again != c.silent {
				t.Errorf("lead %v: %d, %d and %d frames silenced, want %d, 0 and %d", c.lead, first, between, again, c.silent, c.silent)
			}
			want := []string{"1s true", "5.98s false", "8s true", "9s false", "9s closed"}
			if !slices.Equal(line.notes, want) {
				t.Errorf("lead %v: %v, want %v", c.lead, line.notes, want)
			}
		})
	}
}

// TestAmplifierLine has it on a line that is active low.
func TestAmplifierLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := &gpiofake.System{}
		chip := system.Add(&gpiofake.Chip{}, "OTHER", "AMP")
		a := newAmplifier(config.Audio{AmplifierLine: "!AMP", AmplifierHold: config.Duration(time.Second)}, gpio.NewHost(system), slog.New(slog.DiscardHandler))
		var p part
		p.start(t.Context(), a.run)
		level := func(d time.Duration, want bool) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := chip.High(1); got != want {
				t.Errorf("after %v the line is high: %v", d, got)
			}
		}
		level(0, true)
		if got := chip.Consumer(1); got != "sidetone amplifier" {
			t.Errorf("the line is %q's", got)
		}
		a.pulled(&audio.Frame{1})
		level(0, false)
		level(time.Second-1, false)
		level(1, true)
		a.pulled(&audio.Frame{1})
		level(0, false)
		p.stop()
		synctest.Wait()
		if !chip.High(1) {
			t.Error("it stays on at the end")
		}
	})
	if newAmplifier(config.Audio{}, nil, nil) != nil {
		t.Error("there is one that the config lacks")
	}
}
