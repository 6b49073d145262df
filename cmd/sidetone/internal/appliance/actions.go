package appliance

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"sidetone/cmd/sidetone/internal/control"
	"sidetone/rtc/call"
	"sidetone/rtc/media"
	"sidetone/rtc/verto"
)

// hangupGrace bounds the wait for a call's report after its end was asked for.
const hangupGrace = 3 * time.Second

// Status implements control.Device.
func (a *Appliance) Status(ctx context.Context) control.Status {
	d := a.sound.device.Load()
	s := control.Status{
		Update: a.updateState(),
		Device: a.cfg.Device.Name, Fleet: a.cfg.Device.Fleet, Version: a.opt.Version, Started: a.started,
		MQTT: "none", Sound: d.capture + " / " + d.playback, SoundDevice: a.sound.counts.read(),
		LastReset: a.resetReason(),
	}
	if a.fleet != nil {
		s.MQTT = "offline"
		if a.fleet.Status().Connected {
			s.MQTT = "connected"
		}
	}
	a.do(ctx, func() {
		s.Line, s.Calls, s.Indicator = a.view.line, a.view.live(), a.view.pattern
		s.Health = a.view.health
	})
	return s
}

// Dial implements control.Device.
func (a *Appliance) Dial(ctx context.Context, r control.DialRequest) (callID string, err error) {
	if len(r.Codecs) > 0 {
		if err := media.CheckCodecs(r.Codecs); err != nil {
			return "", err
		}
	}
	return a.calls.Dial(ctx, call.DialRequest{
		Destination: r.Destination, Relay: r.Relay, CallerName: r.CallerName, CallerNumber: r.CallerNumber,
		Headers: r.Headers, ClientState: base64.StdEncoding.EncodeToString([]byte(r.ClientState)),
		Muted: r.Muted, PreferredCodecs: r.Codecs,
	})
}

// Call implements control.Device.
func (a *Appliance) Call(ctx context.Context, r control.CallRequest, each func(control.Event)) error {
	events, stop := a.watchers.watch()
	defer stop()
	if err := a.refused(ctx); err != nil {
		return err
	}
	begin := time.Now()
	id, err := a.Dial(ctx, r.DialRequest)
	if err != nil {
		return err
	}
	var limit, grace <-chan time.Time
	canceled := ctx.Done()
	hangup := func() {
		a.calls.Hangup(context.WithoutCancel(ctx), id)
		grace = time.After(hangupGrace)
	}
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return errEnded
			}
			switch {
			case e.CallID == "": // of the line
				e.TMs = time.Since(begin).Milliseconds()
			case e.CallID != id:
				continue
			}
			each(e)
			if e.Report != nil {
				return nil
			}
			if r.For > 0 && e.State == call.Active.String() && limit == nil {
				limit = time.After(r.For)
			}
		case <-limit:
			hangup()
		case <-canceled:
			canceled = nil
			hangup()
		case <-grace:
			return errors.New("the call did not end in time")
		}
	}
}

// refused is a *control.RefusedError while the platform refuses the login, else nil.
func (a *Appliance) refused(ctx context.Context) error {
	var line verto.Status
	if err := a.do(ctx, func() { line = a.view.line }); err != nil {
		return err
	}
	if line.State == verto.Refused {
		return &control.RefusedError{Status: line}
	}
	return nil
}

// Do implements control.Device.
func (a *Appliance) Do(ctx context.Context, act control.Act, callID string) error {
	m := a.calls
	on := func(set func(context.Context, string, bool) error, on bool) func(context.Context, string) error {
		return func(ctx context.Context, id string) error { return set(ctx, id, on) }
	}
	do, ok := map[control.Act]func(context.Context, string) error{
		control.Reject: m.Reject, control.Hangup: m.Hangup,
		control.Hold: m.Hold, control.Unhold: m.Unhold, control.ToggleHold: m.ToggleHold,
		control.Mute: on(m.Mute, true), control.Unmute: on(m.Mute, false), control.ToggleMute: m.ToggleMute,
		control.Deaf: on(m.Deaf, true), control.Undeaf: on(m.Deaf, false),
	}[act]
	if !ok {
		return fmt.Errorf("this firmware cannot %q a call", act)
	}
	return do(ctx, callID)
}

// Answer implements control.Device.
func (a *Appliance) Answer(ctx context.Context, callID string, headers []call.Header) error {
	return a.calls.Answer(ctx, callID, headers...)
}

// DTMF implements control.Device.
func (a *Appliance) DTMF(ctx context.Context, callID, digits string) error {
	return a.calls.DTMF(ctx, callID, digits)
}

// Transfer implements control.Device.
func (a *Appliance) Transfer(ctx context.Context, callID, destination string) error {
	return a.calls.Transfer(ctx, callID, destination)
}

// Watch implements control.Device.
func (a *Appliance) Watch(ctx context.Context, each func(control.Event) error) error {
	events, stop := a.watchers.watch()
	defer stop()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return errEnded
			}
			if err := each(e); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// UseSound implements control.Device.
func (a *Appliance) UseSound(ctx context.Context, capture, playback string) error {
	old := a.sound.device.Load()
	d := soundDeviceOf(cmp.Or(capture, old.capture), cmp.Or(playback, old.playback))
	if err := a.sound.use(ctx, d); err != nil {
		a.deviceSkipped(err)
		return err
	}
	a.log.Info("sound device changed", "capture", d.capture, "playback", d.playback)
	if err := a.do(ctx, func() {}); err != nil { // the loop looks anew at what the device may play
		return err
	}
	if a.fleet != nil {
		a.announce()
	}
	return nil
}
