package rollout

import (
	"container/heap"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"sidetone/ota"
	"sidetone/ota/bundle"
	"sidetone/ota/release"
)

// Of the simulated fleet.
const (
	fleetSize = 10_000
	oldest    = "v1.0.0"
	newest    = "v2.0.0"
	day       = 24 * time.Hour
)

// world is a fleet in simulated time: each device is the real machine of package ota, with its state over boots; what they are
// offered is the real metadata, signed and verified. Only downloads, boots and health are made up, by rand.
type world struct {
	*testing.T
	*rand.Rand
	repo    release.Repository
	key     ed25519.PrivateKey
	trust   bundle.Trust
	offered *bundle.Targets // what the metadata says now
	fleet   *Fleet
	now     time.Time
	events  events
	devices []*simulated
}

// simulated is a device with two slots. Only state and slots survive a boot.
type simulated struct {
	*world
	name    string
	sick    bool      // no system but the oldest is healthy on it
	state   ota.State // as it is on the disk, too: each is there before it is acted on
	slots   map[string]string
	chosen  string // the slot that boots
	running string
	boots   int
	work    int // number of what is under way; what an older one says is not heard

	fetched, tried, committed int
	ended                     bool // its update has failed
	again                     int  // trials after that
}

// event is something that happens to a device.
type event struct {
	at   time.Time
	do   func()
	turn int // of those at one time, in order
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].turn < e[j].turn
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (w *world) in(d time.Duration, do func()) {
	heap.Push(&w.events, event{w.now.Add(d), do, len(w.events)})
}

// between is a time from d to twice that.
func (w *world) between(d time.Duration) time.Duration { return d + time.Duration(w.Int64N(int64(d))) }

// newWorld has a repository with a release that is offered to nobody, and a fleet that has heard of none.
func newWorld(t *testing.T, seed uint64, sick float64) *world {
	w := &world{T: t, Rand: rand.New(rand.NewPCG(seed, seed)), now: time.Now()}
	w.repo = release.Repository{Dir: filepath.Join(t.TempDir(), "updates"), ChunkSize: 64 << 10}
	w.key = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	keys := release.Keys{Public: []ed25519.PublicKey{w.key.Public().(ed25519.PublicKey)}, Threshold: 1}
	image := filepath.Join(t.TempDir(), "image")
	year := w.now.AddDate(1, 0, 0)
	err := errors.Join(os.WriteFile(image, []byte("an image"), 0o600), w.repo.Root(keys, keys, keys, year, w.key))
	if err != nil {
		t.Fatal(err)
	}
	targets, _, err := w.repo.Add(release.Release{Board: "sim", Version: newest, Image: image, Expires: year}, w.key)
	if err != nil {
		t.Fatal(err)
	}
	if w.trust.Root, err = w.repo.First(); err != nil {
		t.Fatal(err)
	}
	if err := w.offer(0); err != nil {
		t.Fatal(err)
	}
	w.fleet = NewFleet(targets)
	for n := range fleetSize {
		d := &simulated{world: w, name: fmt.Sprint("door", n), sick: w.Float64() < sick, chosen: "a", slots: map[string]string{"a": oldest, "b": oldest}}
		w.devices = append(w.devices, d)
		w.fleet.Online(d.name, true)
		w.fleet.Board(d.name, "sim")
		w.in(time.Duration(w.Int64N(int64(6*time.Hour))), d.boot)
	}
	return w
}

// offer signs a share and has the metadata verified once for all devices: it is the same for each.
func (w *world) offer(share float64) error {
	if _, err := w.repo.Offer(map[string]release.Offer{"sim": {Share: share}}, w.now.Add(60*day), w.key); err != nil {
		return err
	}
	fetch := func(name string, _ int64) ([]byte, error) {
		return os.ReadFile(filepath.Join(w.repo.Dir, "metadata", name))
	}
	targets, trust, err := w.trust.Refresh(fetch, "sim", w.now)
	w.offered, w.trust = targets, trust
	return err
}

// run lets time go on until then.
func (w *world) run(until time.Time) {
	for len(w.events) > 0 && !w.events[0].at.After(until) {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
	w.now = until
}

func (d *simulated) other() string { return map[string]string{"a": "b", "b": "a"}[d.running] }

// boot starts what is chosen.
func (d *simulated) boot() { d.start(d.chosen) }

func (d *simulated) start(slot string) {
	d.boots++
	d.running = slot
	disk, err := json.Marshal(d.state)
	if err == nil {
		d.state, err = ota.ParseState(disk)
	}
	if err != nil {
		d.Fatal(err)
	}
	d.step(ota.Input{Kind: ota.OnBoot, Running: slot, Other: d.other(), Trial: slot != d.chosen})
	if d.boots == 1 {
		d.in(d.between(6*time.Hour), d.check)
	}
}

// check asks for news, again and again.
func (d *simulated) check() {
	d.step(ota.Input{Kind: ota.OnCheck})
	d.in(d.between(6*time.Hour), d.check)
}

// step is one step of the machine.
func (d *simulated) step(in ota.Input) {
	in.Time, in.BootID = d.now, strconv.Itoa(d.boots)
	was := d.state.Phase
	s, actions := ota.DefaultLimits.Step(d.state, in)
	d.state = s
	if s.Phase != was && (s.Phase == ota.RolledBack || s.Phase == ota.Failed) {
		d.ended = true
	}
	d.fleet.Report(d.name, Report{Installed: d.slots[d.running], Latest: max(s.Release.Version, d.slots[d.running]), Phase: s.Phase, NotAgain: d.ended}, d.now)
	for _, a := range actions {
		d.work++
		d.do(a, s)
	}
}

// after has something happen, unless other work has come meanwhile.
func (d *simulated) after(wait time.Duration, do func()) {
	work := d.work
	d.in(wait, func() {
		if d.work == work {
			do()
		}
	})
}

// tell is after, with an input.
func (d *simulated) tell(wait time.Duration, in ota.Input) { d.after(wait, func() { d.step(in) }) }

// cut takes the power: the chosen slot boots. It happens once in so many times.
func (d *simulated) cut(oneIn int) bool {
	if d.IntN(oneIn) > 0 {
		return false
	}
	d.after(time.Minute, func() { d.work++; d.boot() })
	return true
}

// isOffered says whether the metadata has something new for this device.
func (d *simulated) isOffered() bool {
	return d.offered.Offers(d.slots[d.running]) == nil && d.offered.Includes(d.name)
}

func (d *simulated) do(a ota.Action, s ota.State) {
	switch a {
	case ota.Check:
		d.after(time.Second, func() {
			t := d.offered
			if !d.isOffered() {
				d.step(ota.Input{Kind: ota.OnNothing})
				return
			}
			d.step(ota.Input{Kind: ota.OnFound, Release: ota.Release{Version: t.Release, Serial: t.Version, SHA256: hex.EncodeToString(t.Image.SHA256), Size: t.Image.Size}})
		})
	case ota.Fetch:
		d.fetched++
		if d.cut(50) {
			return
		}
		if d.IntN(30) == 0 {
			d.tell(time.Minute, ota.Input{Kind: ota.OnTrouble, Reason: "the server is gone"})
			return
		}
		d.tell(d.between(10*time.Minute), ota.Input{Kind: ota.OnDone})
	case ota.ReadBack:
		d.tell(time.Minute, ota.Input{Kind: ota.OnDone})
	case ota.WriteHead:
		d.after(time.Minute, func() {
			d.slots[d.other()] = s.Release.Version
			d.step(ota.Input{Kind: ota.OnDone})
		})
	case ota.Ask:
		if d.cut(50) {
			return
		}
		d.after(d.between(2*time.Hour), func() {
			if d.isOffered() || d.IntN(30) == 0 { // or the server is gone just then
				d.step(ota.Input{Kind: ota.OnQuiet})
				return
			}
			d.step(ota.Input{Kind: ota.OnNothing, Reason: s.Release.Version + ota.Withdrawn})
		})
	case ota.Try:
		if d.tried++; d.ended {
			d.again++
		}
		target := d.other()
		d.after(time.Minute, func() {
			if d.IntN(50) == 0 {
				target = d.chosen // a cut ate the trial
			}
			d.start(target)
		})
	case ota.Watch:
		switch sick := d.sick && d.slots[d.running] != oldest; {
		case d.cut(50):
		case sick:
			d.tell(10*time.Minute, ota.Input{Kind: ota.OnUnhealthy, Reason: "the line is not registered"})
		default:
			d.tell(time.Minute, ota.Input{Kind: ota.OnHealthy})
		}
	case ota.Commit:
		d.committed++
		d.chosen = d.running
		d.tell(time.Second, ota.Input{Kind: ota.OnDone})
	case ota.Revert:
		d.after(time.Second, d.boot)
	}
}

// roll carries a plan out to its end, and gives what it decided, and at which share.
func (w *world) roll(p Plan) (end Decision, at float64, took time.Duration) {
	r := &Rollout{Plan: p, Fleet: w.fleet, Offer: w.offer, Began: w.now.Add(-p.Stage)}
	began := w.now
	for w.now.Sub(began) < 30*day {
		at = r.Share
		d, err := r.Tick(w.now)
		if err != nil {
			w.Fatal(err)
		}
		if d.Act != Wait {
			w.Logf("%4.0f h: %s from %g %% to %g %%: %s; %s", w.now.Sub(began).Hours(), d.Act, at*100, d.Share*100, d.Reason, w.fleet.Count(r.Share, w.now, p.Silence))
		}
		if d.Act == Stop || d.Act == Done {
			return d, at, w.now.Sub(began)
		}
		w.run(w.now.Add(30 * time.Minute))
	}
	w.Fatal("it has no end")
	return Decision{}, 0, 0
}

// once holds for every device, whatever became of it.
func (w *world) once() (committed, ended, untouched int) {
	for _, d := range w.devices {
		if d.again > 0 || d.committed > 1 || d.committed > 0 && d.ended || d.tried > ota.DefaultLimits.Tries {
			w.Errorf("%s: fetched %d times, tried %d, committed %d, %d tries after it had failed", d.name, d.fetched, d.tried, d.committed, d.again)
		}
		if got := d.slots[d.chosen]; (got == newest) != (d.committed == 1) {
			w.Errorf("%s has %s after %d commits", d.name, got, d.committed)
		}
		switch {
		case d.committed > 0:
			committed++
		case d.ended:
			ended++
		case d.fetched == 0:
			untouched++
		}
	}
	return committed, ended, untouched
}

// Ten thousand devices, of which 5 % are not well with the release: the roll-out stops by itself, and nobody takes the
// release twice: not after it was withdrawn, and not when somebody offers it to everybody all the same.
func TestTenThousandStops(t *testing.T) {
	patient := plan
	patient.FailureRate, patient.Reports = 0.04, 200 // more than the first share has devices
	for _, tt := range []struct {
		seed uint64
		plan Plan
		at   float64 // where it stops
	}{{1, plan, 0.01}, {1, patient, 0.1}} {
		t.Run(fmt.Sprintf("at %g %%", tt.at*100), func(t *testing.T) {
			w := newWorld(t, tt.seed, 0.05)
			end, at, _ := w.roll(tt.plan)
			if end.Act != Stop || at != tt.at || w.offered.Share != 0 {
				t.Fatalf("%+v at %g, then %g", end, at, w.offered.Share)
			}
			had, _, _ := w.once()
			w.run(w.now.Add(3 * day))
			committed, ended, untouched := w.once()
			if touched := committed + ended; touched > fleetSize/8 || ended == 0 || untouched < fleetSize*7/8 {
				t.Errorf("%d took it, %d gave it up, %d never heard of it", committed, ended, untouched)
			}
			if more := committed - had; more > fleetSize/200 {
				t.Errorf("%d took it when it was withdrawn", more)
			}
			t.Logf("withdrawn when %d had taken it; three days later: %d have, %d gave it up, %d never heard of it", had, committed, ended, untouched)
			if err := w.offer(1); err != nil {
				t.Fatal(err)
			}
			w.run(w.now.Add(3 * day))
			committed, ended, untouched = w.once()
			if untouched > 0 || committed+ended != fleetSize {
				t.Errorf("%d took it, %d gave it up, %d never heard of it", committed, ended, untouched)
			}
			t.Logf("offered to all, three days later: %d took it, %d gave it up", committed, ended)
		})
	}
}

// A release that is well reaches everybody, each device once. Power cuts and servers that go away are no failures of it.
func TestTenThousandArrive(t *testing.T) {
	w := newWorld(t, 4, 0)
	end, _, took := w.roll(plan)
	if end.Act != Done || w.offered.Share != 1 {
		t.Fatalf("%+v", end)
	}
	w.run(w.now.Add(3 * day))
	committed, ended, untouched := w.once()
	if untouched > 0 || committed+ended != fleetSize || ended > 5 { // whose every trial was eaten by a cut
		t.Errorf("%d took it, %d gave it up, %d never heard of it", committed, ended, untouched)
	}
	t.Logf("done after %s; three days later %d took it, %d gave it up", took, committed, ended)
}
