package ota

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Installer carries out what concerns a release and the slot it goes to. Errors that are Permanent condemn the release.
type Installer interface {
	// Check fetches and verifies metadata. It gives nil where nothing newer is offered to this device, and an error that is
	// Permanent where something is that it cannot take. Forced does not ask whether it is this device's turn.
	Check(ctx context.Context, forced bool) (*Release, error)
	// Fetch writes the body of the release into the slot, from offset on. It tells how much is there, and synced.
	Fetch(ctx context.Context, r Release, offset int64, progress func(offset int64)) error
	// ReadBack compares the slot's body with the release.
	ReadBack(ctx context.Context, r Release) error
	// WriteHead completes the slot and compares the whole.
	WriteHead(ctx context.Context, r Release) error
}

// Boot is the boot control, as package slot has it for each kind of board.
type Boot interface {
	Running() (running, other string, trial bool, err error)
	Try() error
	Commit() error
	Revert() error
}

// Appliance is what an update must not disturb, and whose health it is tried by.
type Appliance interface {
	// Busy says why it should not go away now, or "".
	Busy() string
	// Unhealthy says what is wrong, or "". That the network is away, provably and for everybody, is no fault of a release.
	Unhealthy() string
}

// Store keeps the state: Save has it on the disk when it returns.
type Store interface {
	Load() ([]byte, error) // nil where there is none
	Save([]byte) error
}

// Permanent marks an error that no second try mends.
type Permanent struct{ Err error }

func (p Permanent) Error() string { return p.Err.Error() }
func (p Permanent) Unwrap() error { return p.Err }

// Config of an Updater. Zero durations are replaced by those of DefaultConfig.
type Config struct {
	Limits         Limits
	Interval       time.Duration // between checks
	Spread         time.Duration // at most so much later than asked, by chance: a fleet does not come all at once
	Window         Window        // when it may reboot
	Hold           time.Duration // health has to hold for so long
	ProbationLimit time.Duration // by then, or the release is given up
	Poll           time.Duration // between looks at whether it is busy, or healthy
	BootID         string        // of this boot: /proc/sys/kernel/random/boot_id
}

// DefaultConfig is what serves where nothing else is said.
var DefaultConfig = Config{
	Limits: DefaultLimits, Interval: 6 * time.Hour, Spread: 30 * time.Minute,
	Hold: time.Minute, ProbationLimit: 10 * time.Minute, Poll: time.Second,
}

// Updater runs the machine. One goroutine, Run's, owns the state.
type Updater struct {
	Config
	Installer Installer
	Boot      Boot
	Appliance Appliance
	Store     Store
	Log       *slog.Logger
	Tell      func(State) // each new state; it must not block

	inputs  chan Input
	results chan result
	state   State
	saved   []byte             // what the Store has
	cancel  context.CancelFunc // ends the work under way
	work    int                // number of the work under way: what an older one says is not heard
	workers sync.WaitGroup
	busy    chan struct{} // one piece of work at a time: the next begins when the one before it has ended
}

// result is what came of work, by its number.
type result struct {
	Input
	work int
}

// New makes an Updater; its exported fields may be changed until Run.
func New(c Config, i Installer, b Boot, a Appliance, s Store) *Updater {
	d := DefaultConfig
	if c.Limits == (Limits{}) {
		c.Limits = d.Limits
	}
	for _, v := range []struct {
		set *time.Duration
		to  time.Duration
	}{{&c.Interval, d.Interval}, {&c.Spread, d.Spread}, {&c.Hold, d.Hold}, {&c.ProbationLimit, d.ProbationLimit}, {&c.Poll, d.Poll}} {
		if *v.set == 0 {
			*v.set = v.to
		}
	}
	return &Updater{Config: c, Installer: i, Boot: b, Appliance: a, Store: s, Log: slog.New(slog.DiscardHandler), Tell: func(State) {},
		inputs: make(chan Input), results: make(chan result), busy: make(chan struct{}, 1), cancel: func() {}}
}

// Check asks for news now, and Force applies what there is now, verdicts of earlier trials aside.
func (u *Updater) Check(ctx context.Context) error { return u.send(ctx, Input{Kind: OnCheck}) }

// Force does now what would have waited: the check, the reboot.
func (u *Updater) Force(ctx context.Context) error { return u.send(ctx, Input{Kind: OnForce}) }

// Defer does not reboot before a time.
func (u *Updater) Defer(ctx context.Context, until time.Time) error {
	return u.send(ctx, Input{Kind: OnDefer, Until: until})
}

// Cancel gives the update up; on trial, the old system comes back. by is told to whoever asks why.
func (u *Updater) Cancel(ctx context.Context, by string) error {
	return u.send(ctx, Input{Kind: OnCancel, Reason: by})
}

func (u *Updater) send(ctx context.Context, in Input) error {
	select {
	case u.inputs <- in:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Run carries updates out until ctx ends. It gives an error only where there is no boot control, or where the disk does
// not give the state: this system cannot be updated then, and its state stays as it is. On trial it goes back first.
func (u *Updater) Run(ctx context.Context) error {
	running, other, trial, err := u.Boot.Running()
	if err != nil {
		return fmt.Errorf("updates: %w", err)
	}
	b, err := u.Store.Load()
	if err != nil {
		if trial {
			_ = u.revert()
		}
		return fmt.Errorf("updates: %w", err)
	}
	if b != nil {
		u.state, err = ParseState(b)
	}
	if err != nil {
		u.Log.Error("the state of updates is lost, starting anew", "err", err)
	}
	u.saved = b
	ctx, stop := context.WithCancel(ctx)
	defer u.workers.Wait()
	defer stop()
	in := Input{Kind: OnBoot, Running: running, Other: other, Trial: trial, BootID: u.BootID, Time: time.Now()}
	next := time.NewTimer(rand.N(u.Spread))
	defer next.Stop()
	for {
		for _, a := range u.step(ctx, in) {
			u.start(ctx, a)
		}
		if in.Kind == OnCheck && u.state.Doubt { // it is asked again when that has an end
			next.Reset(u.Hold)
		}
		select {
		case <-ctx.Done():
			return nil
		case in = <-u.inputs:
		case r := <-u.results:
			if in = r.Input; r.work != u.work {
				in = Input{} // of work that was stopped
			}
		case <-next.C:
			in = Input{Kind: OnCheck}
			next.Reset(u.Interval + rand.N(u.Spread))
		}
		in.Time, in.BootID = time.Now(), u.BootID
	}
}

// tryAgain is the time between two tries of what a disk does not take.
const tryAgain = time.Minute

// step changes the state and has it on the disk. A disk that does not take it is asked again, and until then nothing is done,
// but for the way back to the system that boots anyway: it needs no note. A trial that cannot be noted for too long ends so.
func (u *Updater) step(ctx context.Context, in Input) []Action {
	state, actions := u.Limits.Step(u.state, in)
	limit := time.Now().Add(u.ProbationLimit)
	for err := u.save(state); err != nil; err = u.save(state) {
		u.Log.Error("the state of updates cannot be saved, so nothing is done", "err", err)
		told := u.state
		told.Phase, told.Reason = cmp.Or(told.Phase, Idle), "the state cannot be saved: "+err.Error()
		u.Tell(told)
		if slices.Contains(actions, Revert) || state.Phase == Probation && !time.Now().Before(limit) {
			return []Action{Revert}
		}
		for again := time.After(tryAgain); again != nil; {
			select {
			case <-again:
				again = nil
			case <-u.inputs: // what people ask has no place now
			case <-ctx.Done():
				return nil
			}
		}
	}
	if state.Phase != u.state.Phase {
		u.Log.Info("update", "phase", state.Phase, "version", state.Release.Version, "reason", state.Reason)
	}
	u.state = state
	u.Tell(state)
	return actions
}

func (u *Updater) save(s State) error {
	b, err := json.Marshal(s)
	if err == nil && !bytes.Equal(b, u.saved) {
		err = u.Store.Save(b)
	}
	if err == nil {
		u.saved = b
	}
	return err
}

// start has an action carried out, in place of the one before it.
func (u *Updater) start(ctx context.Context, a Action) {
	u.cancel()
	u.work++
	if a == Stop {
		return
	}
	ctx, u.cancel = context.WithCancel(ctx)
	work, state := u.work, u.state
	u.workers.Go(func() {
		select {
		case u.busy <- struct{}{}:
		case <-ctx.Done():
			return
		}
		defer func() { <-u.busy }()
		u.do(ctx, a, state, func(in Input) {
			select {
			case u.results <- result{in, work}:
			case <-ctx.Done():
			}
		})
	})
}

// do carries an action out and tells what came of it.
func (u *Updater) do(ctx context.Context, a Action, s State, tell func(Input)) {
	outcome := func(err error) Input {
		var permanent Permanent
		switch {
		case err == nil:
			return Input{Kind: OnDone}
		case errors.As(err, &permanent):
			return Input{Kind: OnBad, Reason: err.Error()}
		}
		return Input{Kind: OnTrouble, Reason: err.Error()}
	}
	switch a {
	case Check:
		r, err := u.Installer.Check(ctx, s.Forced)
		switch {
		case err != nil:
			tell(Input{Kind: OnNothing, Reason: err.Error()})
		case r == nil:
			tell(Input{Kind: OnNothing})
		default:
			tell(Input{Kind: OnFound, Release: *r})
		}
	case Fetch:
		tell(outcome(u.Installer.Fetch(ctx, s.Release, s.Offset, func(n int64) { tell(Input{Kind: OnProgress, Offset: n}) })))
	case ReadBack:
		tell(outcome(u.Installer.ReadBack(ctx, s.Release)))
	case WriteHead:
		tell(outcome(u.Installer.WriteHead(ctx, s.Release)))
	case Ask:
		u.ask(ctx, s, tell)
	case Try:
		if err := u.Boot.Try(); err != nil {
			tell(outcome(err))
		}
	case Watch:
		tell(u.watch(ctx))
	case Commit:
		tell(outcome(u.Boot.Commit()))
	case Revert:
		for u.revert() != nil { // whatever holds it up may pass
			select {
			case <-time.After(tryAgain):
			case <-ctx.Done():
				return
			}
		}
	}
}

func (u *Updater) revert() error {
	err := u.Boot.Revert()
	if err != nil {
		u.Log.Error("the old system cannot be booted", "err", err)
	}
	return err
}

// ask looks until the appliance may go away, and tells each new reason why it may not. Then the release has to be offered
// still, but for who forces it.
func (u *Updater) ask(ctx context.Context, s State, tell func(Input)) {
	tick := time.NewTicker(u.Poll)
	defer tick.Stop()
	offered := s.Forced
	for told := ""; ; {
		reason := u.Appliance.Busy()
		if now := time.Now(); reason == "" && !s.Forced && !u.Window.Open(now) {
			reason = "outside the maintenance window"
		} else if reason == "" && s.deferred(now) {
			reason = "deferred until " + s.Until.Format(time.DateTime)
		}
		switch {
		case reason == "" && offered:
			tell(Input{Kind: OnQuiet})
			return
		case reason == "":
			if in := u.instead(ctx, s.Release); in.Kind != "" {
				tell(in)
				return
			}
			offered = true
			continue // that took its time: is it quiet still?
		case reason != told:
			tell(Input{Kind: OnBusy, Reason: reason})
			told = reason
		}
		offered = s.Forced
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// answerBy is how long the server has to say whether a release is still offered.
const answerBy = time.Minute

// instead gives what is offered in place of a release that is ready: OnFound, OnNothing, or no input at all where it is still
// offered, or where nobody can be asked: an update does not depend on that.
func (u *Updater) instead(ctx context.Context, ready Release) Input {
	ctx, cancel := context.WithTimeout(ctx, answerBy)
	defer cancel()
	r, err := u.Installer.Check(ctx, false)
	var permanent Permanent
	switch {
	case errors.As(err, &permanent):
		return Input{Kind: OnNothing, Reason: ready.Version + Withdrawn + ": " + err.Error()}
	case err != nil:
		u.Log.Info("nobody says whether the update is still offered, it goes on", "version", ready.Version, "err", err)
	case r == nil:
		return Input{Kind: OnNothing, Reason: ready.Version + Withdrawn}
	case r.SHA256 != ready.SHA256:
		return Input{Kind: OnFound, Release: *r}
	}
	return Input{}
}

// watch looks until health has held for long enough, or has not for too long.
func (u *Updater) watch(ctx context.Context) Input {
	tick := time.NewTicker(u.Poll)
	defer tick.Stop()
	limit := time.Now().Add(u.ProbationLimit)
	since := time.Now()
	for {
		why := u.Appliance.Unhealthy()
		now := time.Now()
		switch {
		case why != "" && !now.Before(limit):
			return Input{Kind: OnUnhealthy, Reason: why}
		case why != "":
			since = now
		case now.Sub(since) >= u.Hold:
			return Input{Kind: OnHealthy}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return Input{}
		}
	}
}
