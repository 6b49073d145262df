package boardtest

import (
	"encoding/json"
	"errors"
	"net"
	"time"

	"sidetone/board/boardtest/steer"
)

// monitor is QEMU's: it takes commands, and tells what happens (QMP).
type monitor struct {
	conn    net.Conn
	answers chan answer
	barked  chan struct{} // one for each time that the watchdog has reset the board
}

type answer struct {
	Event  string          `json:"event"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
}

// starved says what a reset means that no test has asked for.
const starved = "the watchdog has reset the board: something on it hung, or this machine gave it no time to feed"

// openMonitor connects to QEMU's monitor. It ends with the connection.
func (m *Machine) openMonitor(path string) *monitor {
	m.t.Helper()
	q := &monitor{conn: m.dial(path), answers: make(chan answer, 1), barked: make(chan struct{}, 16)}
	go func() {
		defer close(q.answers)
		for d := json.NewDecoder(q.conn); ; {
			var a answer
			switch err := d.Decode(&a); {
			case err != nil:
				return
			case a.Event == "WATCHDOG":
				select {
				case q.barked <- struct{}{}:
				default: // that it is reset again and again is known
				}
			case a.Return != nil || a.Error != nil:
				q.answers <- a
			}
		}
	}()
	if err := q.do("qmp_capabilities", nil); err != nil {
		m.t.Fatal(err)
	}
	return q
}

// do does one command, for one goroutine at a time.
func (q *monitor) do(command string, arguments map[string]any) error {
	b, err := json.Marshal(struct {
		Execute   string         `json:"execute"`
		Arguments map[string]any `json:"arguments,omitempty"`
	}{command, arguments})
	if err == nil {
		_, err = q.conn.Write(b)
	}
	if err != nil {
		return err
	}
	a, ok := <-q.answers
	if !ok {
		return net.ErrClosed
	}
	if a.Error != nil {
		return errors.New(a.Error.Desc)
	}
	return nil
}

// Monitor has QEMU's monitor do something.
func (m *Machine) Monitor(command string, arguments map[string]any) {
	m.t.Helper()
	if err := m.monitor.do(command, arguments); err != nil {
		m.t.Fatalf("QEMU's monitor: %s: %v", command, err)
	}
}

// hasNotBarked fails the test where the watchdog has reset the board and no AwaitReset waited for that.
func (m *Machine) hasNotBarked(when string) {
	m.t.Helper()
	select {
	case <-m.barked:
		m.t.Errorf("board: in %s %s", when, starved)
	default:
	}
}

// AwaitReset waits until the watchdog has reset the board, and until that answers again.
func (m *Machine) AwaitReset(limit time.Duration) {
	m.t.Helper()
	boot := m.Read(bootID)
	select {
	case <-m.barked:
	case <-m.done:
		m.t.Fatal("board: QEMU has ended before the watchdog has reset it")
	case <-time.After(limit):
		m.t.Fatalf("board: the watchdog has not reset it within %s", limit)
	}
	for end := time.Now().Add(limit); ; {
		select {
		case <-m.Ask(steer.Request{Op: steer.Ping}): // what is asked meanwhile may be lost
			if m.Read(bootID) == boot {
				m.t.Fatal("board: the watchdog has barked, and it is still the same boot")
			}
			return
		case <-time.After(time.Second):
		}
		if time.Now().After(end) {
			m.t.Fatalf("board: no answer within %s after its reset", limit)
		}
	}
}

// bootID is where the kernel tells of itself since when it runs: another one each time.
const bootID = "/proc/sys/kernel/random/boot_id"
