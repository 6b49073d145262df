package watchdog

import (
	"fmt"
	"net"
	"strconv"
	"time"
)

// Notifier tells a service manager how the service is, as sd_notify(3) of systemd does. Nil has nobody to tell.
type Notifier struct {
	conn     net.Conn
	watchdog time.Duration
}

// NewNotifier makes a notifier of the environment: NOTIFY_SOCKET, and of sd_watchdog_enabled(3) WATCHDOG_USEC and WATCHDOG_PID.
// It is nil where no manager listens.
func NewNotifier(getenv func(string) string, pid int) (*Notifier, error) {
	socket := getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil, nil
	}
	conn, err := net.Dial("unixgram", socket) // "@…" is an abstract name, there and here
	if err != nil {
		return nil, fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	n := &Notifier{conn: conn}
	if p := getenv("WATCHDOG_PID"); p == "" || p == strconv.Itoa(pid) {
		usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64)
		if err == nil && usec > 0 && usec <= int64(24*time.Hour/time.Microsecond) {
			n.watchdog = time.Duration(usec) * time.Microsecond
		}
	}
	return n, nil
}

// Watchdog is how long the manager waits between two WATCHDOG=1; 0: it does not.
func (n *Notifier) Watchdog() time.Duration {
	if n == nil {
		return 0
	}
	return n.watchdog
}

// Tell says one thing: READY=1, STOPPING=1, WATCHDOG=1 or STATUS= and some words. A manager that does not take it at once misses it.
func (n *Notifier) Tell(state string) {
	if n == nil {
		return
	}
	_ = n.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = n.conn.Write([]byte(state))
}

// Close has nobody told any more.
func (n *Notifier) Close() {
	if n != nil {
		n.conn.Close()
	}
}
