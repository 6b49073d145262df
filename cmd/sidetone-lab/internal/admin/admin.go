// Package admin is how the sub-commands of sidetone-lab reach the lab that runs on a directory: HTTP on loopback with
// a bearer secret, both written to a file in that directory which only its owner can read. (A unix socket would do,
// but for the 107 bytes of its path.)
package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sidetone/cmd/internal/atomicfile"
	"sidetone/cmd/sidetone-lab/internal/updates"
	"sidetone/provisioning/broker"
	"sidetone/rtc/gateway"
	"sidetone/rtc/gateway/relay"
)

// Stats is what a lab knows of its clients, by name, and of what it served.
type Stats struct {
	Clients       map[string]Client `json:"clients"`
	RefusedLogins []time.Time       `json:"refused_logins"` // the newest ones at the gateway
	Updates       updates.Sent      `json:"updates"`
}

// Client is what gateway and TURN know of one client.
type Client struct {
	gateway.ClientStats
	// TURN is the traffic relayed by transport: udp, tcp and tls, always all three.
	TURN map[string]relay.Traffic `json:"turn"`
	// Tokens is how the device fared at the token broker.
	Tokens broker.TokenRequests `json:"tokens"`
}

// Fault is trouble made on purpose.
type Fault struct {
	// Name is turn-udp, turn-tcp, turn-tls, gateway or update. With nothing else the fault is mended.
	Name string `json:"name"`
	// Blackhole: packets vanish both ways, and nobody is told. Of turn-*.
	Blackhole bool `json:"blackhole"`

	// Of gateway. Cut drops every socket once, while media goes on.
	Cut bool `json:"cut,omitempty"`
	// PortClosed is how long the ports of ws and wss, which are the page's too, refuse connections.
	PortClosed time.Duration `json:"port_closed,omitempty"`
	// HalfDead makes the sockets there are swallow all that goes through them.
	HalfDead bool `json:"half_dead,omitempty"`
	// State is what gatewayState is answered with instead of REGED.
	State string `json:"state,omitempty"`
	// NoReports answers call reports with 503.
	NoReports bool `json:"no_reports,omitempty"`

	updates.Trouble // of update
}

// Names of the faults of signalling, and of the update server.
const (
	Gateway = "gateway"
	Update  = "update"
)

// String says what is wrong in a few words, or good.
func (f Fault) String() string {
	var words []string
	for _, w := range []struct {
		is   bool
		word string
	}{
		{f.Blackhole, "blackhole"}, {f.PortClosed > 0, "port-closed"}, {f.HalfDead, "half-dead"}, {f.State != "", "state " + f.State},
		{f.NoReports, "no-reports"},
	} {
		if w.is {
			words = append(words, w.word)
		}
	}
	words = append(words, f.Trouble.Words()...)
	if len(words) == 0 {
		return "good"
	}
	return strings.Join(words, ", ")
}

// Transfer asks for a call's client to be connected to somebody else.
type Transfer struct {
	CallID string `json:"call_id"`
	To     string `json:"to"`
}

// Token is a token for a client, and when it ends.
type Token struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Ring asks for a destination to call a client.
type Ring struct {
	Name string `json:"name"`
	From string `json:"from"`
}

// Call answers Ring.
type Call struct {
	CallID string `json:"call_id"`
}

// Files of a lab in its directory.
const (
	stateFile = "lab.json"
	lockFile  = "lab.lock"
)

// state says where the lab that runs on a directory is.
type state struct {
	PID    int    `json:"pid"`
	URL    string `json:"admin"`
	Secret string `json:"secret"`
	Web    string `json:"web"`
}

// ErrRunning says that a lab runs on the directory already.
var ErrRunning = errors.New("a lab is running on this directory")

// Lock claims dir for one lab, until the returned function is called or the process ends. When another lab has it, the
// error wraps ErrRunning and says which one.
func Lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		_ = f.Close()
		where := ""
		if st, err := read(dir); err == nil {
			where = fmt.Sprintf(" as process %d, page %s", st.PID, st.Web)
		}
		return nil, fmt.Errorf("%w: %s%s; end that one, or choose another directory with --dir", ErrRunning, dir, where)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return func() { _ = f.Close() }, nil
}

func read(dir string) (state, error) {
	var st state
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal(b, &st)
}

// write puts the state where Open finds it, whole or not at all.
func write(dir string, st state) error {
	b, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, stateFile), b, 0o600)
}

func remove(dir string) {
	if err := os.Remove(filepath.Join(dir, stateFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return // a stale file is harmless: Open looks at the lock
	}
}
