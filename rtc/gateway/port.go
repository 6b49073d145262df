package gateway

import (
	"sync"
	"sync/atomic"
)

// port is where the sound of a leg goes in and out, whichever peer connection carries it at the time: a client that
// comes back on a new socket brings a new one (attach), and what speaks and listens here does not notice.
type port struct {
	current atomic.Pointer[peer]
	sink    atomic.Pointer[func(*packet)]
	held    atomic.Bool   // the client holds the call: nothing goes in or out
	up      chan struct{} // closed when media first flowed
	once    sync.Once
}

func newPort() *port { return &port{up: make(chan struct{})} }

func (p *port) connected() { p.once.Do(func() { close(p.up) }) }

// route sends what comes in to sink, from now on. Until then, and with nil, it is dropped.
func (p *port) route(sink func(*packet)) {
	if sink == nil {
		p.sink.Store(nil)
		return
	}
	p.sink.Store(&sink)
}

// came is told of a packet from one of the leg's peers. Those that do not carry the call, or no longer, are not heard.
func (p *port) came(from *peer, pkt *packet) {
	if p.held.Load() || p.current.Load() != from {
		return
	}
	if sink := p.sink.Load(); sink != nil {
		(*sink)(pkt)
	}
}

// write sends a packet to the client. It reports false when the client does not take its codec.
func (p *port) write(pkt *packet) bool {
	if peer := p.current.Load(); peer != nil {
		return peer.out.write(pkt)
	}
	return false
}

// takes tells whether the client takes a codec.
func (p *port) takes(c codec) bool {
	peer := p.current.Load()
	return peer != nil && peer.out.takes(c)
}

// sound is the codec for sound of our own; false before anything is negotiated.
func (p *port) sound() (codec, bool) {
	if peer := p.current.Load(); peer != nil {
		return peer.out.sound()
	}
	return codec{}, false
}

// events is the telephone-event that goes with sound of that clock, or another one; false when there is none.
func (p *port) events(clock uint32) (codec, bool) {
	if peer := p.current.Load(); peer != nil {
		return peer.out.events(clock)
	}
	return codec{}, false
}
