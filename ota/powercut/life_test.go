package powercut

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"sidetone/ota"
	"sidetone/ota/bundle"
	"sidetone/ota/disk"
	"sidetone/ota/install"
	"sidetone/ota/slot"
)

// Versions of the system that a life goes through.
const (
	v1 = "v1.0.0" // runs when it begins
	v2 = "v2.0.0" // good, unhealthy, or never up
	v3 = "v3.0.0" // comes some time later, good or unhealthy
)

// life is an appliance whose power goes again and again while it is updated.
type life struct {
	*machine
	board
	worlds []world // what the server shows, one after the other; worlds[stage] now
	stage  int
	turns  [2]int // of ops: from then on the server shows the second, the last
	asked  int    // stage of the metadata that came since an update was ready; -1: none did
	left   int    // cuts

	sick, panics map[string]bool
	network      network
	link         string // how updates come: see links
	fetched      map[string]int
	withdrawn    map[string]bool // when it was ready
	boots        int
	running      string // version
	slot         string
	trial        bool
	store, trust *spy

	committed, committing string
	condemned             map[string]bool // in a state that was saved
	tries, eaten          map[string]int  // trial boots asked for, and those that a cut ended
	wasCut                bool
	last                  ota.State
	violation             string
}

// links by which updates come. The server has no deltas, or has them, or has them and whole images must not be fetched.
var links = []string{"images", "deltas", "metered"}

// network says whether there is one. It may go in the first trial, for as long as it takes to find out that the old system is
// not well without it either.
type network int

const (
	steady network = iota
	willGo
	gone
)

// world is a repository as a server shows it.
type world struct {
	files  map[string][]byte
	offers string // version, or "" where it was withdrawn
}

// fail ends the life: it has seen what must never be.
func (l *life) fail(format string, args ...any) {
	if l.violation == "" {
		l.violation = fmt.Sprintf(format, args...)
	}
	l.stop()
}

// spy is a file that is replaced as a whole: after a cut it holds what was saved last, or what was about to be.
type spy struct {
	disk.Record
	l            *life
	saved, tried []byte
}

func (s *spy) Load() ([]byte, error) {
	b, err := s.Record.Load()
	if err == nil && !bytes.Equal(b, s.saved) && !bytes.Equal(b, s.tried) {
		s.l.fail("%s: %.90q was saved, %.90q was about to be, %.90q is there", s.Path, s.saved, s.tried, b)
	}
	if err == nil {
		s.saved, s.tried = b, b
	}
	return b, err
}

func (s *spy) Save(b []byte) error {
	if !s.l.on() {
		return errPower
	}
	s.tried = b
	err := s.Record.Save(b)
	if err == nil {
		s.saved = b
	}
	return err
}

func newLife(seed uint64, kind string, worlds []world) *life {
	m := newMachine(seed)
	l := &life{machine: m, worlds: worlds, running: v1, committed: v1, condemned: map[string]bool{},
		tries: map[string]int{}, eaten: map[string]int{}, fetched: map[string]int{}, withdrawn: map[string]bool{}, link: links[seed/3%3]}
	l.board = map[string]func(*machine) board{"tryboot": newPi, "uboot": newUboot, "binary": newService}[kind](m)
	l.sick, l.panics = map[string]bool{}, map[string]bool{}
	switch m.rand.IntN(4) {
	case 0:
		l.sick[v2] = true
	case 1:
		l.panics[v2] = true
	}
	l.sick[v3] = m.rand.IntN(4) == 0
	l.network = network(m.rand.IntN(2))
	l.left, l.turns[1], m.rotten = 1+m.rand.IntN(20), m.rand.IntN(1200), max(0, m.rand.IntN(6)-3)
	if l.turns[0] = l.turns[1]; m.rand.IntN(2) == 0 {
		l.turns[0] = m.rand.IntN(l.turns[1] + 1)
	}
	m.put("/data", &node{directory: true})
	if kind != "binary" {
		m.put(l.board.slot("2"), &node{device: true, medium: append(bytes.Clone(images[v1]), make([]byte, slotSize-len(images[v1]))...)})
		m.put(l.board.slot("3"), &node{device: true, medium: bytes.Repeat([]byte("an old system   "), slotSize/16)})
	}
	l.store = &spy{Record: disk.Record{FS: m, Path: "/data/state"}, l: l}
	l.trust = &spy{Record: disk.Record{FS: m, Path: "/data/trust"}, l: l}
	return l
}

// live boots the appliance until its updates have ended and no cut is left. It gives what must never be, or "".
func (l *life) live() string {
	for l.violation == "" && !l.ended() {
		if l.boots++; l.boots > 1000 {
			l.fail("it boots again and again: %+v", l.last)
		}
		l.boot()
	}
	if l.violation == "" {
		l.verdicts()
	}
	return l.violation
}

// ended says whether all has come as it must.
func (l *life) ended() bool { return l.left == 0 && l.settled() }

func (l *life) settled() bool {
	switch l.last.Phase {
	case ota.Idle, ota.Committed, ota.RolledBack, ota.Failed:
		return l.stage == len(l.worlds)-1 && !l.trial && (l.running == v3 || l.condemned[v3])
	}
	return false
}

// verdicts are right when all has ended: a good version runs, but for one whose trials were all eaten.
func (l *life) verdicts() {
	for v := range l.condemned {
		if !l.sick[v] && !l.panics[v] && l.eaten[v] < ota.DefaultLimits.Tries {
			l.fail("%s was given up after %d cuts in its trials: %+v", v, l.eaten[v], l.last)
		}
	}
	if l.sick[l.running] || l.panics[l.running] {
		l.fail("%s runs", l.running)
	}
}

// nextCut sets when the power goes next: soon after it came back, or some time in what follows, one in ten at the latest when
// what boots is changed.
func (l *life) nextCut() {
	l.cutAt = -1
	if l.left > 0 {
		l.cutAt = l.ops + 1 + l.rand.IntN([]int{20, 80, 300}[l.rand.IntN(3)])
		if l.aimed = l.rand.IntN(10) == 0; l.aimed {
			l.cutAt = l.ops + 1000
		}
	}
}

func (l *life) boot() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l.mu.Lock()
	l.off = cancel
	if l.cutAt <= l.ops {
		l.nextCut()
	}
	before := l.cuts
	l.headless()
	l.mu.Unlock()
	if l.violation != "" {
		return
	}
	err := l.up(ctx)
	if l.wasCut = l.cuts > before; l.wasCut {
		l.left--
	} else if err != nil {
		l.fail("brick: %v", err)
	}
}

// headless holds that a slot that has anything of a head has a whole body.
func (l *life) headless() {
	for _, name := range []string{"2", "3", "a", "b"} {
		n, is := l.kept[l.board.slot(name)]
		if !is {
			continue
		}
		head := n.medium[:min(slot.Head, len(n.medium))]
		if bytes.Count(head, []byte{0}) == len(head) || bytes.HasPrefix(n.medium[len(head):], []byte("an old system")) {
			continue
		}
		if !slices.ContainsFunc(slices.Collect(maps.Values(images)), func(b []byte) bool { return bytes.HasPrefix(n.medium[len(head):], b[slot.Head:]) }) {
			l.fail("slot %s has a head, and a body that is not whole", name)
		}
	}
}

// up boots what the loader chooses, and runs our updater there.
func (l *life) up(ctx context.Context) error {
	chosen, err := l.board.boot(l.machine)
	if err != nil {
		return err
	}
	version := ""
	if n, is := l.names[l.board.slot(chosen)]; is {
		for v, b := range images {
			if bytes.HasPrefix(n.cached, b) {
				version = v
			}
		}
	}
	if version == "" {
		return fmt.Errorf("slot %s is booted, which holds no whole system: %+v", chosen, l.last)
	}
	if l.panics[version] { // the watchdog resets it, the service manager starts it again
		if version == l.committed {
			return fmt.Errorf("%s was committed, and never comes up", version)
		}
		return l.rest("panic")
	}
	l.slot, l.running = chosen, version
	c := l.board.control(l, chosen)
	s, err := c.Status()
	if !l.on() { // of two copies it may have read one
		return errPower
	}
	if err != nil {
		return fmt.Errorf("boot control: %w", err)
	}
	if s.Running != chosen {
		return fmt.Errorf("slot %s runs, boot control says %s", chosen, s.Running)
	}
	if l.trial = s.Trial; l.trial && version == l.committed {
		l.fail("%s was committed, and boots on trial", version)
		return nil
	}
	if !l.trial {
		if version == l.committing {
			l.committed = version
		}
		if version != l.committed {
			l.fail("%s boots, %s was committed", version, l.committed)
			return nil
		}
	}
	l.committing = ""
	u := ota.New(ota.Config{Interval: time.Hour, Spread: 1, Hold: 3 * time.Second, ProbationLimit: 10 * time.Second, BootID: fmt.Sprint(l.boots)},
		&install.Installer{
			Source: l, Board: "rpi4", Running: version, Slot: c, FS: l.machine, Head: "/data/head", Now: time.Now,
			Trust: l.trusted, Save: l.trusts, Log: slog.New(slog.DiscardHandler), Patience: time.Minute, Pause: time.Second,
			NeverFull: l.link == "metered",
		}, control{c, l}, l, states{l})
	u.Tell = l.tell
	return u.Run(ctx)
}

// restart ends the program, and nothing but it.
func (l *life) restart() error {
	if err := l.rest("restart"); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stop()
	return nil
}

// control is the boot control of a slot that runs, as the updater wants it.
type control struct {
	slot.Control
	l *life
}

func (c control) Running() (running, other string, trial bool, err error) {
	s, err := c.Status()
	return s.Running, s.Other, s.Trial, err
}

func (c control) Try() error {
	v := c.l.last.Release.Version
	if c.l.asked < 0 || c.l.worlds[c.l.asked].offers != v {
		c.l.fail("%s is tried, which nobody offers", v)
	}
	if c.l.condemned[v] {
		c.l.fail("%s is tried again, though it failed", v)
	}
	if c.l.tries[v]++; c.l.tries[v] > ota.DefaultLimits.Tries {
		c.l.fail("%s is tried %d times", v, c.l.tries[v])
	}
	return c.Control.Try()
}

func (c control) Commit() error {
	c.l.committing = c.l.running
	return c.Control.Commit()
}

// tell hears each state that was saved, and holds it against what is.
func (l *life) tell(s ota.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.off == nil {
		return
	}
	if l.last = s; l.ops > 50_000 {
		l.fail("no end: %+v", s)
	}
	v := s.Release.Version
	for name := range s.Condemned {
		if !s.Doubt {
			l.condemned[name] = true
		}
	}
	switch {
	case l.network == willGo && s.Phase == ota.Probation:
		l.network = gone
		l.eaten[v]++
	case l.network == gone && s.Phase == ota.Waiting:
		l.network = steady
	}
	switch s.Phase {
	case ota.Committed:
		l.committed, l.trial = l.running, false
		if l.running != v {
			l.fail("the state says that %s was committed, %s runs", v, l.running)
		}
	case ota.Probation:
		if l.running != v {
			l.fail("the state says that %s is on trial, %s runs", v, l.running)
		}
	case ota.RolledBack:
		if l.running == v && !l.trial {
			l.fail("the state says that %s was rolled back, it runs", v)
		}
	case ota.Downloading, ota.Verifying, ota.Writing, ota.Ready, ota.Waiting, ota.Trying:
		if l.running == v || s.From != l.slot {
			l.fail("the state says %s of %s from slot %s, %s runs in slot %s", s.Phase, v, s.From, l.running, l.slot)
		}
	}
	for n, at := range l.turns {
		if l.ops > at {
			l.stage = n + 1
		}
	}
	if s.Phase == ota.Ready || s.Phase == ota.Waiting {
		l.asked = -1
	}
	if s.Phase == ota.Idle && s.Reason == v+ota.Withdrawn {
		l.withdrawn[v] = true
	}
	if l.settled() { // nothing more to wait for
		l.left = min(l.left, 3)
		switch {
		case l.left == 0:
			l.stop()
		case l.cutAt > l.ops+30:
			l.cutAt = l.ops + 1 + l.rand.IntN(30)
		}
	}
}

// states is the ota.Store of a life. No cut leaves a state that cannot be read.
type states struct{ l *life }

func (s states) Save(b []byte) error { return s.l.store.Save(b) }
func (s states) Load() ([]byte, error) {
	l := s.l
	b, err := l.store.Load()
	if err != nil || b == nil {
		return b, err
	}
	was, err := ota.ParseState(b)
	if err != nil {
		l.fail("the state is lost: %v", err)
	} else if l.wasCut && (was.Phase == ota.Trying || was.Phase == ota.Probation) {
		l.eaten[was.Release.Version]++
	}
	return b, nil
}

// trusted reads what was trusted last, which is the root that was built in before anything else.
func (l *life) trusted() (bundle.Trust, error) {
	b, err := l.trust.Load()
	if err != nil || b == nil {
		return bundle.Trust{Root: l.worlds[0].files["metadata/1.root.json"]}, err
	}
	var t bundle.Trust
	if err := json.Unmarshal(b, &t); err != nil {
		l.fail("the trust is lost: %v", err)
	}
	return t, nil
}

func (l *life) trusts(t bundle.Trust) error {
	var before bundle.Trust
	if l.trust.saved != nil {
		if err := json.Unmarshal(l.trust.saved, &before); err != nil {
			return err
		}
	}
	if t.Timestamp < before.Timestamp || t.Targets["rpi4"] < before.Targets["rpi4"] {
		l.fail("trust goes from %+v back to %+v", before, t)
	}
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return l.trust.Save(b)
}

// Busy and Unhealthy implement ota.Appliance.
func (l *life) Busy() string {
	_ = l.rest("busy")
	return l.line()
}

func (l *life) line() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.network == gone {
		return "the line is not registered"
	}
	return ""
}

func (l *life) Unhealthy() string {
	if err := l.rest("healthy"); err != nil {
		return err.Error()
	}
	if l.sick[l.running] {
		return "no sound device"
	}
	return l.line()
}

// Metadata and Open implement install.Source.
func (l *life) Metadata(_ context.Context, name string, limit int64) ([]byte, error) {
	if err := l.rest("metadata"); err != nil {
		return nil, err
	}
	b, is := l.worlds[l.stage].files["metadata/"+name]
	if !is || int64(len(b)) > limit {
		return nil, fs.ErrNotExist
	}
	if name == "timestamp.json" {
		l.asked = l.stage
	}
	return b, nil
}

func (l *life) Open(_ context.Context, path string, from int64) (io.ReadCloser, error) {
	if err := l.rest("download"); err != nil {
		return nil, err
	}
	kind := filepath.Ext(path)
	b, is := l.worlds[l.stage].files["targets/"+path]
	switch {
	case !is || kind == ".delta" && l.link == "images":
		return nil, fs.ErrNotExist
	case kind == ".img" && l.link != "images":
		l.fail("a whole image is fetched, where a delta serves")
	}
	l.fetched[kind]++
	return io.NopCloser(bytes.NewReader(b[from:])), nil
}

// choose is what a life is made of, by its seed.
func choose(seed uint64) string {
	return []string{"tryboot", "uboot", "binary"}[rand.New(rand.NewPCG(seed, 4)).IntN(3)]
}
