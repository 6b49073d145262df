package mqtt

import (
	"net"
	"sync"
)

// tracker is a listener that knows its connections and closes them with itself: mochi waits for all, but forgets
// those that have not said CONNECT yet.
type tracker struct {
	net.Listener

	mu     sync.Mutex
	closed bool
	conns  map[*trackedConn]struct{}
	open   int // accepted, and not yet closed by the broker
}

// Accept waits for the next connection.
func (t *tracker) Accept() (net.Conn, error) {
	c, err := t.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tc := &trackedConn{Conn: c, from: t}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	t.conns[tc] = struct{}{}
	t.open++
	return tc, nil
}

// busy tells whether the broker still has a connection of ours.
func (t *tracker) busy() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open > 0
}

// Close stops listening and closes every connection.
func (t *tracker) Close() error {
	err := t.Listener.Close()
	t.closeConns()
	return err
}

// closeConns closes every connection, and those still to come.
func (t *tracker) closeConns() {
	t.mu.Lock()
	t.closed = true
	conns := t.conns
	t.conns = map[*trackedConn]struct{}{}
	t.mu.Unlock()
	for c := range conns {
		_ = c.Conn.Close()
	}
}

// trackedConn tells its tracker when it closes.
type trackedConn struct {
	net.Conn
	from *tracker
	once sync.Once
}

// Close closes the connection.
func (c *trackedConn) Close() error {
	c.once.Do(func() {
		c.from.mu.Lock()
		defer c.from.mu.Unlock()
		delete(c.from.conns, c)
		c.from.open--
	})
	return c.Conn.Close()
}
