package device

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/audio"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// room is both ends of a device: it speaks numbered frames and keeps what the microphone heard.
type room struct {
	pulled int16
	heard  []audio.Frame
	refuse int // how many frames it does not take at first
	hear   func()
}

func (r *room) PullFrame(f *audio.Frame) {
	r.pulled++
	for i := range f {
		f[i] = r.pulled
	}
}

func (r *room) PushFrame(f *audio.Frame) bool {
	if r.hear != nil {
		r.hear()
	}
	if r.refuse > 0 {
		r.refuse--
		return false
	}
	r.heard = append(r.heard, *f)
	return true
}

// counter is a room that only counts.
type counter struct{ pulled, pushed int }

func (c *counter) PullFrame(*audio.Frame)      { c.pulled++ }
func (c *counter) PushFrame(*audio.Frame) bool { c.pushed++; return true }

func TestNullKeepsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour+audio.FrameDuration/2)
		defer cancel()
		var c counter
		if err := (Null{}).Run(ctx, &c, &c); err != nil {
			t.Fatal(err)
		}
		if want := int(3 * time.Hour / audio.FrameDuration); c.pulled != want || c.pushed != want {
			t.Errorf("3 h had %d frames out and %d in, want %d", c.pulled, c.pushed, want)
		}
	})
}

func TestNullIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var r room
		if err := (Null{}).Run(ctx, &r, &r); err != nil {
			t.Fatal(err)
		}
		for _, f := range r.heard {
			if f != (audio.Frame{}) {
				t.Fatal("null was heard")
			}
		}
	})
}

// TestTenMinutes counts frames over a clock that is late now and then, by less than it catches up with.
func TestTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute+audio.FrameDuration/2)
		defer cancel()
		frames := 0
		if err := pace(ctx, func(lost int) error {
			if frames++; frames%1000 == 0 {
				time.Sleep(time.Duration(frames/1000%100) * time.Millisecond)
			}
			if lost != 0 {
				t.Errorf("frame %d: %d lost", frames, lost)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if frames != 30_000 {
			t.Errorf("10 minutes had %d frames, want 30000", frames)
		}
	})
}

// TestStall holds the clock: up to five frames are made up for, with a breath between them, the rest is said to be lost,
// and the schedule goes on where it was.
func TestStall(t *testing.T) {
	for _, c := range []struct {
		stall time.Duration
		lost  int
	}{
		{19 * time.Millisecond, 0}, {20 * time.Millisecond, 0}, {99 * time.Millisecond, 0}, {100 * time.Millisecond, 0},
		{120 * time.Millisecond, 1}, {309 * time.Millisecond, 10}, {time.Hour, 180_000 - 5},
	} {
		t.Run(c.stall.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				total := c.stall + 2*time.Second
				ctx, cancel := context.WithTimeout(t.Context(), total+5*time.Millisecond)
				defer cancel()
				start, frames, lost := time.Now(), 0, 0
				var woke, last time.Time
				if err := pace(ctx, func(l int) error {
					frames++
					lost += l
					now := time.Now()
					if now.Equal(last) && !last.Equal(woke) {
						t.Errorf("frame %d follows without a breath", frames)
					}
					catchingUp := !woke.IsZero() && now.Sub(woke) < audio.FrameDuration
					if !catchingUp && now.Sub(start)%audio.FrameDuration != 0 {
						t.Errorf("frame %d comes off the beat, at %v", frames, now.Sub(start))
					}
					last = now
					if frames == 20 {
						time.Sleep(c.stall)
						woke = time.Now()
						last = woke
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				if lost != c.lost {
					t.Errorf("%d lost, want %d", lost, c.lost)
				}
				if want := int((total + 5*time.Millisecond) / audio.FrameDuration); frames+lost != want {
					t.Errorf("%v had %d frames and %d lost, want %d", total, frames, lost, want)
				}
			})
		})
	}
}

func TestPaceEndsWithTheFrame(t *testing.T) {
	broken := errors.New("broken")
	if err := pace(t.Context(), func(int) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}
