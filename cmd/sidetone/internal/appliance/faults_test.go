package appliance

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/audio"
	"sidetone/board/indicator"
	"sidetone/cmd/sidetone/internal/control"
	"sidetone/provisioning/config"
	"sidetone/provisioning/identity"
	"sidetone/rtc/call"
	"sidetone/rtc/quality"
	"sidetone/rtc/verto"
)

// station is a device whose line and calls are real, and whose media are not: only signalling is in trouble here.
type station struct {
	*Appliance
	line, login, calls, sound part
	watching                  sync.WaitGroup

	mu      sync.Mutex
	lamp    string
	seen    map[string]bool // calls that were told of
	reports map[string][]*quality.Report
	media   int   // sessions that are open
	broken  error // of media, when there is to be none
	told    []control.Event
}

// newDoor begins a device that reaches its platform as change says, with credentials that are always good.
func newDoor(t *testing.T, change func(*verto.Config)) *station {
	return newDoorOf(t, func(*Appliance) identity.Source { return tokens{func() []identity.ICEServer { return nil }} }, change)
}

func newDoorOf(t *testing.T, source func(*Appliance) identity.Source, change func(*verto.Config)) *station {
	d := &station{seen: map[string]bool{}, reports: map[string][]*quality.Report{}}
	cfg := config.Default()
	cfg.Device.StateDir = t.TempDir()
	cfg.Line.URL, cfg.Line.SecondCall = "wss://exchange.example", "wait"
	a := &Appliance{
		cfg: cfg, clock: identity.NewClock(time.Time{}), log: slog.New(slog.DiscardHandler), view: view{calls: map[string]call.Info{}, samples: map[string]int{}},
		opt: Options{Logger: slog.New(slog.DiscardHandler), Lamp: func(p indicator.Pattern) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.lamp = p.Name
		}},
		requests: make(chan func()), ended: make(chan struct{}),
		sound: newSound(&soundDevice{capture: "null", playback: "null", card: true}, slog.New(slog.DiscardHandler)),
	}
	d.Appliance = a
	a.identity = source(a)
	line := a.lineConfig(nil)
	change(&line)
	a.line = verto.NewClient(line)
	a.keepReports()
	calls := a.callConfig()
	calls.NewMedia = d.newMedia
	a.calls = call.NewManager(calls)

	events, _ := a.watchers.watch()
	d.watching.Go(func() { d.watch(t, events) })
	d.calls.start(context.Background(), func(ctx context.Context) { a.calls.Run(ctx) })
	d.line.start(context.Background(), func(ctx context.Context) { a.line.Run(ctx) })
	d.login.start(context.Background(), a.keepLogin)
	d.sound.start(context.Background(), a.sound.run)
	go a.loop(context.Background())
	return d
}

// end shuts the device down as Run does.
func (d *station) end() {
	d.calls.stop()
	d.login.stop()
	d.line.stop()
	<-d.ended
	d.watchers.end()
	d.Appliance.commands.Wait()
	d.debug.wait()
	d.sound.stop()
	d.watching.Wait()
}

// watch keeps the books: a report is the last that is told of a call.
func (d *station) watch(t *testing.T, events <-chan control.Event) {
	for e := range events {
		d.mu.Lock()
		d.told = append(d.told, e)
		if e.CallID != "" {
			if len(d.reports[e.CallID]) > 0 {
				t.Errorf("after its report call %s has %s %s", e.CallID, e.Event, e.State)
			}
			d.seen[e.CallID] = true
		}
		if e.Report != nil {
			d.reports[e.CallID] = append(d.reports[e.CallID], e.Report)
		}
		d.mu.Unlock()
	}
}

// live are the calls that there are.
func (d *station) live(t *testing.T) (calls []call.Info) {
	if err := d.do(t.Context(), func() { calls = d.view.live() }); err != nil {
		t.Fatal(err)
	}
	return calls
}

// settled checks the books when there is no call left: one report of each, nothing open, dark and silent.
func (d *station) settled(t *testing.T) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.seen {
		if n := len(d.reports[id]); n != 1 {
			t.Errorf("%d reports of call %s", n, id)
		}
	}
	if d.media != 0 {
		t.Errorf("%d sessions are open", d.media)
	}
	if d.lamp != "idle" || !d.Appliance.sound.route.Load().idle() {
		t.Errorf("the lamp is %s, and the sound is %+v", d.lamp, d.Appliance.sound.route.Load())
	}
}

// newMedia makes a session that connects as soon as both sides are described, and carries sound from then on.
func (d *station) newMedia(_ context.Context, _ call.Info, notify func(call.MediaEvent)) (call.Media, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return nil, d.broken
	}
	d.media++
	return &goodMedia{d: d, notify: notify}, nil
}

type goodMedia struct {
	d      *station
	notify func(call.MediaEvent)
	since  time.Time // connected
}

const gathering = 20 * time.Millisecond

func (m *goodMedia) Offer(ctx context.Context) (string, error) {
	select {
	case <-time.After(gathering):
		return "offer", nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (m *goodMedia) Answer(ctx context.Context, _ string) (string, error) {
	if _, err := m.Offer(ctx); err != nil {
		return "", err
	}
	return "answer", m.SetAnswer("")
}

func (m *goodMedia) SetAnswer(string) error {
	m.since = time.Now()
	m.notify(call.MediaEvent{Kind: call.MediaConnected})
	return nil
}

func (m *goodMedia) Restart(ctx context.Context) (string, error) { return m.Offer(ctx) }
func (m *goodMedia) Hold(bool)                                   {}
func (m *goodMedia) Mute(bool)                                   {}
func (m *goodMedia) Deaf(bool)                                   {}
func (m *goodMedia) SendDTMF(string) error                       { return nil }

func (m *goodMedia) Sample() quality.Sample {
	s := quality.Sample{Time: time.Now()}
	if !m.since.IsZero() {
		n := time.Since(m.since)
		s.Inbound = &quality.Inbound{PacketsReceived: uint64(n / audio.FrameDuration)}
		s.Outbound = &quality.Outbound{PacketsSent: uint64(n / audio.FrameDuration), TotalSamplesDuration: n.Seconds()}
	}
	return s
}

func (m *goodMedia) Close() error {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	m.d.media--
	return nil
}

// fault is what goes wrong with a platform. Its calls are gone after it when forgets is set.
type fault struct {
	name    string
	strike  func(*exchange, *rand.Rand)
	forgets bool
}

var faults = []fault{
	{"cut", func(x *exchange, _ *rand.Rand) { x.cut() }, false},
	{"cut in the login", func(x *exchange, _ *rand.Rand) {
		x.with(func() { x.cutting = true })
		x.cut()
	}, false},
	{"port closed", func(x *exchange, r *rand.Rand) {
		closed := time.Duration(1+r.IntN(9)) * time.Second
		x.with(func() { x.closed = true })
		x.wg.Go(func() {
			time.Sleep(closed)
			x.with(func() { x.closed = false })
		})
		x.cut()
	}, false},
	{"half dead", func(x *exchange, _ *rand.Rand) { x.die() }, false},
	{"restart", func(x *exchange, _ *rand.Rand) { x.restart() }, true},
	{"FAILED", func(x *exchange, _ *rand.Rand) { x.say(verto.StateFailed) }, false},
	{"FAIL_WAIT in an error", func(x *exchange, _ *rand.Rand) {
		x.with(func() { x.states, x.inError = []string{verto.StateFailWait}, true })
		x.cut()
	}, false},
	{"NOREG", func(x *exchange, r *rand.Rand) {
		x.with(func() {
			x.states, x.inError = slices.Repeat([]string{verto.StateNoRegister}, 1+r.IntN(4)), r.IntN(2) == 0
		})
		x.cut()
	}, false},
	{"late answers", func(x *exchange, r *rand.Rand) {
		late := time.Duration(r.IntN(3000)) * time.Millisecond
		x.with(func() { x.late = late })
		x.wg.Go(func() {
			time.Sleep(10 * time.Second)
			x.with(func() { x.late = 0 })
		})
		x.cut()
	}, false},
	{"punt", func(x *exchange, _ *rand.Rand) { x.punt() }, true},
}

// 200 faults in random order, while calls come, go, ring and talk: the line is always back over one connection, every
// call ends in one report, and nothing is left behind: a bubble does not end while a goroutine is in it.
func TestFaults(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { strikeAll(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func strikeAll(t *testing.T, r *rand.Rand) {
	x := newExchange(t)
	d := newDoor(t, func(c *verto.Config) { c.Dial = x.dial })
	defer x.wg.Wait()
	defer x.cut()
	defer d.end()
	registered := func(why string) {
		t.Helper()
		synctest.Wait()
		for begin := time.Now(); d.Appliance.line.Status().State != verto.Registered || x.registrations() == 0; time.Sleep(100 * time.Millisecond) {
			if time.Since(begin) > time.Hour {
				t.Fatalf("%s: the line is %s", why, d.Appliance.line.Status())
			}
		}
		synctest.Wait()
		if n := x.registrations(); n != 1 {
			t.Fatalf("%s: %d registrations", why, n)
		}
	}
	registered("in the beginning")
	goroutines := runtime.NumGoroutine()
	var order []fault
	for len(order) < 200 {
		order = append(order, faults[len(order)%len(faults)])
	}
	r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	survived, forgotten := 0, 0
	for i, f := range order {
		what := fmt.Sprintf("fault %d, %s", i, f.name)
		bustle(t, r, d, x)
		talking := answered(d.live(t))
		f.strike(x, r)
		busy := r.IntN(3) == 0
		if busy { // while the line is away, too
			bustle(t, r, d, x)
		}
		time.Sleep(time.Duration(r.IntN(40)) * time.Second)
		registered(what)
		time.Sleep(15 * time.Second) // for what is given back, and told late
		synctest.Wait()
		after := answered(d.live(t))
		for _, id := range talking {
			switch {
			case slices.Contains(after, id):
				survived++
				if f.forgets {
					t.Errorf("%s: call %s lives on, and the platform does not know it", what, id)
				}
			case f.forgets && d.causeCode(id) == 41:
				forgotten++
			case !busy:
				t.Errorf("%s: call %s ended by %d", what, id, d.causeCode(id))
			}
		}
		if known := x.answered(); !sameCalls(known, after) {
			t.Errorf("%s: the platform has %v, the device %v", what, known, after)
		}
	}
	registered("in the end")
	x.hangUp()
	for range d.live(t) {
		_ = d.Do(t.Context(), control.Hangup, "")
	}
	time.Sleep(3 * time.Minute)
	synctest.Wait()
	registered("in the end")
	if calls := d.live(t); len(calls) > 0 {
		t.Errorf("calls that are left: %+v", calls)
	}
	if known := x.answered(); len(known) > 0 {
		t.Errorf("calls that the platform has: %v", known)
	}
	d.settled(t)
	if n := runtime.NumGoroutine(); n > goroutines+2 { // the runtime's own come and go
		t.Errorf("%d goroutines, %d at the beginning", n, goroutines)
	}
	t.Logf("%d calls, %d times one outlived a fault, %d were forgotten; %d connections", len(d.seen), survived, forgotten, x.dials)
	if survived < 20 || forgotten < 5 {
		t.Error("too few calls were there when a fault struck")
	}
}

// bustle is what people do meanwhile, here and there.
func bustle(t *testing.T, r *rand.Rand, d *station, x *exchange) {
	for range 1 + r.IntN(4) {
		switch r.IntN(8) {
		case 0, 1, 2:
			id, err := d.Appliance.calls.Dial(t.Context(), call.DialRequest{Destination: "house"})
			if err == nil && r.IntN(4) > 0 {
				time.Sleep(100 * time.Millisecond)
				x.pickUp(id)
			}
		case 3, 4:
			x.ring()
			time.Sleep(10 * time.Millisecond)
			if r.IntN(4) > 0 {
				_ = d.Answer(t.Context(), "", nil)
			}
		case 5:
			_ = d.Do(t.Context(), control.Hangup, "")
		case 6:
			if r.IntN(2) == 0 {
				x.hangUp()
			}
		case 7:
			_ = d.Do(t.Context(), control.ToggleHold, "")
		}
		time.Sleep(time.Duration(r.IntN(400)) * time.Millisecond)
	}
}

// answered gives the ids of calls that two parties talk in, held or not.
func answered(calls []call.Info) (ids []string) {
	for _, c := range calls {
		if c.State == call.Active || c.State == call.Held || c.State == call.Recovering {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

func sameCalls(a, b []string) bool {
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// causeCode is the code of the cause that a call ended by; 0 while it lives.
func (d *station) causeCode(id string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.reports[id]) == 0 {
		return 0
	}
	return d.reports[id][0].Summary.CauseCode
}
