package appliance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sidetone/cmd/sidetone/internal/control"
	"sidetone/provisioning/identity"
	"sidetone/rtc/quality"
	"sidetone/rtc/verto"
)

// registerTimeout bounds the wait for the line before a single call.
const registerTimeout = 15 * time.Second

// Once is the appliance for one call: it logs in, calls, and shuts down. Its error is a *control.RefusedError when the login
// was refused.
func Once(ctx context.Context, opt Options, r control.CallRequest, each func(control.Event)) error {
	a, err := New(opt)
	if err != nil {
		return err
	}
	if err := a.unusable(ctx); err != nil {
		return &control.RefusedError{Status: verto.Status{
			State: verto.Refused, Code: verto.CodeLoginFailed, Name: "LOGIN_FAILED", Message: err.Error(), Since: time.Now(),
		}}
	}
	events, stop := a.watchers.watch()
	defer stop()
	// The appliance ends after the call, not with ctx, so that bye and report still go out.
	var device part
	device.start(context.WithoutCancel(ctx), func(ctx context.Context) { a.Run(ctx) })
	defer device.stop()
	if err := registered(ctx, events); err != nil {
		return err
	}
	stop()
	return a.Call(ctx, r, each)
}

// unusable tells why nobody needs to ask the platform whether it takes the credentials; nil when it should be asked.
func (a *Appliance) unusable(ctx context.Context) error {
	if a.identity == nil {
		return nil
	}
	if _, err := a.identity.Credentials(ctx); errors.Is(err, identity.ErrUnusable) {
		return err
	}
	return nil
}

func registered(ctx context.Context, events <-chan control.Event) error {
	timeout := time.After(registerTimeout)
	last := "no answer"
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return errEnded
			}
			if e.Line == nil {
				continue
			}
			switch e.Line.State {
			case verto.Registered:
				return nil
			case verto.Refused:
				return &control.RefusedError{Status: *e.Line}
			}
			if e.Line.Message != "" {
				last = e.Line.Message
			}
		case <-timeout:
			return fmt.Errorf("the line did not come up within %s: %s", registerTimeout, last)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Heard says why nobody heard the far side of a call in the end: no sound came in, or none any more. Packets without sound
// are none, and who ends a held call expects none.
func Heard(r *quality.Report, held bool) error {
	var energy float64
	var packets uint64
	var last, end time.Time // of packets, of the call
	for _, e := range r.Stats {
		if end = e.End; last.IsZero() {
			last = e.Start
		}
		if in := e.Audio.Inbound; in != nil && in.PacketsReceived > packets {
			energy, packets, last = in.TotalAudioEnergy, in.PacketsReceived, end
		}
	}
	switch away := end.Sub(last); {
	case energy <= heardEnergy:
		return errors.New("no sound came in")
	case away >= goneAfter && !held:
		return fmt.Errorf("nothing came in for its last %.0f s", away.Seconds())
	}
	return nil
}

const (
	// heardEnergy is what 100 ms at -50 dBFS add up to, in webrtc-stats' unit: far below speech, far above dither.
	heardEnergy = 1e-5 * 0.1
	// goneAfter is how long the far side sends nothing at all when it is gone, and not only silent: what sends no packets of
	// silence (DTX) sends one in 400 ms.
	goneAfter = 3 * time.Second
)
