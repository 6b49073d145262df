package appliance

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"sidetone/board/door"
	"sidetone/board/health"
	"sidetone/board/indicator"
	"sidetone/cmd/sidetone/internal/control"
	"sidetone/provisioning/fleet"
	"sidetone/rtc/call"
	"sidetone/rtc/call/hunt"
	"sidetone/rtc/quality"
	"sidetone/rtc/verto"
)

// view is what the loop knows of the device: all that LED, tones and status are functions of.
type view struct {
	line    verto.Status
	calls   map[string]call.Info
	pattern indicator.Pattern
	hunt    hunt.Hunt      // of the button pressed last
	group   string         // of its calls
	samples map[string]int // of each call
	prompt  prompt
	reset   indicator.Reset // a button is held to reset the device
	offline bool            // the device has no address

	stuck    map[string]bool // buttons
	watched  map[string]bool // buttons whose line is
	stalls   uint64          // of the sound device, when it was looked at last
	examined health.State
	health   []health.Active // what is wrong
	told     bool            // of health, at least once
}

// statsDue counts the samples of a call, one a second, and tells of each that ends an interval.
func (v *view) statsDue(callID string, interval time.Duration) bool {
	v.samples[callID]++
	return v.samples[callID]%max(1, int(interval/time.Second)) == 0
}

// live gives the calls in the order in which they began.
func (v *view) live() []call.Info {
	return slices.SortedFunc(maps.Values(v.calls), func(a, b call.Info) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
}

// errEnded is what requests get when the device has shut down.
var errEnded = errors.New("the device is shutting down")

// loop owns the view. It ends when line, calls and fleet have told their last.
func (a *Appliance) loop(ctx context.Context) {
	defer close(a.ended)
	defer a.keepDoor()
	line, calls := a.line.Events(), a.calls.Events()
	var commands <-chan fleet.Command
	if a.fleet != nil {
		commands = a.fleet.Commands()
	}
	a.show()
	for line != nil || calls != nil {
		select {
		case e, ok := <-line:
			if !ok {
				line = nil
				continue
			}
			a.onLine(e)
		case e, ok := <-calls:
			if !ok {
				calls = nil
				continue
			}
			a.onCall(ctx, e)
		case c, ok := <-commands:
			if !ok {
				commands = nil
				continue
			}
			a.onCommand(ctx, c)
		case f := <-a.requests:
			f()
		case <-a.view.prompt.over():
		case <-a.door.due():
			a.atDoor(door.Input{Kind: door.Tick})
		case <-a.updated:
		case now := <-a.view.due():
			a.later(ctx, a.hunted(hunt.Input{Kind: hunt.Tick, Time: now}))
		}
		a.show()
	}
}

// do runs f in the loop and waits for it.
func (a *Appliance) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case a.requests <- func() { f(); close(done) }:
		<-done
		return nil
	case <-a.ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *Appliance) onLine(e verto.Event) {
	if c := e.Condition; c != nil {
		a.onCondition(*c)
	}
	if e.AI != nil {
		a.assistantSays(e.AI)
		return
	}
	if e.Status == nil {
		a.signal(e)
		return
	}
	// A line that is only registering again still has its connection: calls go on.
	lost := e.Status.State == verto.Down || e.Status.State == verto.Connecting || e.Status.State == verto.Refused
	if lost && (a.view.line.State == verto.Registered || a.view.line.State == verto.Registering) {
		how := e.Status.Socket
		if how == nil {
			how = &quality.SocketClose{Error: e.Status.Message}
		}
		a.calls.Signal(call.Signal{Kind: call.SignalLineLost, Socket: how})
	}
	if e.Status.State == verto.Registered && a.view.line.State != verto.Registered {
		a.outbox.wake()
	}
	before, now := a.view.line, *e.Status
	a.view.line = now
	if now.State != before.State {
		a.manager.Tell("STATUS=line " + string(now.State))
	}
	// Other words for the same trouble, and a later time of the next try, are no event.
	if now.State != before.State || now.Code != before.Code || now.GatewayState != before.GatewayState {
		a.log.Info("line", "state", e.Status.State, "code", e.Status.Code) // why it is down the client has logged
		a.watchers.tell(control.Event{Event: "line", Line: e.Status, Code: e.Status.Code, Name: e.Status.Name, Message: e.Status.Message})
	}
	if a.fleet != nil && !a.opt.Solo {
		a.fleet.State("line", e.Status)
	}
}

func (a *Appliance) onCall(ctx context.Context, e call.Event) {
	c := e.Call
	out := control.Event{Event: string(e.Kind), CallID: c.ID, TMs: time.Since(c.Created).Milliseconds()}
	switch e.Kind {
	case call.StateChanged:
		out.State, out.PrevState, out.Call = c.State.String(), c.PrevState.String(), &c
		a.opt.Logger.Info("call", "state", c.State, "call_id", c.ID, "cause", c.Cause.Cause)
		if c.State >= call.Destroy {
			delete(a.view.calls, c.ID)
			delete(a.view.samples, c.ID)
		} else {
			a.view.calls[c.ID] = c
		}
		a.doorFollows(c)
		a.huntFollows(ctx, c)
		a.endPrompt(c)
		a.debug.state(c)
		if a.fleet != nil {
			a.fleet.State("call", c)
			if c.State == call.Ringing && c.Direction == call.Inbound {
				a.fleet.Event("ring", map[string]any{"call_id": c.ID, "from": c.RemoteName})
			}
		}
	case call.Updated:
		if _, ok := a.view.calls[c.ID]; ok {
			a.view.calls[c.ID] = c
		}
		return
	case call.Warned, call.Errored:
		out.Code, out.Name, out.Message = e.Warning.Code, e.Warning.Name, e.Warning.Message
		out.Cause, out.Action = a.onWarning(e)
	case call.Measured:
		a.debug.measured(c.ID, e.Stats)
		if !a.view.statsDue(c.ID, time.Duration(a.cfg.Report.Interval)) {
			return
		}
		out.Stats = e.Stats
		if a.fleet != nil && a.cfg.MQTT.StatsLive {
			a.fleet.Live(liveStats{c.ID, e.Stats})
		}
	case call.Parted:
		a.upload(c.ID, e.Report)
		return
	case call.DTMF:
		a.doorDigit(c, e.Digit)
		told := map[string]any{"call_id": c.ID}
		if !a.door.secret() { // else it may be of a code
			out.Digit, told["digit"] = e.Digit, e.Digit
		}
		if a.fleet != nil {
			a.fleet.Event("dtmf", told)
		}
	case call.Reported:
		out.Report = e.Report
		a.debug.ended(c.ID)
		a.report(c.ID, e.Report, e.Last)
	}
	a.watchers.tell(out)
}

// show makes light and sound follow the view.
func (a *Appliance) show() {
	s := indicator.State{
		Refused:       a.view.line.State == verto.Refused,
		NotRegistered: a.view.line.State != verto.Registered,
		NoNetwork:     a.view.offline && a.view.line.State != verto.Registered,
		Reset:         a.view.reset,
	}
	calls := a.view.live()
	s.Updating = a.updating(calls)
	signs := call.SignsOf(a.litFor(calls)...)
	s.Ringing, s.Talking = signs.Calling && !signs.Talking, signs.Talking
	s.Muted = slices.ContainsFunc(calls, func(c call.Info) bool { return c.Muted && c.State < call.Hangup })
	if p := indicator.For(s); p != a.view.pattern {
		a.view.pattern = p
		if a.opt.Lamp != nil {
			a.opt.Lamp(p)
		}
		if a.lamp != nil {
			a.lamp.Show(p)
		}
	}
	a.sound.set(a.routeFor(calls))
}
