package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sidetone/cmd/internal/atomicfile"
	"sidetone/cmd/sidetone/internal/control"
	"sidetone/cmd/sidetone/internal/update"
	"sidetone/ota"
	"sidetone/provisioning/config"
	"sidetone/rtc/call"
	"sidetone/rtc/verto"

	"golang.org/x/mod/semver"
)

// newUpdates makes what keeps the firmware new, if the config names a repository. A single call beside the device leaves it
// alone.
func (a *Appliance) newUpdates() (err error) {
	if a.cfg.Update.URL == "" || a.opt.Solo {
		return nil
	}
	t := &trial{a: a, file: filepath.Join(a.cfg.Device.StateDir, "update", "before.json"), root: os.DirFS("/")}
	a.updates, err = update.New(update.Config{
		Update: a.cfg.Update, Board: a.cfg.Board.Profile, Device: a.cfg.Device.Name, Version: a.opt.Version,
		StateDir: a.cfg.Device.StateDir, Now: a.clock.Now, Log: a.opt.Logger.With("part", "update"),
		Secrets: a.secrets, Appliance: t, Before: t.note, Tell: a.tellUpdate, Restart: a.restart,
	})
	return err
}

// updateState is how far updates are; nil: there are none.
func (a *Appliance) updateState() *control.Update {
	if a.updates == nil {
		return nil
	}
	u := a.updates.Status()
	return &u
}

// updating says whether the lamp is to ask for power. A download takes long, and is not shown over a call.
func (a *Appliance) updating(calls []call.Info) bool {
	if a.updates == nil {
		return false
	}
	switch ota.Phase(a.updates.Status().Phase) {
	case ota.Verifying, ota.Writing, ota.Trying, ota.Probation:
		return true
	case ota.Downloading:
		return len(calls) == 0
	}
	return false
}

// tellUpdate tells everybody how far an update is. The updater's goroutine calls it.
func (a *Appliance) tellUpdate(u control.Update) {
	a.watchers.tell(control.Event{Event: "update", Name: u.Phase, Message: u.Reason, Update: &u})
	select {
	case a.updated <- struct{}{}: // the lamp follows
	default:
	}
	if a.fleet == nil {
		return
	}
	a.fleet.State("update", u)
	if told := u.Phase + u.LatestVersion + u.Reason; told != a.toldUpdate && u.Phase != string(ota.Checking) && told != string(ota.Idle)+u.InstalledVersion {
		a.toldUpdate = told
		a.fleet.Event("update", map[string]any{"phase": u.Phase, "installed_version": u.InstalledVersion, "version": u.LatestVersion, "reason": u.Reason})
	}
}

// errNoUpdates answers whoever asks a device for what it has not.
var errNoUpdates = errors.New("the device has no updates: update.url in its config is empty")

// Update implements control.Device.
func (a *Appliance) Update(ctx context.Context, act control.UpdateAct, until time.Time) error {
	return a.update(ctx, act, until, "somebody at the device")
}

// Update implements control.Device.
func (a fromAfar) Update(ctx context.Context, act control.UpdateAct, until time.Time) error {
	return a.update(ctx, act, until, "the fleet: "+clip(a.by))
}

func (a *Appliance) update(ctx context.Context, act control.UpdateAct, until time.Time, by string) error {
	if a.updates == nil {
		return errNoUpdates
	}
	if u := a.updates.Status(); u.Phase == control.UpdatesOff {
		return errors.New(u.Reason)
	}
	a.opt.Logger.Info("update", "asked_for", act, "by", by)
	switch act {
	case control.UpdateCheck:
		return a.updates.Check(ctx)
	case control.UpdateForce:
		return a.updates.Force(ctx)
	case control.UpdateDefer:
		return a.updates.Defer(ctx, until)
	case control.UpdateCancel:
		return a.updates.Cancel(ctx, by)
	}
	return fmt.Errorf("this firmware cannot %q an update", act)
}

// restart has Run end. Then the system boots, with an argument for its firmware, or somebody starts the program again.
func (a *Appliance) restart(arg string) error {
	after := func() error { return nil }
	if a.cfg.Update.Boot != config.BootBinary {
		if err := mayReboot(); err != nil {
			return err
		}
		after = func() error { return reboot(arg) }
	}
	select {
	case a.restarts <- after:
	default: // it is on its way
	}
	return nil
}

// trial says whether an update would disturb, and whether the device is as well as it was before. The updater calls it, one
// thing at a time.
type trial struct {
	a    *Appliance
	file string // of note
	root fs.FS  // with sys/class/net

	proved bool // the sound device has worked since the start
}

// before is what was so with the old system.
type before struct {
	Faults []string `json:"faults"` // what was wrong is no fault of the new one
	Links  []string `json:"links"`  // network interfaces that were connected
	Card   bool     `json:"card"`   // there was a sound card
}

// Names of faults; that of a button is buttonFault and its name.
const (
	soundFault  = "sound"
	lineFault   = "line"
	buttonFault = "button "
)

// Busy implements ota.Appliance. Without a line nobody could say whether the new system is well, so it waits; who forces it
// knows why.
func (t *trial) Busy() (why string) {
	forced := t.a.updates.Status().Forced
	err := t.a.do(context.Background(), func() {
		v := &t.a.view
		calls := v.live()
		switch {
		case slices.ContainsFunc(calls, func(c call.Info) bool { return c.State == call.Ringing }):
			why = "a call rings"
		case len(calls) > 0:
			why = "in a call"
		case !v.hunt.Over():
			why = "a button calls"
		case t.a.door != nil && t.a.door.state.Open():
			why = "a door is open"
		case v.line.State != verto.Registered && !forced:
			why = "the line is not registered"
		}
	})
	if err != nil {
		return err.Error()
	}
	return why
}

// note keeps what the new system is measured by.
func (t *trial) note() error {
	b := before{Links: []string{}, Faults: []string{}}
	for name := range t.faults(before{}) {
		b.Faults = append(b.Faults, name)
	}
	for name, l := range links(t.root) {
		if l.connected {
			b.Links = append(b.Links, name)
		}
	}
	b.Card = t.a.sound.device.Load().card
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return atomicfile.Write(t.file, text, 0o600)
}

// Unhealthy implements ota.Appliance.
func (t *trial) Unhealthy() string {
	var b before
	text, err := os.ReadFile(t.file)
	if err == nil {
		err = json.Unmarshal(text, &b)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.a.log.Warn("what was wrong before the update is lost; all must be well", "err", err)
	}
	faults := t.faults(b)
	for _, name := range b.Faults {
		delete(faults, name)
	}
	why := ""
	for _, text := range faults {
		why = max(why, text) // one, and the same each time
	}
	u := t.a.updateState()
	if why == "" && u != nil && u.Phase == string(ota.Probation) && semver.Compare(u.InstalledVersion, u.LatestVersion) != 0 {
		why = fmt.Sprintf("it says that it is %s, and was released as %s: it would be offered again and again", u.InstalledVersion, u.LatestVersion)
	}
	return why
}

// faults are what is wrong with the device, by name.
func (t *trial) faults(b before) map[string]string {
	faults := map[string]string{}
	idle := false
	err := t.a.do(context.Background(), func() {
		v := &t.a.view
		idle = len(v.calls) == 0
		for _, button := range t.a.cfg.Buttons {
			if button.Line != "" && !v.watched[button.Name] {
				faults[buttonFault+button.Name] = "button " + button.Name + " does not open"
			}
		}
		if v.line.State != verto.Registered && !(v.offline && away(b.Links, links(t.root))) {
			faults[lineFault] = "the line is not registered"
			if v.line.Message != "" {
				faults[lineFault] += ": " + v.line.Message
			}
		}
	})
	if err != nil {
		faults["device"] = err.Error()
		return faults
	}
	if err := t.sound(idle, b.Card); err != nil {
		faults[soundFault] = "the sound device does not open: " + err.Error()
	}
	return faults
}

// soundProof bounds a try of the sound device.
const soundProof = 10 * time.Second

// sound opens the sound device, unless a call has it or it worked before.
func (t *trial) sound(idle, hadCard bool) error {
	d := t.a.sound.device.Load()
	switch {
	case hadCard && !d.card:
		return errors.New("there is no card any more")
	case t.a.cardGone.Load():
		t.proved = false
		return errors.New("it is gone")
	case t.proved || !idle:
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), soundProof)
	defer cancel()
	if err := t.a.sound.use(ctx, d); err != nil {
		return err
	}
	t.proved = true
	return nil
}
