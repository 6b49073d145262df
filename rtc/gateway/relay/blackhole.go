package relay

import (
	"fmt"
	"net"
	"sync"
)

// Blackhole makes the relay swallow whatever goes over a transport, in both directions and silently, for connections
// that stand and for new ones, as a path does that died without a word: a client's bytes stay in its socket buffer
// until that is full. Off, connections go on; but a TLS connection whose records were swallowed is closed, since its
// stream cannot be taken up again.
func (s *Server) Blackhole(transport string, on bool) error {
	g := s.gates[transport]
	if g == nil {
		return fmt.Errorf("relay: there is no TURN over %q here: say udp, tcp or tls", transport)
	}
	g.set(on)
	return nil
}

// Receive buffers of a connection: shut in the smallest the kernel gives, so that it stops acknowledging after a few
// hundred bytes; reopened in what a relay needs.
const (
	shutBuffer = 1
	openBuffer = 256 << 10
)

// gate stands between one transport's clients and pion. While it is shut nothing passes.
type gate struct {
	framed bool // streams are encrypted records: a swallowed one breaks them

	mu    sync.Mutex
	open  chan struct{} // closed while open
	conns map[*gatedConn]struct{}
	done  chan struct{} // closed by close
}

func newGate() *gate {
	open := make(chan struct{})
	close(open)
	return &gate{open: open, conns: map[*gatedConn]struct{}{}, done: make(chan struct{})}
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if shut == g.shutLocked() {
		return
	}
	if shut {
		g.open = make(chan struct{})
		for c := range g.conns {
			c.buffer(shutBuffer)
		}
		return
	}
	for c := range g.conns {
		c.buffer(openBuffer)
		if c.broken {
			_ = c.Conn.Close()
		}
	}
	close(g.open)
}

func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shutLocked()
}

func (g *gate) shutLocked() bool {
	select {
	case <-g.open:
		return false
	default:
		return true
	}
}

// wait returns when the gate is open, or an error once it was closed for good or c was.
func (g *gate) wait(closed <-chan struct{}) error {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
		return nil
	case <-closed:
		return net.ErrClosed
	case <-g.done:
		return net.ErrClosed
	}
}

// add takes in a new connection; it reports false when the gate was closed.
func (g *gate) add(c *gatedConn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.done:
		return false
	default:
	}
	g.conns[c] = struct{}{}
	if g.shutLocked() {
		c.buffer(shutBuffer)
	}
	return true
}

func (g *gate) remove(c *gatedConn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
}

// swallow reports whether what c is about to write is lost.
func (g *gate) swallow(c *gatedConn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shutLocked() {
		return false
	}
	c.broken = c.broken || g.framed
	return true
}

// close ends all connections.
func (g *gate) close() {
	g.mu.Lock()
	select {
	case <-g.done:
	default:
		close(g.done)
	}
	conns := g.conns
	g.conns = map[*gatedConn]struct{}{}
	g.mu.Unlock()
	for c := range conns {
		_ = c.Conn.Close()
	}
}

type gatedListener struct {
	net.Listener
	gate *gate
}

func (l *gatedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &gatedConn{Conn: conn, gate: l.gate, closed: make(chan struct{})}
	if !l.gate.add(c) {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	return c, nil
}

// gatedConn is a client's stream.
type gatedConn struct {
	net.Conn
	gate   *gate
	once   sync.Once
	closed chan struct{}
	broken bool // guarded by gate.mu: something written was swallowed in mid-stream
}

// Read holds what it read back until the gate opens: a stream loses nothing, it only stands still.
func (c *gatedConn) Read(b []byte) (int, error) {
	if err := c.gate.wait(c.closed); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b)
	if n > 0 {
		if err := c.gate.wait(c.closed); err != nil {
			return 0, err
		}
	}
	return n, err
}

func (c *gatedConn) Write(b []byte) (int, error) {
	if c.gate.swallow(c) {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *gatedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	c.gate.remove(c)
	return c.Conn.Close()
}

func (c *gatedConn) buffer(bytes int) {
	if tcp, ok := c.Conn.(interface{ SetReadBuffer(int) error }); ok {
		_ = tcp.SetReadBuffer(bytes)
	}
}

// gatedPacketConn is where clients' datagrams come in.
type gatedPacketConn struct {
	net.PacketConn
	gate *gate
}

func (c *gatedPacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, addr, err := c.PacketConn.ReadFrom(b)
		if err != nil || !c.gate.shut() {
			return n, addr, err
		}
	}
}

func (c *gatedPacketConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	if c.gate.shut() {
		return len(b), nil
	}
	return c.PacketConn.WriteTo(b, addr)
}
