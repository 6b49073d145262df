package hawkbit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	"sidetone/ota"
)

// Updater is what an order steers: *ota.Updater.
type Updater interface {
	Check(ctx context.Context) error
	Force(ctx context.Context) error
	Defer(ctx context.Context, until time.Time) error
	Cancel(ctx context.Context, by string) error
}

// Agent polls for orders, and is the ota.Installer that offers a release only while it is ordered.
type Agent struct {
	ota.Installer                   // that verifies and installs
	Client        *Client           // Run's alone
	Updater       Updater           // set before Run
	Running       string            // version that runs, as v1.2.3
	Attributes    map[string]string // told to the server when it asks: board, firmware…
	Store         ota.Store         // keeps the order over boots, as every update has one in its middle
	Log           *slog.Logger

	load  sync.Once
	mu    sync.Mutex
	asked bool // the server has said since the start what is ordered: of what was kept nothing is told before that
	order *order
	state ota.State // the last one
	why   string    // what the last check found that is not what was ordered

	wake chan struct{}
	kept []byte   // what Store has; Run's alone
	told feedback // the last one of order; Run's alone
	over string   // ID of the last order that is closed; Run's alone
}

// order is one that is not closed.
type order struct {
	ID      string `json:"id"` // of the action
	Version string `json:"version"`
	Looked  bool   `json:"looked"` // the machine has looked for it: what its state says is about this order
	now     bool   // the server does not want our window waited for
}

// New makes an Agent around an installer.
func New(i ota.Installer, c *Client, s ota.Store) *Agent {
	return &Agent{Installer: i, Client: c, Store: s, Log: slog.New(slog.DiscardHandler), wake: make(chan struct{}, 1)}
}

// restore reads the order that was kept. One that is lost comes with the next poll; only its cancellation may then say too
// little.
func (a *Agent) restore() {
	a.load.Do(func() {
		b, err := a.Store.Load()
		var o *order
		if err == nil && b != nil {
			err = json.Unmarshal(b, &o)
		}
		if err != nil {
			a.Log.Warn("hawkBit's order is lost, it is asked for again", "err", err)
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.order, a.kept = o, b
	})
}

// keep has the order on the disk. Where that fails it holds until the next boot.
func (a *Agent) keep() {
	a.mu.Lock()
	b, err := json.Marshal(a.order)
	a.mu.Unlock()
	if err == nil && !bytes.Equal(b, a.kept) {
		err = a.Store.Save(b)
	}
	if err != nil {
		a.Log.Warn("hawkBit's order cannot be kept", "err", err)
		return
	}
	a.kept = b
}

// Check implements ota.Installer: the release of the signed metadata, if it is ordered, or somebody at the device forces it.
// Whose turn it is says the server, not the share of the fleet.
func (a *Agent) Check(ctx context.Context, forced bool) (*ota.Release, error) {
	a.restore()
	a.mu.Lock()
	o, asked := a.order, a.asked
	a.mu.Unlock()
	switch {
	case o == nil && !forced && !asked:
		return nil, errors.New("hawkBit has not said yet what is ordered")
	case o == nil && !forced:
		return nil, nil
	}
	r, err := a.Installer.Check(ctx, true)
	var permanent ota.Permanent
	if o == nil || err != nil && !errors.As(err, &permanent) {
		return r, err
	}
	why := ""
	switch {
	case err != nil:
		why = err.Error()
	case r == nil:
		why = "the signed metadata offers nothing to us"
	case r.Version != o.Version:
		why = "the signed metadata offers " + r.Version
	}
	if why == "" || forced {
		return r, err
	}
	a.mu.Lock()
	a.why = why
	a.mu.Unlock()
	return nil, ota.Permanent{Err: fmt.Errorf("%s is ordered, %s", o.Version, why)}
}

// Tell takes each new state of the machine; it does not block.
func (a *Agent) Tell(s ota.State) {
	a.restore()
	a.mu.Lock()
	a.state = s
	if a.order != nil && (s.Phase == ota.Checking || s.Phase == ota.Downloading && s.Release.Version == a.order.Version) {
		a.order.Looked = true
	}
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// retry is how long a server that does not answer is left alone, at first and at most.
const (
	retryFirst = 10 * time.Second
	retryMost  = 10 * time.Minute
)

// Run polls until ctx ends, from the first state on that Tell has brought: what is to be done with an order depends on it.
func (a *Agent) Run(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-a.wake:
	}
	retry := retryFirst
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		a.keep()
		var err error
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
			a.keep() // it may be the last word before a boot
			err = a.tell(ctx)
			if err != nil && ctx.Err() == nil { // the next poll tells it
				a.Log.Info("hawkBit is not told how far the update is, for now", "err", err)
			}
			continue
		case <-next.C:
		}
		sleep, err := a.poll(ctx)
		if err != nil && ctx.Err() == nil {
			a.Log.Warn("no orders of hawkBit", "err", err, "again_in", retry)
			sleep, retry = retry, min(2*retry, retryMost)
		} else {
			retry = retryFirst
		}
		next.Reset(sleep + rand.N(sleep/10+1))
	}
}

// poll asks once, and does what is ordered.
func (a *Agent) poll(ctx context.Context) (time.Duration, error) {
	b, err := a.Client.poll(ctx)
	if err != nil {
		return 0, err
	}
	sleep, err := b.sleep()
	if err != nil {
		return 0, err
	}
	if l := b.Links.ConfigData; l.Href != "" {
		at, err := a.Client.resolve(l)
		if err == nil {
			err = a.Client.do(ctx, "PUT", at, map[string]any{"mode": "merge", "data": a.Attributes}, nil)
		}
		if err != nil {
			return 0, err
		}
	}
	switch {
	case b.Links.Cancel.Href != "":
		var c cancellation
		if err = a.Client.follow(ctx, b.Links.Cancel, &c); err == nil {
			err = number(c.ID)
		}
		if err == nil {
			err = a.cancelled(ctx, c)
		}
	case b.Links.Deployment.Href != "":
		var d deployment
		if err = a.Client.follow(ctx, b.Links.Deployment, &d); err == nil {
			err = number(d.ID)
		}
		if err == nil {
			err = a.ordered(ctx, d, sleep)
		}
	default:
		a.set(nil)
	}
	if errors.Is(err, errGone) {
		a.set(nil)
		err = nil
	}
	return sleep, err
}

// set is what the server says.
func (a *Agent) set(o *order) {
	a.mu.Lock()
	a.asked = true
	if a.order != nil && o != nil && a.order.ID == o.ID {
		a.order.now = o.now
	} else {
		a.order, a.why, a.told = o, "", feedback{}
	}
	a.mu.Unlock()
	a.keep()
}

// ordered has the machine look for what is ordered. It comes with each poll until the order is closed.
func (a *Agent) ordered(ctx context.Context, d deployment, sleep time.Duration) error {
	if d.ID == a.over {
		return nil
	}
	version, err := d.version()
	if err != nil {
		return a.close(ctx, d.ID, newFeedback(closed, failure, err.Error()))
	}
	if d.Deployment.Download == skip {
		return nil
	}
	a.set(&order{ID: d.ID, Version: version, now: d.Deployment.Update == forced})
	a.mu.Lock()
	s := a.state
	a.mu.Unlock()
	switch {
	case d.Deployment.Update == skip: // it may be fetched, and not booted until a later poll says so
		err = a.Updater.Defer(ctx, time.Now().Add(2*sleep))
	case !s.Until.IsZero():
		err = a.Updater.Defer(ctx, time.Time{})
	}
	if err == nil && version != a.Running {
		err = a.Updater.Check(ctx) // where an update is under way it changes nothing
	}
	if err != nil {
		return err
	}
	return a.tell(ctx)
}

// cancelled gives the update up, if it is the one, or one that was ordered and is not known any more. What is booted already
// is not given up: the server shows the order again when it hears that, and is told its end.
func (a *Agent) cancelled(ctx context.Context, c cancellation) error {
	a.mu.Lock()
	o, s := a.order, a.state
	a.mu.Unlock()
	ours := o != nil && o.ID == c.Cancel.StopID
	answer := newFeedback(closed, success, "cancelled")
	switch {
	case s.Phase == ota.Trying || s.Phase == ota.Probation || s.Doubt:
		answer = newFeedback(rejected, none, "it is being tried already")
	case ours && o.Version == a.Running:
		answer = newFeedback(rejected, none, o.Version+" runs already")
	case ours || o == nil && !s.Forced:
		if err := a.Updater.Cancel(ctx, "hawkBit"); err != nil {
			return err
		}
	}
	if answer.Status.Execution == closed {
		a.set(nil)
		a.over = c.Cancel.StopID
	}
	answer.ID = c.ID
	err := a.Client.do(ctx, "POST", a.Client.action("cancelAction", c.ID), answer, nil)
	if errors.Is(err, errGone) {
		return nil
	}
	return err
}

// tell says how far the order is, where that is news.
func (a *Agent) tell(ctx context.Context) error {
	a.mu.Lock()
	if a.order == nil || !a.asked {
		a.mu.Unlock()
		return nil
	}
	o, s, why := *a.order, a.state, a.why
	a.mu.Unlock()
	if o.now && (s.Phase == ota.Ready || s.Phase == ota.Waiting) && !s.Forced {
		if err := a.Updater.Force(ctx); err != nil {
			return err
		}
	}
	f, is := report(o, s, why, a.Running)
	if !is || reflect.DeepEqual(f, a.told) {
		return nil
	}
	if f.Status.Execution == closed {
		return a.close(ctx, o.ID, f)
	}
	a.told = f
	f.ID = o.ID
	err := a.Client.do(ctx, "POST", a.Client.action("deploymentBase", o.ID), f, nil)
	if err != nil {
		a.told = feedback{}
	}
	return err
}

// close ends an order. It is not carried out again if the server shows it once more.
func (a *Agent) close(ctx context.Context, id string, f feedback) error {
	f.ID = id
	err := a.Client.do(ctx, "POST", a.Client.action("deploymentBase", id), f, nil)
	if err == nil || errors.Is(err, errGone) {
		a.over = id
		a.set(nil)
		return nil
	}
	return err
}

// report puts the machine's state into the server's words. There is nothing to say while it looks for news, nor of what it did
// before it looked for this order.
func report(o order, s ota.State, why, running string) (feedback, bool) {
	details := []string{string(s.Phase)}
	if s.Reason != "" {
		details = append(details, s.Reason)
	}
	verdict, failed := s.Condemned[o.Version]
	ours := s.Release.Version == o.Version
	switch s.Phase {
	case ota.Downloading, ota.Verifying, ota.Writing, ota.Ready, ota.Waiting, ota.Trying, ota.Probation:
		f := newFeedback(proceeding, none, details...)
		if s.Phase == ota.Downloading {
			f.Status.Result.Progress = &progress{s.Percent() / 10, 10} // ten reports of a download are enough
		}
		return f, ours
	case "", ota.Checking:
		return feedback{}, false
	}
	switch {
	case ours && s.Doubt: // no end yet: it may have another trial
		return newFeedback(proceeding, none, details...), true
	case running == o.Version && s.Phase != ota.RolledBack:
		return newFeedback(closed, success, o.Version+" runs"), true
	case !o.Looked:
		return feedback{}, false
	case ours && (s.Phase == ota.RolledBack || s.Phase == ota.Failed):
		return newFeedback(closed, failure, details...), true
	case failed:
		return newFeedback(closed, failure, o.Version+ota.NotAgain+verdict.Reason), true
	case why != "":
		return newFeedback(closed, failure, o.Version+" is ordered, "+why), true
	}
	return newFeedback(proceeding, none, details...), s.Reason != "" // trouble that may pass: each poll tries again
}
