package gateway

import (
	"errors"
	"time"

	"sidetone/rtc/verto"

	"github.com/pion/webrtc/v4"
)

const (
	mediaTimeout  = 15 * time.Second // for media that failed to come back, by an ICE restart
	closedGrace   = 2 * time.Second  // for the bye of a client that closed its media
	attachTimeout = 15 * time.Second // for the media that a client brings after an attach
)

// candidate came by trickle.
func (c *call) candidate(l *leg, p verto.ClientCallParams) {
	c.g.saw(l, p.Candidate)
	to := l.next
	if to == nil {
		to = l.peer
	}
	if to == nil {
		return
	}
	init := webrtc.ICECandidateInit{Candidate: p.Candidate, SDPMid: p.SDPMid, SDPMLineIndex: p.SDPMLineIndex}
	if err := to.addCandidate(init); err != nil {
		c.g.log.Debug("candidate refused", "client", l.client.name, "call", l.id, "err", err)
	}
}

// renew answers an ICE restart.
func (c *call) renew(l *leg, offer string) (string, error) {
	if !l.answered {
		return "", errors.New("the call is not answered")
	}
	c.g.saw(l, candidateLines(offer)...)
	return l.peer.restart(offer)
}

// mediaState follows the leg's peer connections.
func (c *call) mediaState(l *leg, p *peer, s webrtc.PeerConnectionState) {
	p.state = s
	switch {
	case l.gone:
		return
	case p == l.next && s == webrtc.PeerConnectionStateConnected:
		l.takeOver()
	case p == l.next && (s == webrtc.PeerConnectionStateFailed || s == webrtc.PeerConnectionStateClosed):
		l.dropNext()
	case p != l.peer:
		return
	}
	if s == webrtc.PeerConnectionStateConnected {
		stopTimer(&l.lost)
		l.port.connected()
		return
	}
	c.watch(l)
}

// watch ends the call when the leg's media has gone and does not come back. Without its socket the client may come back
// with new media for as long as the call is kept (see detached).
func (c *call) watch(l *leg) {
	if !l.present() {
		return
	}
	wait := time.Duration(0)
	switch l.peer.state {
	case webrtc.PeerConnectionStateFailed:
		wait = mediaTimeout
	case webrtc.PeerConnectionStateClosed: // by the client: we close when the call has ended
		if wait = closedGrace; l.next != nil {
			wait = mediaTimeout // it left this one for the next
		}
	}
	if wait > 0 {
		stopTimer(&l.lost)
		l.lost = time.AfterFunc(wait, func() { c.post(func() { c.end(recoveryExpired, nil) }) })
	}
}

// detached is told when the leg's socket went away.
func (c *call) detached(l *leg) {
	switch {
	case l.gone, l.present(): // or it came back
	case l.answered:
		l.dropNext()
		stopTimer(&l.lost)
		stopTimer(&l.detach)
		l.detach = time.AfterFunc(c.g.cfg.DetachTimeout, func() { c.post(func() { c.end(recoveryExpired, l) }) })
	default:
		c.abandoned(l)
	}
}

// attached is told when the client came back on another socket: it is offered new media. What it has goes on until that
// is up.
func (c *call) attached(l *leg) {
	if l.gone {
		return
	}
	if !l.answered {
		c.abandoned(l)
		return
	}
	stopTimer(&l.detach)
	l.dropNext()
	next, err := l.newPeer()
	var sdp string
	if err == nil {
		l.next = next
		sdp, err = next.offer(l.peer.codecs())
	}
	if err != nil {
		c.g.log.Error("no offer of new media", "client", l.client.name, "call", l.id, "err", err)
		l.dropNext()
		return
	}
	name, direction := c.calleeName, outbound
	if l != c.caller {
		name, direction = c.callerName, inbound
	}
	p := verto.ServerCallParams{
		SDP: sdp, CallerIDName: name, CallerIDNumber: name, CalleeIDName: l.client.name, CalleeIDNumber: l.client.name,
		DisplayDirection: direction,
	}
	if l.fs {
		l.attachFreeSWITCH(p)
	} else {
		p.Dialog = &verto.DialogParams{CallID: l.id, Audio: true}
		l.send(verto.Attach, p)
	}
	l.coming = time.AfterFunc(attachTimeout, func() { c.post(l.dropNext) })
	c.watch(l)
}

// attachedBy takes the client's answer to an attach. The call goes on unheld, as the client has it.
func (c *call) attachedBy(l *leg, sdp string) error {
	if l.next == nil {
		return errors.New("nothing was offered")
	}
	c.g.saw(l, candidateLines(sdp)...)
	if err := l.next.setAnswer(sdp); err != nil {
		l.dropNext()
		return err
	}
	c.hold(l, false)
	return nil
}
