package media

import (
	"sync/atomic"

	"github.com/pion/rtp"
)

// Trunk joins a sending pipeline to whichever session carries the call: voice.Sender writes to the trunk, and Use puts
// another session in the place of the one before, in mid-call.
type Trunk struct{ session atomic.Pointer[Session] }

// Use lets s carry the call from now on. The session before it falls silent both ways (it is the caller's to close), and
// s counts on from its counters.
func (t *Trunk) Use(s *Session) {
	old := t.session.Swap(s)
	if old == s {
		return
	}
	if old == nil {
		s.codecs.takeOver(nil)
	} else {
		old.standby.Store(true)
		s.codecs.takeOver(&old.codecs)
		s.in.goOn(&old.in)
		s.track.goOn(old.track)
	}
	s.standby.Store(false)
}

// WriteRTP implements audio.PacketWriter.
func (t *Trunk) WriteRTP(p *rtp.Packet) bool {
	s := t.session.Load()
	return s != nil && s.WriteRTP(p)
}

// Ready tells whether WriteRTP would take a packet now.
func (t *Trunk) Ready() bool {
	s := t.session.Load()
	return s != nil && s.Ready()
}
