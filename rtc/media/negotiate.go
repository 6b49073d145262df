package media

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// Offer gathers candidates and gives our SDP offer. It returns as soon as the offer is of use, after 1.5 s with what there
// is, and with ErrNoCandidates when there is nothing to offer. With Trickle it returns at once.
func (s *Session) Offer(ctx context.Context) (string, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	offer, err := s.pc.CreateOffer(nil)
	if err != nil {
		return "", s.failure("make the SDP offer", err)
	}
	return s.local(ctx, offer)
}

// Restart begins an ICE restart: it gathers from the network as it is now, and gives the SDP offer to send (modify with
// action updateMedia). Its answer goes to SetAnswer. Until then no sound flows. A restart whose answer never came may be
// followed by another, and so may one that found no candidate (ErrNoCandidates).
func (s *Session) Restart(ctx context.Context) (string, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.pc.CurrentRemoteDescription() == nil {
		return "", errors.New("media: ICE cannot restart before it began: there is no SDP of the far side yet")
	}
	if err := s.settle(); err != nil {
		return "", err
	}
	if err := s.again(ctx); err != nil {
		return "", err
	}
	offer, err := s.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		return "", s.failure("make the SDP offer of an ICE restart", err)
	}
	s.expectSDP()
	return s.local(ctx, offer)
}

// settle ends an offer of ours whose answer never came, so that another can be made or answered. pion cannot roll back
// (RFC 8829, section 4.1.10.2), so what the far side said last is taken for its answer.
func (s *Session) settle() error {
	offer, last := s.pc.PendingLocalDescription(), s.pc.CurrentRemoteDescription()
	if offer == nil || last == nil {
		return nil
	}
	answer, err := NormalizeAnswer(last.SDP, offer.SDP)
	if err != nil {
		return err
	}
	return s.setRemote(webrtc.SDPTypeAnswer, answer)
}

// freshTime is how long a restart waits for fresh TURN credentials.
const freshTime = 2 * time.Second

// again makes ready for another round of gathering: pion would look at the interfaces of the call's start, and ask TURN
// servers with the passwords of then.
func (s *Session) again(ctx context.Context) error {
	if err := s.net.refresh(); err != nil {
		return err
	}
	if s.cfg.Fresh != nil {
		ctx, cancel := context.WithTimeout(ctx, freshTime)
		fresh := s.cfg.Fresh(ctx)
		cancel()
		s.pionLog.hide(fresh)
		c := s.pc.GetConfiguration()
		c.ICEServers, c.ICECandidatePoolSize = s.plan.renewed(fresh), 0 // 0: as it is
		if err := s.pc.SetConfiguration(c); err != nil {
			return s.failure("take fresh TURN credentials", err)
		}
	}
	s.gather.again()
	return nil
}

// Answer gives our SDP answer to the far side's offer, as Offer does. A later offer may restart ICE. The errors of
// NormalizeOffer say what is wrong with an offer.
func (s *Session) Answer(ctx context.Context, offer string) (string, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	offer, refused, err := soundOnly(offer)
	if err != nil {
		return "", err
	}
	if offer, err = NormalizeOffer(offer); err != nil {
		return "", err
	}
	if err := s.settle(); err != nil { // offers crossed: theirs counts
		return "", err
	}
	if s.pc.CurrentRemoteDescription() == nil {
		wanted, err := s.wanted()
		if err != nil {
			return "", err
		}
		best, err := pick(wanted, audioOf(offer))
		if err != nil {
			return "", err
		}
		s.track.only(best)
		if err := s.prefer([]webrtc.RTPCodecParameters{best}); err != nil {
			return "", s.failure("choose a codec", err)
		}
	} else if was := s.pc.CurrentRemoteDescription(); userOf(was.SDP) != userOf(offer) {
		if err := s.again(ctx); err != nil {
			return "", err
		}
	}
	if err := s.setRemote(webrtc.SDPTypeOffer, offer); err != nil {
		return "", err
	}
	s.mu.Lock()
	s.refused = refused
	s.mu.Unlock()
	answer, err := s.pc.CreateAnswer(nil)
	if err != nil {
		return "", s.failure("make the SDP answer", err)
	}
	return s.local(ctx, answer)
}

// local applies our description, waits until it is of use, and gives it as it may be sent.
func (s *Session) local(ctx context.Context, d webrtc.SessionDescription) (string, error) {
	if err := s.pc.SetLocalDescription(d); err != nil {
		return "", s.failure("apply our SDP", err)
	}
	if d.Type == webrtc.SDPTypeAnswer {
		s.agreed(s.pc.CurrentRemoteDescription().SDP)
	}
	s.gather.begin()
	if !s.cfg.Trickle {
		if err := s.gather.wait(ctx, s.done); err != nil {
			return "", err
		}
		s.gather.take()
	}
	out := s.pc.LocalDescription()
	if out == nil {
		return "", ErrClosed
	}
	return s.wire(out)
}

// wire gives our description as the far side may see it.
func (s *Session) wire(d *webrtc.SessionDescription) (string, error) {
	p, err := parse(d.SDP)
	if err != nil {
		return "", err
	}
	for _, m := range p.MediaDescriptions {
		switch {
		case s.cfg.Trickle:
			m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
				return a.Key == sdp.AttrKeyCandidate || a.Key == sdp.AttrKeyEndOfCandidates
			})
		case s.policy == PolicyRelay:
			relayedOnly(m)
		}
		if d.Type == webrtc.SDPTypeAnswer && m.MediaName.Port.Value != 0 {
			s.keepRole(m)
		}
		if m.MediaName.Media == "audio" && s.cfg.BandwidthKbps > 0 {
			m.Bandwidth = []sdp.Bandwidth{{Type: "AS", Bandwidth: uint64(s.cfg.BandwidthKbps)}}
		}
	}
	if s.cfg.Trickle {
		p.Attributes = append(p.Attributes, sdp.Attribute{Key: sdp.AttrKeyICEOptions, Value: "trickle"})
	}
	s.mu.Lock()
	s.refused.put(p)
	s.mu.Unlock()
	out, err := p.Marshal()
	return string(out), err
}

// keepRole: who is who in DTLS is settled once for a connection (RFC 8842, section 5.5); pion's answers to later offers
// forget it.
func (s *Session) keepRole(m *sdp.MediaDescription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.setup == "" {
		s.setup, _ = m.Attribute(sdp.AttrKeyConnectionSetup)
		return
	}
	setAttribute(m, sdp.AttrKeyConnectionSetup, s.setup)
}

// SetAnswer applies the far side's answer to our offer. Exactly one counts: a second is ignored.
func (s *Session) SetAnswer(answer string) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	offer := s.pc.PendingLocalDescription()
	if offer == nil {
		if s.pc.CurrentRemoteDescription() != nil {
			s.log.Debug("media: a second SDP answer was ignored")
			return nil
		}
		return errors.New("media: an SDP answer came without an offer of ours")
	}
	answer, _, err := soundOnly(answer)
	if err != nil {
		return err
	}
	if answer, err = NormalizeAnswer(answer, offer.SDP); err != nil {
		return err
	}
	if err := s.setRemote(webrtc.SDPTypeAnswer, answer); err != nil {
		return err
	}
	s.mu.Lock()
	if role, _ := audioOf(answer).Attribute(sdp.AttrKeyConnectionSetup); s.setup == "" && role == "active" {
		s.setup = "passive"
	} else if s.setup == "" {
		s.setup = "active"
	}
	s.mu.Unlock()
	s.agreed(answer)
	return nil
}

// agreed tells which codec was agreed, before any packet can go or come.
func (s *Session) agreed(remote string) {
	if _, codec, _, ok := s.track.bound(); ok {
		s.codecs.sending(codec, audioOf(remote))
	}
}

func (s *Session) setRemote(t webrtc.SDPType, description string) error {
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: t, SDP: description}); err != nil {
		return s.failure("apply the far side's SDP", err)
	}
	s.mu.Lock()
	pending := s.pending
	s.pending, s.waiting = nil, false
	s.mu.Unlock()
	for _, c := range pending {
		if err := s.pc.AddICECandidate(c); err != nil {
			s.log.Info("media: a candidate of the far side is of no use", "candidate", c.Candidate, "err", err)
		}
	}
	return nil
}

// AddCandidate adds a trickled candidate of the far side ("candidate:…"); it may come before the far side's SDP. An empty
// one says that there are no more.
func (s *Session) AddCandidate(candidate, mid string, mline uint16) error {
	if candidate == "" || !usableCandidate(candidate) {
		return nil
	}
	c := webrtc.ICECandidateInit{Candidate: candidate, SDPMid: &mid, SDPMLineIndex: &mline}
	s.mu.Lock()
	if s.waiting {
		defer s.mu.Unlock()
		if len(s.pending) == maxPending {
			return fmt.Errorf("media: %d candidates came before any SDP; this one is dropped", maxPending)
		}
		s.pending = append(s.pending, c)
		return nil
	}
	s.mu.Unlock()
	if err := s.pc.AddICECandidate(c); err != nil {
		return s.failure("add a candidate", err)
	}
	return nil
}

// expectSDP: candidates that come now are of an SDP still to come.
func (s *Session) expectSDP() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = true
}

// audioOf is the first audio section of a description that normalize let through.
func audioOf(description string) *sdp.MediaDescription {
	d, err := parse(description)
	if err == nil {
		for _, m := range d.MediaDescriptions {
			if m.MediaName.Media == "audio" && m.MediaName.Port.Value != 0 {
				return m
			}
		}
	}
	return &sdp.MediaDescription{}
}

// userOf is the ICE user and password of a description's audio: another pair means that ICE restarts (RFC 8839, 4.4.1.1.1).
func userOf(description string) [2]string {
	d, err := parse(description)
	if err != nil {
		return [2]string{}
	}
	m := audioOf(description)
	user, _ := attribute(d, m, "ice-ufrag")
	password, _ := attribute(d, m, "ice-pwd")
	return [2]string{user, password}
}
