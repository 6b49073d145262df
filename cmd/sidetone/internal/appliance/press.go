package appliance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sidetone/board/door"
	"sidetone/board/gesture"
	"sidetone/cmd/sidetone/internal/control"
	"sidetone/provisioning/config"
	"sidetone/rtc/call"
	"sidetone/rtc/call/hunt"

	"github.com/google/uuid"
)

// Key presses the button that board profile sim has on this key.
func (a *Appliance) Key(key rune) {
	for _, b := range a.cfg.Buttons {
		if b.Key == string(key) || (b.Key == "space" && key == ' ') || (b.Key == "enter" && key == '\n') {
			if err := a.press(context.Background(), b.Name, a.leave); err != nil {
				a.log.Error("press", "button", b.Name, "err", err)
			}
			return
		}
	}
	if a.door != nil && strings.ContainsRune("0123456789ABCD*#", key) { // the terminal is the keypad, too
		_ = a.do(context.Background(), func() { a.atDoor(door.Input{Kind: door.Key, Text: string(key)}) })
	}
}

// Press implements control.Device. Nobody stands at the button: the door opens for who may open it by command.
func (a *Appliance) Press(ctx context.Context, name string) error {
	return a.press(ctx, name, a.OpenDoor)
}

// opener opens the door for somebody, in his own right.
type opener func(context.Context, control.OpenDoorRequest) error

// press does what a press of the button means now.
func (a *Appliance) press(ctx context.Context, name string, open opener) error {
	button, err := a.button(name)
	if err != nil {
		return err
	}
	do, err := a.meaning(ctx, button, gesture.Press, open)
	if err != nil {
		return err
	}
	a.tellGesture(button, gesture.Press)
	if do == nil {
		return nil
	}
	return do(ctx)
}

// meaning decides what a gesture of the button is to do now; nil is nothing.
func (a *Appliance) meaning(ctx context.Context, b config.Button, g gesture.Kind, open opener) (do func(context.Context) error, err error) {
	action := map[gesture.Kind]string{
		gesture.Press: cmp.Or(b.Press, config.ActionCall), gesture.Double: b.Double, gesture.Long: b.Long, gesture.Held: b.Hold,
	}[g]
	switch action {
	case config.ActionCall:
		err = a.do(ctx, func() { do = a.pressed(b) })
	case config.ActionAnswer:
		do = func(ctx context.Context) error { return a.calls.Answer(ctx, "") }
	case config.ActionHangup:
		err = a.do(ctx, func() { do = a.ends(a.view.live()) })
	case config.ActionMute:
		do = func(ctx context.Context) error { return a.calls.ToggleMute(ctx, "") }
	case config.ActionDoor:
		do = func(ctx context.Context) error {
			return open(ctx, control.OpenDoorRequest{Relay: a.cfg.Door.ExitRelay})
		}
	case config.ActionReset:
		do = func(context.Context) error { a.requestReset(); return nil }
	}
	return do, err
}

func (a *Appliance) button(name string) (config.Button, error) {
	if len(a.cfg.Buttons) == 0 {
		return config.Button{}, errors.New("this device has no button; add one under [[buttons]] in its config")
	}
	if name == "" {
		return a.cfg.Buttons[0], nil
	}
	i := slices.IndexFunc(a.cfg.Buttons, func(b config.Button) bool { return b.Name == name })
	if i < 0 {
		return config.Button{}, fmt.Errorf("this device has no button %q", name)
	}
	return a.cfg.Buttons[i], nil
}

// pressed decides, in the loop, what to do: answer what rings here, else end what is under way, else call the button's
// targets. What it returns is done outside.
func (a *Appliance) pressed(b config.Button) func(context.Context) error {
	calls := a.view.live()
	if i := slices.IndexFunc(calls, func(c call.Info) bool { return c.Direction == call.Inbound && c.State == call.Ringing }); i >= 0 {
		return func(ctx context.Context) error { return a.calls.Answer(ctx, calls[i].ID) }
	}
	if end := a.ends(calls); end != nil {
		return end
	}
	plan := b.Plan()
	if plan.PerTarget == 0 {
		plan.PerTarget = time.Duration(a.cfg.Line.SetupTimeout)
	}
	h, actions := hunt.Start(hunt.Plan{
		Targets: plan.Targets, Mode: hunt.Mode(plan.Mode), PerTarget: plan.PerTarget, Rounds: plan.Rounds,
		NoAnswer: plan.NoAnswer, MaxCall: plan.MaxCall, AfterDoor: plan.AfterDoor,
	}, time.Now())
	a.view.hunt, a.view.group = h, uuid.NewString()
	return func(ctx context.Context) error { return a.follow(ctx, actions) }
}

// ends decides, in the loop, how what is under way is ended: what a button calls, else the call that began last. Nil:
// there is nothing to end.
func (a *Appliance) ends(calls []call.Info) func(context.Context) error {
	switch {
	case !a.view.hunt.Over():
		actions := a.hunted(hunt.Input{Kind: hunt.Pressed, Time: time.Now()})
		return func(ctx context.Context) error { return a.follow(ctx, actions) }
	case len(calls) > 0:
		return func(ctx context.Context) error { return a.calls.Hangup(ctx, calls[len(calls)-1].ID) }
	}
	return nil
}

// DoorOpened implements control.Device.
func (a *Appliance) DoorOpened(ctx context.Context) error {
	if err := a.do(ctx, a.doorIsOpen); err != nil {
		return err
	}
	if a.fleet != nil {
		a.fleet.Event("door", map[string]any{"state": "open"})
	}
	return nil
}

// doorIsOpen is what follows from it, in the loop.
func (a *Appliance) doorIsOpen() {
	a.hunted(hunt.Input{Kind: hunt.DoorOpened, Time: time.Now()})
	a.prompts(chimeTone)
}

// hunted tells the hunt, in the loop, what happened; what it wants is for follow.
func (a *Appliance) hunted(in hunt.Input) (actions []hunt.Action) {
	a.view.hunt, actions = a.view.hunt.Step(in)
	return actions
}

// huntFollows tells the hunt of a call's new state.
func (a *Appliance) huntFollows(ctx context.Context, c call.Info) {
	var kind hunt.Kind
	switch {
	case a.view.hunt.Over():
		return
	case c.State == call.Active:
		kind = hunt.Answered
	case c.State >= call.Hangup:
		kind = hunt.Ended
	default:
		return
	}
	a.later(ctx, a.hunted(hunt.Input{Kind: kind, Time: time.Now(), CallID: c.ID}))
}

// later follows a hunt from the loop, which must not wait for calls.
func (a *Appliance) later(ctx context.Context, actions []hunt.Action) {
	if len(actions) > 0 {
		a.commands.Go(func() {
			if err := a.follow(ctx, actions); err != nil {
				a.log.Warn("calling the button's targets", "err", err)
			}
		})
	}
}

// follow does what a hunt wants, outside the loop, whoever goes away meanwhile: a call that is placed must be the hunt's.
// Its error is the last target's that could not be called.
func (a *Appliance) follow(ctx context.Context, actions []hunt.Action) (err error) {
	ctx = context.WithoutCancel(ctx)
	for len(actions) > 0 {
		act := actions[0]
		actions = actions[1:]
		if !act.Dial {
			a.calls.Hangup(ctx, act.CallID)
			continue
		}
		var group string
		if err := a.do(ctx, func() { group = a.view.group }); err != nil {
			return err
		}
		var id string
		id, err = a.calls.Dial(ctx, call.DialRequest{Destination: act.Target, Group: group})
		more := []hunt.Action(nil)
		if derr := a.do(ctx, func() {
			now := time.Now()
			if err != nil {
				more = a.hunted(hunt.Input{Kind: hunt.NotDialled, Time: now, Leg: act.Leg})
				return
			}
			more = a.hunted(hunt.Input{Kind: hunt.Dialled, Time: now, Leg: act.Leg, CallID: id})
			// The call may have come further than the hunt knew of it.
			if c, ok := a.view.calls[id]; ok && c.State == call.Active {
				more = append(more, a.hunted(hunt.Input{Kind: hunt.Answered, Time: now, CallID: id})...)
			}
		}); derr != nil {
			return derr
		}
		actions = append(actions, more...)
		if err == nil && !a.alive(ctx, id) { // it ended before the hunt knew of it: its end was told to nobody
			if derr := a.do(ctx, func() {
				more = a.hunted(hunt.Input{Kind: hunt.Ended, Time: time.Now(), CallID: id})
			}); derr != nil {
				return derr
			}
			actions = append(actions, more...)
		}
	}
	return err
}

// alive tells whether a call is up, by the word of who has it: the view comes after.
func (a *Appliance) alive(ctx context.Context, id string) bool {
	return slices.ContainsFunc(a.calls.Calls(ctx), func(c call.Info) bool { return c.ID == id && c.State < call.Hangup })
}

// due gives a timer's channel for the hunt's next deadline; nil when there is none.
func (v *view) due() <-chan time.Time {
	if d := v.hunt.Due(); !d.IsZero() {
		return time.After(time.Until(d))
	}
	return nil
}
