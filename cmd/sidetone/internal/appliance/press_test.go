package appliance

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/cmd/sidetone/internal/control"
	"sidetone/provisioning/config"
	"sidetone/rtc/call"
	"sidetone/rtc/call/hunt"
	"sidetone/rtc/verto"
)

// Calls that end in the moment in which they are placed are known to have ended: the button goes on to its next target,
// and is soon done, without waiting for an answer that cannot come.
func TestCallsThatEndAtOnce(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			d, _ := newButtonDoor(t)
			d.broken = errors.New("no sound")
			begin := time.Now()
			_ = d.Press(t.Context(), "house")
			time.Sleep(time.Second)
			var outcome hunt.Outcome
			if err := d.do(t.Context(), func() { outcome = d.view.hunt.Outcome() }); err != nil || outcome != hunt.NoAnswer {
				t.Errorf("%s after the press the hunt is %q, %v", time.Since(begin), outcome, err)
			}
			if calls := d.live(t); len(calls) != 0 {
				t.Errorf("calls %+v", calls)
			}
		})
	}
}

// Who pressed may go away before the call is placed: it is the button's call all the same, and a second press ends it.
func TestPressAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := newButtonDoor(t)
		ctx, cancel := context.WithCancel(t.Context())
		actions := make(chan func(context.Context) error, 1)
		if err := d.do(ctx, func() { actions <- d.pressed(d.cfg.Buttons[0]) }); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := (<-actions)(ctx); err != nil {
			t.Errorf("the press failed: %v", err)
		}
		time.Sleep(time.Second)
		if n := len(d.live(t)); n != 1 {
			t.Fatalf("%d calls", n)
		}
		if err := d.Press(t.Context(), "house"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if n := len(d.live(t)); n != 0 {
			t.Errorf("%d calls after the second press", n)
		}
	})
}

// newButtonDoor is a door that is registered, with a button that calls two targets one after the other.
func newButtonDoor(t *testing.T) (*station, *exchange) {
	x := newExchange(t)
	d := newDoor(t, func(c *verto.Config) { c.Dial = x.dial })
	t.Cleanup(func() {
		d.end()
		x.cut()
		x.wg.Wait()
	})
	d.cfg.Buttons = []config.Button{{Name: "house", Targets: []string{"first", "second"}}}
	for d.Appliance.line.Status().State != verto.Registered {
		time.Sleep(100 * time.Millisecond)
	}
	return d, x
}

// What a call is to carry stands in its invite, or its answer.
func TestWhatGoesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, x := newButtonDoor(t)
		d.cfg.Line.SecondCall = "wait"
		id, err := d.Dial(t.Context(), control.DialRequest{Destination: "door2", Codecs: []string{"PCMA", "opus"}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		want := []verto.Codec{{MimeType: "audio/PCMA", ClockRate: 8000, Channels: 1}, {MimeType: "audio/opus", ClockRate: 48000, Channels: 2}}
		if got := x.dialog(id).PreferredCodecs; !slices.Equal(got, want) {
			t.Errorf("an invite with the codecs %+v", got)
		}
		if err := d.Do(t.Context(), control.Hangup, id); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Second)
		x.ring()
		time.Sleep(time.Second)
		calls := d.live(t)
		if len(calls) != 1 {
			t.Fatalf("calls %+v", calls)
		}
		if err := d.Answer(t.Context(), calls[0].ID, []call.Header{{Name: "X-Door", Value: "yard"}}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		got := x.dialog(calls[0].ID)
		if !slices.Equal(got.CustomHeaders, []verto.Header{{Name: "X-Door", Value: "yard"}}) || len(got.PreferredCodecs) == 0 {
			t.Errorf("an answer with %+v", got)
		}
	})
}

// dialog is what the device said last of a call.
func (x *exchange) dialog(id string) (p verto.DialogParams) {
	x.with(func() {
		if c := x.calls[id]; c != nil {
			p = c.dialog
		}
	})
	return p
}
