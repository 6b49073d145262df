package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"sidetone/board/door"
	relaykeeper "sidetone/board/door/keeper"
	"sidetone/cmd/internal/atomicfile"
	"sidetone/cmd/sidetone/internal/control"
	"sidetone/provisioning/config"
	"sidetone/rtc/call"
)

// doorway is the door as the appliance has it. The loop owns all that changes.
type doorway struct {
	config  door.Config
	relays  relays
	file    string // what outlives a restart
	audit   auditFile
	state   door.State
	callers map[string]string // of each call, as it was when the call came: later words may be anybody's
}

// relays is a *relaykeeper.Supervisor, but in tests.
type relays interface {
	Pulse(relay string, d time.Duration) <-chan error
	Safe() <-chan error
	Run(context.Context)
}

// Relays are the relays that the config has, with their lines.
func Relays(c config.Door) (all []relaykeeper.Relay) {
	for _, r := range c.Relays {
		_, _, maxOn := r.Times()
		all = append(all, relaykeeper.Relay{Name: r.Name, Line: r.Line, ActiveLow: r.ActiveLow, FailSafe: r.Lock == config.LockSafe, MaxOn: maxOn})
	}
	return all
}

// newDoor makes the door, if there is one. A single call beside the device leaves it alone.
func (a *Appliance) newDoor() error {
	c := a.cfg.Door
	if len(c.Relays) == 0 || a.opt.Solo {
		return nil
	}
	d := &doorway{
		config: door.Config{
			AllowFrom: c.AllowFrom, ExitRelay: c.ExitRelay, FromAfar: c.FleetOpens, Tries: c.Tries, Lockout: time.Duration(c.Lockout),
			TamperBlock: time.Duration(c.TamperBlock), OpenTooLong: time.Duration(c.OpenTooLong),
		},
		relays: relaykeeper.NewSupervisor(Relays(c), func() *exec.Cmd {
			cmd := exec.Command("/proc/self/exe", "keeper")
			cmd.Stderr = os.Stderr
			return cmd
		}, a.log),
		file:    filepath.Join(a.cfg.Device.StateDir, "door.json"),
		audit:   auditFile{path: filepath.Join(a.cfg.Device.StateDir, "door-audit.jsonl")},
		callers: map[string]string{},
	}
	for _, r := range c.Relays {
		pulse, delay, maxOn := r.Times()
		d.config.Relays = append(d.config.Relays, door.Relay{Name: r.Name, Pulse: pulse, Delay: delay, MaxOn: maxOn})
	}
	for i, k := range c.Codes {
		text, err := a.secrets.Content(fmt.Sprintf("door.codes[%d].code_file", i), k.CodeFile, "`sidetone door hash` makes what belongs there")
		if err != nil {
			return err
		}
		secret, err := door.ParseSecret(string(text))
		if err != nil {
			return fmt.Errorf("door.codes[%d].code_file: %s: %w", i, k.CodeFile, err)
		}
		way := func(name string) bool { return len(k.Ways) == 0 || slices.Contains(k.Ways, name) }
		d.config.Codes = append(d.config.Codes, door.Code{
			Name: k.Name, Relay: k.Relay, Secret: secret, DTMF: way(config.WayDTMF), Keypad: way(config.WayKeypad), Hours: door.Hours(k.Hours()),
		})
	}
	kept, err := readKept(d.file)
	if err != nil {
		a.log.Error("what the door was to remember cannot be read: it begins as after tampering", "err", err)
		kept = d.config.Distrust()
	}
	d.state = door.New(&d.config, kept, time.Now())
	a.door = d
	return nil
}

func readKept(file string) (k door.Kept, err error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &k)
	}
	return k, err
}

// due is when the door wants a tick; nil when it does not.
func (d *doorway) due() <-chan time.Time {
	if d == nil {
		return nil
	}
	if at := d.state.Due(&d.config); !at.IsZero() {
		return time.After(time.Until(at))
	}
	return nil
}

// secret tells whether digits in calls may be codes: then nobody is told of them.
func (d *doorway) secret() bool {
	return d != nil && slices.ContainsFunc(d.config.Codes, func(c door.Code) bool { return c.DTMF })
}

// atDoor tells the door what happened, in the loop. It gives what was decided about it, and the relay's answer; done is nil
// when none was asked for.
func (a *Appliance) atDoor(in door.Input) (told []door.Record, done <-chan error) {
	d := a.door
	if d == nil {
		return nil, nil
	}
	now := time.Now()
	in.ClockGood = a.clock.Plausible(now)
	var actions []door.Action
	d.state, actions = d.state.Step(&d.config, in, now)
	for _, act := range actions {
		switch act.Kind {
		case door.Pulse:
			done = a.relayDoes(act.Relay, d.relays.Pulse(act.Relay, act.For))
		case door.Safe:
			a.relayDoes("", d.relays.Safe())
		case door.Tell:
			told = append(told, act.Record)
			a.tellDoor(act.Record, now, in.ClockGood)
		case door.Keep:
			a.keepDoor()
		}
	}
	return told, done
}

// relayDoes hands a relay's answer on, and tells of one that says no.
func (a *Appliance) relayDoes(relay string, answer <-chan error) <-chan error {
	done := make(chan error, 1)
	a.commands.Go(func() {
		err := <-answer
		if err != nil {
			a.log.Error("a relay does not do what it should", "relay", relay, "err", err)
			if a.fleet != nil {
				a.fleet.Event("door", map[string]any{"state": "relay_failed", "relay": relay, "error": err.Error()})
			}
		}
		done <- err
	})
	return done
}

// keepDoor writes what must outlive a restart.
func (a *Appliance) keepDoor() {
	d := a.door
	if d == nil {
		return
	}
	b, err := json.Marshal(d.state.Kept(&d.config, time.Now()))
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Dir(d.file), 0o700), atomicfile.Write(d.file, b, 0o600))
	}
	if err != nil {
		a.log.Error("what the door must remember over a restart is not kept; check device.state_dir", "err", err)
	}
}

// tellDoor tells everybody what became of somebody's wish, and what happened to the door.
func (a *Appliance) tellDoor(r door.Record, now time.Time, clockGood bool) {
	a.log.Info("door", "event", r.Event, "granted", r.Granted, "reason", r.Reason, "relay", r.Relay, "how", r.How, "who", r.Who, "code", r.Code, "call_id", r.CallID)
	if err := a.door.audit.add(r, now, clockGood); err != nil {
		a.log.Error("the door's audit is not kept on disk", "err", err)
	}
	a.watchers.tell(control.Event{Event: "door", CallID: r.CallID, Door: &r})
	if a.fleet != nil {
		a.fleet.Event("access", r)
	}
	if r.Granted && r.How != door.ByExit { // whoever goes out ends nobody's call
		a.doorIsOpen()
	}
}

// doorFollows notes who calls, and forgets who is gone.
func (a *Appliance) doorFollows(c call.Info) {
	if a.door == nil {
		return
	}
	if c.State >= call.Hangup {
		delete(a.door.callers, c.ID)
		a.atDoor(door.Input{Kind: door.Over, Call: door.Call{ID: c.ID}})
		return
	}
	if _, known := a.door.callers[c.ID]; !known && c.State > call.New { // a new one has no caller yet
		a.door.callers[c.ID] = c.RemoteID
		if c.Direction == call.Outbound {
			a.door.callers[c.ID] = c.Destination
		}
	}
}

// doorDigit is one that the far side pressed.
func (a *Appliance) doorDigit(c call.Info, digit string) {
	if a.door == nil {
		return
	}
	caller, known := a.door.callers[c.ID]
	a.atDoor(door.Input{Kind: door.Digit, Text: digit, Call: door.Call{
		ID: c.ID, Active: known && c.State == call.Active, Placed: c.Direction == call.Outbound, Remote: caller,
	}})
}

// OpenDoor implements control.Device.
func (a *Appliance) OpenDoor(ctx context.Context, r control.OpenDoorRequest) error {
	return a.openDoor(ctx, r, door.ByCommand, "local")
}

// leave opens the door for whoever stands at a button of the device's own.
func (a *Appliance) leave(ctx context.Context, _ control.OpenDoorRequest) error {
	return a.unlock(ctx, door.Input{Kind: door.Exit})
}

func (a *Appliance) openDoor(ctx context.Context, r control.OpenDoorRequest, way door.Way, who string) error {
	if r.Seconds < 0 || r.Seconds > 3600 {
		return fmt.Errorf("a door can be open for 0 to 3600 s, not %g", r.Seconds)
	}
	return a.unlock(ctx, door.Input{
		Kind: door.Command, Way: way, Who: who, Relay: r.Relay, For: time.Duration(r.Seconds * float64(time.Second)),
	})
}

// unlock tells the door of somebody's wish. Its error says why it stays shut.
func (a *Appliance) unlock(ctx context.Context, in door.Input) error {
	if a.door == nil {
		return errors.New("this device has no door; add a relay under [[door.relays]] in its config")
	}
	var told []door.Record
	var done <-chan error
	if err := a.do(ctx, func() { told, done = a.atDoor(in) }); err != nil {
		return err
	}
	for _, t := range told {
		if t.Event == door.Unlock && !t.Granted {
			return fmt.Errorf("the door stays shut: %s", t.Reason)
		}
	}
	if done == nil { // it waits for the relay's delay
		return nil
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// clip keeps a stranger's words short.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most]
	}
	return s
}
