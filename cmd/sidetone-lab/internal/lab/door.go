package lab

import (
	"net"
	"sync"
	"time"
)

// door is a listener whose port can be closed for a while: connections are refused, those that are there go on.
type door struct {
	addr net.Addr

	mu    sync.Mutex
	in    net.Listener  // nil while shut
	until *time.Timer   // opens it
	moved chan struct{} // closed when in, or ended, has changed
	ended bool
}

func newDoor(l net.Listener) *door {
	return &door{addr: l.Addr(), in: l, moved: make(chan struct{})}
}

// Addr implements net.Listener.
func (d *door) Addr() net.Addr { return d.addr }

// Accept implements net.Listener; while the door is shut it waits.
func (d *door) Accept() (net.Conn, error) {
	for {
		d.mu.Lock()
		in, moved, ended := d.in, d.moved, d.ended
		d.mu.Unlock()
		switch {
		case ended:
			return nil, net.ErrClosed
		case in == nil:
			<-moved
			continue
		}
		conn, err := in.Accept()
		if err == nil {
			return conn, nil
		}
		d.mu.Lock()
		same := d.in == in && !d.ended
		d.mu.Unlock()
		if same { // not of our doing
			return nil, err
		}
	}
}

// Close implements net.Listener.
func (d *door) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return nil
	}
	d.ended = true
	return d.move(nil)
}

// shut closes the port and opens it again after a while.
func (d *door) shut(after time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return
	}
	_ = d.move(nil)
	d.until = time.AfterFunc(after, d.open)
}

// again is how soon a port is tried once more that somebody else took meanwhile.
const again = 100 * time.Millisecond

// open opens the port, if it is shut.
func (d *door) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended || d.in != nil {
		return
	}
	in, err := net.Listen("tcp", d.addr.String())
	if err != nil {
		d.until = time.AfterFunc(again, d.open)
		return
	}
	_ = d.move(in)
}

// isShut tells whether the port is closed.
func (d *door) isShut() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.in == nil
}

// move puts another listener, or none, in the place of the one there is. d.mu is held.
func (d *door) move(in net.Listener) (err error) {
	if d.until != nil {
		d.until.Stop()
		d.until = nil
	}
	if d.in != nil {
		err = d.in.Close()
	}
	d.in = in
	close(d.moved)
	d.moved = make(chan struct{})
	return err
}
