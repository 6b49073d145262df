package hawkbit

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/ota"
)

// restarts boots the device anew, as a cut of the power does; what it does meanwhile to the server it finds when it is back.
func (d *device) restarts(s *server, do func()) {
	s.mu.Lock()
	do()
	s.mu.Unlock()
	d.with(func() { d.reboot() })
}

// An order is told of under its own number, however often the device starts anew in its middle.
func TestRestart(t *testing.T) {
	for _, at := range []string{"downloading", "waiting", "probation"} {
		synctest.Test(t, func(t *testing.T) {
			s, d := alive(t, ota.Config{})
			if at == "waiting" {
				d.with(func() { d.busy = "a call" })
			}
			s.orders("v2.0.0", "attempt")
			s.reach(at)
			d.restarts(s, func() {})
			s.reach("proceeding")
			d.with(func() { d.busy = "" })
			if got := s.reach("closed"); !strings.HasSuffix(got, "closed success: v2.0.0 runs") || strings.Contains(got, "nobody") {
				t.Errorf("restarted while %s: %q", at, got)
			}
			d.is(t, "b", true)
			time.Sleep(24 * time.Hour)
			if got := s.said(); got != "" {
				t.Errorf("after its end: %q", got)
			}
		})
	}
}

// A cancellation that the device finds after a restart is of what it has in hand still, whether it kept the order or lost it.
func TestCancelAfterRestart(t *testing.T) {
	for _, at := range []string{"downloading", "waiting"} {
		for _, full := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				s, d := alive(t, ota.Config{Spread: 1000 * time.Hour}) // a check by the clock would find nothing, and say no more why
				d.note.full.Store(full)
				d.with(func() { d.busy = "a call" })
				s.orders("v2.0.0", "attempt")
				s.reach(at)
				d.restarts(s, func() { s.cancel = 99 })
				if got := s.reach("cancel"); !strings.HasSuffix(got, "cancel closed success: cancelled") || strings.Contains(got, "nobody") {
					t.Errorf("%s: %q", at, got)
				}
				var state ota.State
				d.with(func() { state, _ = ota.ParseState(d.disk); d.busy = "" })
				// Without the order the download was not gone on with at all.
				if state.Phase != ota.Idle || state.Reason != "cancelled by hawkBit" && !(full && at == "downloading") {
					t.Errorf("%s: %+v", at, state)
				}
				time.Sleep(24 * time.Hour)
				d.with(func() {
					if d.chosen != "a" || d.boots != 2 {
						t.Errorf("%s: %s boots, after %d boots", at, d.chosen, d.boots)
					}
				})
			})
		}
	}
}

// What has been booted when a cancellation comes is not given up for it: the server hears that, and then how the order ended.
func TestCancelTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := alive(t, ota.Config{Hold: time.Hour, ProbationLimit: 2 * time.Hour})
		s.orders("v2.0.0", "attempt")
		s.reach("probation")
		d.with(func() { d.busy = "a call" })
		d.restarts(s, func() { s.cancel = 99 }) // the old system runs again, and the new one waits for another trial
		if got := s.reach("cancel"); !strings.HasSuffix(got, "cancel closed success: cancelled") {
			t.Errorf("between two trials: %q", got)
		}
		d.is(t, "a", true)
		d.with(func() { d.busy = "" })

		s.orders("v2.0.0", "attempt")
		s.reach("probation")
		s.with(func() { s.cancel = 100 })
		if got := s.reach("closed"); !strings.Contains(got, "cancel rejected none: it is being tried already") || !strings.HasSuffix(got, "closed success: v2.0.0 runs") {
			t.Errorf("on trial: %q", got)
		}
		d.is(t, "b", true)
	})
	synctest.Test(t, func(t *testing.T) {
		s, d := alive(t, ota.Config{})
		s.orders("v2.0.0", "attempt")
		s.reach("downloading")
		s.with(func() { s.down = true })
		time.Sleep(12 * time.Hour)
		d.is(t, "b", true)
		s.with(func() { s.down, s.cancel = false, 99 })
		if got := s.reach("closed"); got != "cancel rejected none: v2.0.0 runs already | closed success: v2.0.0 runs" {
			t.Errorf("committed: %q", got)
		}
	})
}

// A device that went back while nobody could be told tells it when it can, even if the metadata offers nothing any more.
func TestRollBackIsToldLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := alive(t, ota.Config{})
		d.with(func() { d.sick = "no line" })
		s.orders("v2.0.0", "attempt")
		s.reach("downloading")
		s.with(func() { s.down = true })
		time.Sleep(3 * time.Hour)
		d.restarts(s, func() { s.down = false })
		d.with(func() { d.offered = "" })
		if got := s.reach("closed"); got != "closed failure: rolled back, no line" && got != "closed failure: v2.0.0 is not tried again: no line" {
			t.Errorf("%q", got)
		}
		d.is(t, "a", true)
	})
}

// While the device was away its order was replaced: the new one hears nothing of the old one.
func TestReplacedInRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := alive(t, ota.Config{})
		d.with(func() { d.busy = "a call" })
		s.orders("v2.0.0", "attempt")
		s.reach("waiting")
		d.restarts(s, func() { s.action, s.version = 2, "v3.0.0" })
		d.with(func() { d.offered = "v3.0.0" })
		time.Sleep(time.Hour)
		if got := s.said(); got != "" {
			t.Errorf("of another order: %q", got)
		}
		d.with(func() { d.busy = "" })
		if got := s.reach("closed"); !strings.HasSuffix(got, "closed success: v3.0.0 runs") || strings.Contains(got, "nobody") {
			t.Errorf("%q", got)
		}
	})
}
