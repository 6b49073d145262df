package ota

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// device is an appliance whose reboots end Run. Only what is on its disk survives.
type device struct {
	mu       sync.Mutex
	disk     []byte
	full     error // Save's answer
	spoilt   error // Load's
	tried    func()
	stuck    int // ways back that fail
	slots    map[string]string
	chosen   string
	running  string
	trial    bool
	armed    bool
	boots    int
	busy     string
	sick     string // what is wrong with the new version
	away     string // what is wrong with every version
	news     *Release
	nothing  bool // is offered
	checks   int
	callAt   int     // the check in which a call begins
	fetched  []int64 // offsets that fetches began at
	troubles int     // fetches that break before one does not
	bad      error   // ReadBack's answer
	reboot   context.CancelFunc
	phases   []Phase
	last     State
}

func (d *device) Load() ([]byte, error) { return d.disk, d.spoilt }
func (d *device) Save(b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full != nil {
		return d.full
	}
	d.disk = b
	return nil
}
func (d *device) Busy() string { d.mu.Lock(); defer d.mu.Unlock(); return d.busy }
func (d *device) Unhealthy() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sick != "" && d.slots[d.running] == theRelease.Version {
		return d.sick
	}
	return d.away
}
func (d *device) other() string { return map[string]string{"a": "b", "b": "a"}[d.running] }
func (d *device) Running() (string, string, bool, error) {
	return d.running, d.other(), d.trial, nil
}
func (d *device) Try() error {
	if d.tried != nil {
		d.tried()
	}
	d.armed = true
	d.reboot()
	return nil
}
func (d *device) Revert() error {
	if d.stuck > 0 {
		d.stuck--
		return errors.New("input/output error")
	}
	d.reboot()
	return nil
}
func (d *device) Commit() error { d.chosen, d.trial = d.running, false; return nil }
func (d *device) Check(context.Context, bool) (*Release, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.checks++; d.checks == d.callAt {
		d.busy = "in a call"
	}
	if d.news == nil {
		return nil, errors.New("no server")
	}
	if d.nothing || d.slots[d.running] == d.news.Version {
		return nil, nil
	}
	return d.news, nil
}
func (d *device) Fetch(ctx context.Context, r Release, offset int64, progress func(int64)) error {
	d.fetched = append(d.fetched, offset)
	for ; offset < r.Size; offset += 5 {
		select {
		case <-time.After(time.Minute):
		case <-ctx.Done():
			return ctx.Err()
		}
		if d.troubles > 0 && offset > 0 {
			d.troubles--
			return errors.New("the server is gone")
		}
		progress(offset + 5)
	}
	return nil
}
func (d *device) ReadBack(context.Context, Release) error { return d.bad }
func (d *device) WriteHead(_ context.Context, r Release) error {
	d.slots[d.other()] = r.Version
	return nil
}

// lives boots the device again and again until its update has ended, or the time is over.
func (d *device) lives(t *testing.T, c Config, limit time.Duration, act func(context.Context, *Updater)) State {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for ctx.Err() == nil {
		d.boots++
		d.running, d.trial = d.chosen, d.armed
		if d.armed {
			d.running = d.other()
		}
		d.armed = false
		boot, reboot := context.WithCancel(ctx)
		d.reboot = reboot
		c.BootID = fmt.Sprint(d.boots)
		u := New(c, d, d, d, d)
		u.Tell = func(s State) {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.last = s; len(d.phases) == 0 || d.phases[len(d.phases)-1] != s.Phase {
				d.phases = append(d.phases, s.Phase)
			}
		}
		if act != nil {
			go act(boot, u)
		}
		if err := u.Run(boot); err != nil && !errors.Is(err, d.spoilt) {
			t.Fatal(err)
		} else if err != nil && boot.Err() == nil { // it runs on without updates
			<-ctx.Done()
		}
		reboot()
	}
	return d.last
}

// comes waits for a phase that is reached for the first time, an hour at most.
func (d *device) comes(p Phase) bool {
	for range 3600 {
		time.Sleep(time.Second)
		d.mu.Lock()
		i := slices.Index(d.phases, p)
		now := i >= 0 && i == len(d.phases)-1
		d.mu.Unlock()
		if i >= 0 {
			return now
		}
	}
	return false
}

func newDevice() *device {
	return &device{slots: map[string]string{"a": "1.0.0"}, chosen: "a", news: &theRelease}
}

// inCall changes something an hour before the call ends.
func inCall(change func(*device)) func(context.Context, *device, *Updater) {
	return func(_ context.Context, d *device, _ *Updater) {
		time.Sleep(time.Hour)
		d.mu.Lock()
		change(d)
		d.mu.Unlock()
		time.Sleep(time.Hour)
		d.mu.Lock()
		d.busy = ""
		d.mu.Unlock()
	}
}

func TestUpdater(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*device)
		act     func(context.Context, *device, *Updater)
		phases  string
		reason  string
		running string
	}{
		{"all is well", nil, nil, "idle checking downloading verifying writing ready trying probation committed checking idle checking idle checking idle", "", "2.0.0"},
		{"no server", func(d *device) { d.news = nil }, nil, "idle checking idle checking idle checking idle checking idle", "no server", "1.0.0"},
		{"the server goes twice", func(d *device) { d.troubles = 2 }, nil,
			"idle checking downloading idle checking downloading idle checking downloading verifying writing ready trying probation committed checking idle", "", "2.0.0"},
		{"a way back that is stuck for a time", func(d *device) { d.sick, d.stuck = "no sound device", 5 }, func(_ context.Context, d *device, _ *Updater) {
			if d.comes(RolledBack) {
				time.Sleep(5 * time.Minute)
				d.mu.Lock()
				d.sick = ""
				d.mu.Unlock()
			}
		}, "idle checking downloading verifying writing ready trying probation rolled back checking idle", "2.0.0 is not tried again: no sound device", "1.0.0"},
		{"unhealthy", func(d *device) { d.sick = "no sound device" }, nil,
			"idle checking downloading verifying writing ready trying probation rolled back checking idle checking idle checking idle", "2.0.0 is not tried again: no sound device", "1.0.0"},
		{"the network is away", nil, func(_ context.Context, d *device, _ *Updater) {
			if d.comes(Probation) {
				d.lose("no network")
				time.Sleep(time.Hour)
				d.lose("")
			}
		}, "idle checking downloading verifying writing ready trying probation rolled back waiting trying probation committed checking idle", "", "2.0.0"},
		{"not what was signed", func(d *device) { d.bad = Permanent{errors.New("wrong hash")} }, nil,
			"idle checking downloading verifying failed checking idle checking idle checking idle", "2.0.0 is not tried again: wrong hash", "1.0.0"},
		{"a disk that is full", func(d *device) { d.full = errors.New("no space") }, nil, "idle", "the state cannot be saved: no space", "1.0.0"},
		{"a call", func(d *device) { d.busy = "in a call" }, func(_ context.Context, d *device, _ *Updater) {
			time.Sleep(2 * time.Hour)
			d.mu.Lock()
			d.busy = ""
			d.mu.Unlock()
		}, "idle checking downloading verifying writing ready waiting trying probation committed checking idle checking idle checking idle", "", "2.0.0"},
		{"withdrawn in a call", func(d *device) { d.busy = "in a call" }, inCall(func(d *device) { d.nothing = true }),
			"idle checking downloading verifying writing ready waiting idle checking idle", "", "1.0.0"},
		{"withdrawn in a call, and offered again", func(d *device) { d.busy = "in a call" }, func(ctx context.Context, d *device, u *Updater) {
			inCall(func(d *device) { d.nothing = true })(ctx, d, u)
			time.Sleep(time.Minute)
			d.mu.Lock()
			defer d.mu.Unlock()
			d.nothing = false
		}, "idle checking downloading verifying writing ready waiting idle checking downloading verifying writing ready trying probation committed", "", "2.0.0"},
		{"replaced in a call", func(d *device) { d.busy = "in a call" }, inCall(func(d *device) { d.news = &Release{Version: "3.0.0", Serial: 8, SHA256: "33", Size: 10} }),
			"idle checking downloading verifying writing ready waiting downloading verifying writing ready trying probation committed checking idle", "", "3.0.0"},
		{"the server goes in a call", func(d *device) { d.busy = "in a call" }, inCall(func(d *device) { d.news = nil }),
			"idle checking downloading verifying writing ready waiting trying probation committed checking idle", "no server", "2.0.0"},
		{"withdrawn in a call, and forced", func(d *device) { d.busy = "in a call" }, func(ctx context.Context, d *device, u *Updater) {
			if d.comes(Waiting) {
				_ = u.Force(ctx)
			}
			inCall(func(d *device) { d.nothing = true })(ctx, d, u)
		}, "idle checking downloading verifying writing ready waiting trying probation committed checking idle", "", "2.0.0"},
		{"cancelled on the way", nil, func(ctx context.Context, d *device, u *Updater) {
			if d.comes(Downloading) {
				_ = u.Cancel(ctx, "me")
			}
		}, "idle checking downloading idle checking downloading verifying", "", "2.0.0"},
		{"cancelled on trial", nil, func(ctx context.Context, d *device, u *Updater) {
			if d.comes(Probation) {
				_ = u.Cancel(ctx, "me")
			}
		}, "idle checking downloading verifying writing ready trying probation rolled back", "2.0.0 is not tried again: cancelled by me", "1.0.0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDevice()
				if tt.change != nil {
					tt.change(d)
				}
				var act func(context.Context, *Updater)
				if tt.act != nil {
					act = func(ctx context.Context, u *Updater) { tt.act(ctx, d, u) }
				}
				last := d.lives(t, Config{}, 24*time.Hour, act)
				synctest.Wait()
				got := strings.Trim(fmt.Sprint(d.phases), "[]")
				if tt.phases != "" && !strings.HasPrefix(got, tt.phases) || last.Reason != tt.reason {
					t.Errorf("%s (%q), want %s (%q)", got, last.Reason, tt.phases, tt.reason)
				}
				if d.slots[d.chosen] != tt.running || d.slots[d.running] != tt.running {
					t.Errorf("%s runs, %s boots, want %s", d.slots[d.running], d.slots[d.chosen], tt.running)
				}
			})
		})
	}
}

// lose has nothing work, or all work again.
func (d *device) lose(why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.away, d.busy = why, why
}

// fill fills the disk, or makes room again.
func (d *device) fill(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = err
}

// A disk that is full for a time holds an update up, whatever it is about; nothing is forgotten. One that stays full does not
// keep a system on trial.
func TestUpdaterFullDisk(t *testing.T) {
	full := errors.New("no space")
	for _, at := range []Phase{Idle, Checking, Downloading, Verifying, Ready, Trying} {
		synctest.Test(t, func(t *testing.T) {
			d := newDevice()
			d.lives(t, Config{}, 24*time.Hour, func(_ context.Context, u *Updater) {
				if d.comes(at) {
					d.fill(full)
					time.Sleep(time.Hour)
					d.fill(nil)
				}
			})
			synctest.Wait()
			if d.slots[d.chosen] != "2.0.0" || d.slots[d.running] != "2.0.0" {
				t.Errorf("full while %s: %s runs, %s boots: %v", at, d.slots[d.running], d.slots[d.chosen], d.phases)
			}
		})
	}
	for _, tt := range []struct {
		name string
		sick string
		then func(*device) // when the trial is asked for
		fill Phase
	}{
		{"full from the start of the trial", "", func(d *device) { d.fill(full) }, ""},
		{"full before it is unhealthy", "no sound device", nil, Probation},
		{"spoilt", "", func(d *device) { d.spoilt = errors.New("input/output error") }, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDevice()
			d.sick = tt.sick
			if tt.then != nil {
				d.tried = func() { tt.then(d) }
			}
			d.lives(t, Config{}, 24*time.Hour, func(_ context.Context, u *Updater) {
				if tt.fill != "" && d.comes(tt.fill) {
					d.fill(full)
				}
			})
			synctest.Wait()
			if d.slots[d.chosen] != "1.0.0" || d.slots[d.running] != "1.0.0" || d.boots < 3 {
				t.Errorf("%s: %s runs, %s boots after %d boots: %v", tt.name, d.slots[d.running], d.slots[d.chosen], d.boots, d.phases)
			}
		})
	}
}

// What is withdrawn is not condemned, and says why it ended. A call that begins while the server is asked is waited for, and
// the server asked again.
func TestUpdaterWithdrawn(t *testing.T) {
	for _, callAt := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			d := newDevice()
			d.callAt = callAt
			last := d.lives(t, Config{}, 3*time.Hour, func(ctx context.Context, u *Updater) {
				inCall(func(d *device) { d.nothing = true })(ctx, d, u)
			})
			synctest.Wait()
			if last.Phase != Idle || last.Reason != "2.0.0 was withdrawn" || len(last.Condemned) > 0 || d.boots != 1 {
				t.Errorf("a call in check %d: %+v after %d boots", callAt, last, d.boots)
			}
		})
	}
}

// A download that broke goes on at its byte.
func TestUpdaterResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice()
		d.troubles = 1
		d.lives(t, Config{}, 24*time.Hour, nil)
		synctest.Wait()
		if !slices.Equal(d.fetched, []int64{0, 5}) {
			t.Errorf("began at %v", d.fetched)
		}
	})
}

// Only in the window, and not before the time it was deferred to.
func TestUpdaterWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is midnight UTC, 2000-01-01
		d := newDevice()
		w, _ := ParseWindow("02:00-03:00")
		tried := time.Time{}
		d.lives(t, Config{Window: w}, 72*time.Hour, func(ctx context.Context, u *Updater) {
			if d.boots == 1 {
				time.Sleep(time.Hour)
				if err := u.Defer(ctx, time.Now().Add(12*time.Hour)); err != nil {
					t.Error(err)
				}
			} else if tried.IsZero() {
				tried = time.Now()
			}
		})
		synctest.Wait()
		if want := time.Date(2000, 1, 2, 2, 0, 0, 0, time.UTC); tried.Sub(want).Abs() > 10*time.Second {
			t.Errorf("tried at %s, want %s", tried, want)
		}
	})
}

func TestWindow(t *testing.T) {
	at := func(h, m int) time.Time { return time.Date(2026, 1, 1, h, m, 0, 0, time.UTC) }
	for _, tt := range []struct {
		text string
		h, m int
		open bool
	}{
		{"", 5, 0, true}, {"02:00-04:30", 1, 59, false}, {"02:00-04:30", 2, 0, true}, {"02:00-04:30", 4, 30, false},
		{"23:00-01:00", 0, 30, true}, {"23:00-01:00", 23, 0, true}, {"23:00-01:00", 22, 0, false},
	} {
		w, err := ParseWindow(tt.text)
		if err != nil || w.Open(at(tt.h, tt.m)) != tt.open {
			t.Errorf("%+v: %v, %v", tt, w, err)
		}
	}
	for _, text := range []string{"2-4", "25:00-03:00", "02:00-04:60", "02:00-04:00x", "night", "-1:00-02:00"} {
		if _, err := ParseWindow(text); err == nil {
			t.Errorf("%q taken", text)
		}
	}
}
