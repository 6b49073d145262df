package gateway

import (
	"context"
	"time"

	"sidetone/audio"
	"sidetone/rtc/verto"

	"github.com/pion/webrtc/v4"
)

// leg is a client's side of a call.
type leg struct {
	g           *Gateway
	call        *call
	client      *client
	id          string // callID, the client's own word for it
	telnyxLegID string
	fs          bool // of a client of the freeswitch personality

	// Guarded by Gateway.mu.
	session    *session // nil while the client's socket is gone
	sessid     string   // of the login that the leg belongs to
	credential string   // of that login, or of its renewal
	stats      *CallStats

	// Owned by the call.
	inviteID uint32 // of our invite to the client
	port     *port
	voice    *speaker // what the client hears
	peer     *peer    // carries the call
	next     *peer    // offered by attach, and not connected yet; it takes over from peer
	answered bool
	held     bool
	gone     bool        // ended, while the call goes on
	playing  func()      // ends the tone that the client hears; nil when there is none
	detach   *time.Timer // ends the call; runs while the socket of an answered call is gone
	lost     *time.Timer // ends the call; runs while its media has failed
	coming   *time.Timer // gives up next
}

// open makes the leg's peer.
func (l *leg) open() (err error) {
	l.peer, err = l.newPeer()
	if err == nil {
		l.port.current.Store(l.peer)
	}
	return err
}

func (l *leg) newPeer() (*peer, error) {
	c := l.call
	return l.g.peersFor(l).newPeer(l.port, func(p *peer, s webrtc.PeerConnectionState) {
		c.post(func() { c.mediaState(l, p, s) })
	})
}

// takeOver makes the peer that the client brought the one that carries the call.
func (l *leg) takeOver() {
	old := l.peer
	l.peer, l.next = l.next, nil
	l.port.current.Store(l.peer)
	for _, hears := range l.call.legs() { // echo, or the far side
		hears.voice.turn()
	}
	stopTimer(&l.lost)
	stopTimer(&l.coming)
	l.call.closing.Go(old.close)
}

// dropNext forgets the peer that was offered by attach.
func (l *leg) dropNext() {
	stopTimer(&l.coming)
	if l.next != nil {
		l.call.closing.Go(l.next.close)
		l.next = nil
	}
}

// play lets the client hear src until silence; what it heard before is the caller's to stop.
func (l *leg) play(src audio.Source) {
	l.silence()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	l.playing = func() { cancel(); <-done }
	go func() {
		defer close(done)
		var f audio.Frame
		for p := startPace(); p.wait(ctx); {
			src.PullFrame(&f)
			if err := l.voice.say(&f); err != nil {
				l.g.log.Error("no tone", "call", l.id, "err", err)
				return
			}
		}
	}()
}

func (l *leg) silence() {
	if l.playing != nil {
		l.playing()
		l.playing = nil
	}
}

// send sends a request about the call to the client, if it is there, and returns the request's id.
func (l *leg) send(method string, p verto.ServerCallParams) uint32 {
	return l.sendWith(method, p, nil)
}

// sendWith sends a request with more params, if the client is a FreeSWITCH's.
func (l *leg) sendWith(method string, p verto.ServerCallParams, more map[string]string) uint32 {
	l.g.mu.Lock()
	s := l.session
	l.g.mu.Unlock()
	if s == nil {
		return 0
	}
	p.CallID = l.id
	if l.fs {
		p.SDP = disguise(p.SDP)
		return s.request(method, with(p, more))
	}
	if method != verto.Bye && method != verto.Info {
		p.TelnyxCallControlID = "v3:" + l.telnyxLegID
		p.TelnyxSessionID = l.call.id
		p.TelnyxLegID = l.telnyxLegID
	}
	return s.request(method, p)
}

// set changes what Stats tells of the leg.
func (l *leg) set(change func(*CallStats)) {
	l.g.mu.Lock()
	change(l.stats)
	l.g.mu.Unlock()
	l.g.notify()
}

// present tells whether the client's socket is there.
func (l *leg) present() bool {
	l.g.mu.Lock()
	defer l.g.mu.Unlock()
	return l.session != nil
}

// hangUp tells the client that its leg is over, unless it said so itself, and why.
func (l *leg) hangUp(why cause, tell bool) {
	if tell {
		p := verto.ServerCallParams{Cause: why.text, CauseCode: why.code}
		if !l.fs {
			p.SIPCode, p.SIPReason = why.sipCode, why.sipReason
		}
		l.send(verto.Bye, p)
	}
	l.set(func(s *CallStats) {
		s.State, s.Ended = CallEnded, time.Now()
		s.Cause, s.CauseCode, s.SIPCode = why.text, why.code, why.sipCode
	})
}

// close ends what the leg owns and forgets it. It may take as long as pion does.
func (l *leg) close() {
	l.silence()
	stopTimer(&l.detach)
	stopTimer(&l.lost)
	stopTimer(&l.coming)
	for _, p := range []*peer{l.next, l.peer} {
		if p != nil {
			p.close()
		}
	}
	l.g.removeLeg(l)
}

func stopTimer(t **time.Timer) {
	if *t != nil {
		(*t).Stop()
		*t = nil
	}
}
