package appliance

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/board/door"
	"sidetone/board/gesture"
	"sidetone/board/gpio"
	"sidetone/board/gpio/gpiofake"
	"sidetone/cmd/sidetone/internal/control"
	"sidetone/provisioning/config"
	"sidetone/provisioning/identity"
	"sidetone/rtc/call"
)

// noted are relays that note what they are told.
type noted struct{ told []string }

func (n *noted) Pulse(relay string, d time.Duration) <-chan error {
	return n.note(fmt.Sprint("pulse ", relay, " ", d))
}
func (n *noted) Safe() <-chan error     { return n.note("safe") }
func (*noted) Run(ctx context.Context)  { <-ctx.Done() }
func (n *noted) since() (told []string) { told, n.told = n.told, nil; return told }
func (n *noted) note(s string) <-chan error {
	n.told = append(n.told, s)
	done := make(chan error, 1)
	done <- nil
	return done
}

// newLock is an appliance that is nothing but its door, whose code 4711 counts everywhere; watch gives its events.
func newLock(t *testing.T, dir string) (*Appliance, *noted, <-chan control.Event) {
	t.Helper()
	cfg := config.Default()
	cfg.Device.StateDir = dir
	code := filepath.Join(t.TempDir(), "code")
	if err := os.WriteFile(code, []byte("4711\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Door.AllowFrom, cfg.Door.Codes = []string{"+1555*"}, []config.DoorCode{{Name: "anna", CodeFile: code}}
	cfg.Door.Relays = []config.DoorRelay{{Name: "door", Line: "file:/nonexistent"}}
	cfg.Door.ExitLine, cfg.Door.ContactLine, cfg.Door.TamperLine, cfg.Door.CodeLine = "!EXIT", "CONTACT", "TAMPER", "!CODE"
	log := slog.New(slog.DiscardHandler)
	a := &Appliance{
		cfg: cfg, clock: identity.NewClock(time.Time{}), secrets: identity.NewSecretFiles(log), log: log, opt: Options{Logger: log},
		requests: make(chan func()), ended: make(chan struct{}), view: view{calls: map[string]call.Info{}, samples: map[string]int{}},
	}
	if err := a.newDoor(); err != nil {
		t.Fatal(err)
	}
	r := &noted{}
	a.door.relays = r
	events, stop := a.watchers.watch()
	t.Cleanup(stop)
	t.Cleanup(a.commands.Wait)
	return a, r, events
}

// digits come in a call, as its events have it.
func (a *Appliance) digits(c call.Info, digits string) {
	for _, d := range digits {
		a.doorDigit(c, string(d))
	}
}

func TestTheCallerIsWhoCalled(t *testing.T) {
	a, r, _ := newLock(t, t.TempDir())
	states := func(c call.Info, states ...call.State) call.Info {
		for _, s := range states {
			c.State = s
			a.doorFollows(c)
		}
		return c
	}
	// A stranger whom the platform gives a good number in mid-call.
	stranger := states(call.Info{ID: "1", Direction: call.Inbound}, call.New)
	stranger.RemoteID = "+16660100"
	stranger = states(stranger, call.Ringing)
	stranger.RemoteID = "+15550100"
	stranger = states(stranger, call.Answering, call.Active)
	a.digits(stranger, "4711#")
	if got := r.since(); got != nil {
		t.Errorf("a stranger opened: %v", got)
	}
	friend := states(call.Info{ID: "2", Direction: call.Inbound, RemoteID: "+15550100"}, call.Ringing)
	a.digits(friend, "4711#")
	if got := r.since(); got != nil {
		t.Errorf("opened before the call was answered: %v", got)
	}
	friend = states(friend, call.Active)
	a.digits(friend, "4711#")
	if got := r.since(); len(got) != 1 || got[0] != "pulse door 3s" {
		t.Errorf("%v", got)
	}
	a.digits(states(friend, call.Hangup), "4711#")
	a.digits(call.Info{ID: "3", Direction: call.Outbound, State: call.Active}, "4711#") // nobody knows of it
	if got := r.since(); got != nil || len(a.door.callers) != 1 {
		t.Errorf("%v, %v", got, a.door.callers)
	}
}

// A button opens for the finger at it as the exit button does; for who presses it by a command, as his command to open does.
func TestButtonThatOpensTheDoor(t *testing.T) {
	a, r, events := newLock(t, t.TempDir())
	out := config.Button{Name: "out", Key: "o", Press: config.ActionDoor}
	a.cfg.Buttons = []config.Button{out}
	a.door.config.FromAfar = false
	go func() {
		for request := range a.requests {
			request()
		}
	}()
	defer close(a.requests)
	for _, c := range []struct {
		name  string
		press func() error
		opens bool
		how   door.Way
	}{
		{"finger", func() error {
			a.gestured(t.Context(), out, gesture.Gesture{Kind: gesture.Press})
			return nil
		}, true, door.ByExit},
		{"key", func() error { a.Key('o'); return nil }, true, door.ByExit},
		{"command", func() error { return a.Press(t.Context(), "out") }, true, door.ByCommand},
		{"fleet", func() error { return fromAfar{a, "somebody"}.Press(t.Context(), "out") }, false, door.FromAfar},
	} {
		err := c.press()
		a.commands.Wait()
		if got := r.since(); (err == nil) != c.opens || (len(got) == 1 && got[0] == "pulse door 3s") != c.opens {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
		if e := <-events; e.Event != "button" || e.Button != "out" {
			t.Errorf("%s: %+v", c.name, e)
		}
		if e := <-events; e.Door == nil || e.Door.How != c.how || e.Door.Granted != c.opens {
			t.Errorf("%s: %+v", c.name, e)
		}
	}
}

func TestTamperOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	a, r, _ := newLock(t, dir)
	a.atDoor(door.Input{Kind: door.Tamper, On: true})
	if got := r.since(); len(got) != 1 || got[0] != "safe" {
		t.Errorf("%v", got)
	}
	b, r, _ := newLock(t, dir) // the first one said no last word
	told, _ := b.atDoor(door.Input{Kind: door.Command, Way: door.ByCommand})
	if len(told) != 1 || told[0].Reason != door.Blocked || r.since() != nil {
		t.Errorf("%+v", told)
	}
	if err := os.WriteFile(b.door.file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, _, _ := newLock(t, dir); !c.door.state.Blocked() {
		t.Error("a file that was destroyed lifts the block")
	}
}

func TestAuditIsBounded(t *testing.T) {
	f := auditFile{filepath.Join(t.TempDir(), "state", "audit")}
	if err := os.Mkdir(filepath.Dir(f.path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.path, []byte(strings.Repeat("x", auditBytes-10)), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.add(door.Record{Event: door.Opened}, time.Unix(0, 0), false); err != nil {
			t.Fatal(err)
		}
	}
	old, err1 := os.Stat(f.path + ".1")
	b, err2 := os.ReadFile(f.path)
	want := strings.Repeat(`{"ts":"1970-01-01T00:00:00Z","event":"opened","granted":false,"clock_not_set":true}`+"\n", 2)
	if err1 != nil || err2 != nil || old.Size() != auditBytes-10 || string(b) != want {
		t.Errorf("%v, %v, %s", err1, err2, b)
	}
}

// TestInputsReachTheDoor has contacts and buttons on a chip.
func TestInputsReachTheDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, r, events := newLock(t, t.TempDir())
		system := &gpiofake.System{}
		chip := system.Add(&gpiofake.Chip{}, "EXIT", "CONTACT", "TAMPER", "CODE")
		chip.Drive(0, true) // buttons to ground, let go
		chip.Drive(3, true)
		a.gpio = gpio.NewHost(system)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.watchInputs(ctx) }()
		defer func() { cancel(); <-done }()
		var told []string
		serve := func(d time.Duration) { // as the loop does
			end := time.After(d)
			for {
				select {
				case f := <-a.requests:
					f()
				case <-a.door.due():
					a.atDoor(door.Input{Kind: door.Tick})
				case e := <-events:
					told = append(told, string(e.Door.Event)+" "+string(e.Door.How)+string(e.Door.Reason))
				case <-end:
					return
				}
			}
		}
		want := func(wantTold, wantDone string) {
			t.Helper()
			if got := strings.Join(told, ", "); got != wantTold {
				t.Errorf("told %q, want %q", got, wantTold)
			}
			if got := strings.Join(r.since(), ", "); got != wantDone {
				t.Errorf("did %q, want %q", got, wantDone)
			}
			told = nil
		}
		serve(time.Second)
		want("", "")
		chip.Drive(0, false)
		serve(time.Second)
		chip.Drive(0, true)
		serve(time.Second)
		want("unlock exit", "pulse door 3s")
		chip.Drive(1, true)
		serve(time.Second)
		want("opened ", "")
		chip.Drive(1, false)
		serve(time.Second)
		want("closed ", "")
		for _, n := range []int{4, 7, 1, 1} {
			for range n {
				chip.Drive(3, false)
				serve(100 * time.Millisecond)
				chip.Drive(3, true)
				serve(100 * time.Millisecond)
			}
			serve(1200 * time.Millisecond)
		}
		serve(4 * time.Second)
		want("unlock keypad", "pulse door 3s")
		chip.Drive(2, true)
		serve(time.Second)
		chip.Drive(0, false)
		serve(time.Second)
		want("tamper , unlock exittamper", "safe")
	})
}
