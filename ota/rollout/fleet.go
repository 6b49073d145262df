package rollout

import (
	"encoding/json"
	"sync"
	"time"

	"sidetone/ota"
	"sidetone/ota/bundle"
)

// Report is what a device says of its updates, on up/state/update.
type Report struct {
	Installed string    `json:"installed_version"`
	Latest    string    `json:"latest_version"` // that it knows of
	Phase     ota.Phase `json:"phase"`
	NotAgain  bool      `json:"not_again"` // Latest has failed on it
}

// Fleet is what the devices of a board said last, about one release. Its methods may be called from any goroutine.
type Fleet struct {
	board   string
	release bundle.Targets

	mu      sync.Mutex
	devices map[string]*device
}

type device struct {
	board  string
	online bool
	said   time.Time // the last report
	stands standing
}

// standing is how far a device is with the release.
type standing int

const (
	away     standing = iota // it has not begun
	underWay                 // it fetches, writes or waits
	booting                  // it has to prove itself, and to say so
	succeeded
	failed // for good, whatever it says later
)

// NewFleet knows nobody yet.
func NewFleet(release bundle.Targets) *Fleet {
	return &Fleet{board: release.Board, release: release, devices: map[string]*device{}}
}

func (f *Fleet) device(name string) *device {
	if f.devices[name] == nil {
		f.devices[name] = &device{}
	}
	return f.devices[name]
}

// Hear takes what a device says on one of its topics, up/status, up/birth or up/state/update. What is not understood is
// somebody else's.
func (f *Fleet) Hear(name, topic string, payload []byte, now time.Time) {
	switch topic {
	case "up/status":
		f.Online(name, string(payload) == "online")
	case "up/birth":
		var b struct {
			Board string `json:"board"`
		}
		if json.Unmarshal(payload, &b) == nil {
			f.Board(name, b.Board)
		}
	case "up/state/update":
		var r Report
		if json.Unmarshal(payload, &r) == nil {
			f.Report(name, r, now)
		}
	}
}

// Online hears whether a device is, by up/status.
func (f *Fleet) Online(name string, is bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.device(name).online = is
}

// Board hears what a device is, by up/birth.
func (f *Fleet) Board(name, board string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.device(name).board = board
}

// Report hears how far a device is.
func (f *Fleet) Report(name string, r Report, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.device(name)
	d.said = now
	if d.stands != failed {
		d.stands = stand(f.release.Release, r)
	}
}

// stand reads a report about a version. On trial a device has it installed already.
func stand(version string, r Report) standing {
	if r.Installed != version && r.Latest != version {
		return away
	}
	switch r.Phase {
	case ota.RolledBack, ota.Failed:
		return failed
	case ota.Downloading, ota.Verifying, ota.Writing, ota.Ready, ota.Waiting:
		return underWay
	case ota.Trying, ota.Probation:
		return booting
	}
	switch {
	case r.Installed == version:
		return succeeded
	case r.NotAgain: // it failed before we listened
		return failed
	}
	return away
}

// Count counts the devices of the board: those that a share includes, and those that took the release whether or not.
func (f *Fleet) Count(share float64, now time.Time, silence time.Duration) (c Count) {
	f.mu.Lock()
	defer f.mu.Unlock()
	offer := f.release
	offer.Share = share
	for name, d := range f.devices {
		if d.board != f.board {
			continue
		}
		switch {
		case d.stands == succeeded:
			c.Succeeded++
		case d.stands == failed:
			c.Failed++
		case d.stands == booting && now.Sub(d.said) >= silence:
			c.Lost++
		case d.stands != away:
			c.UnderWay++
		case d.online && offer.Includes(name):
			c.Waiting++
		}
	}
	return c
}
