package call

import (
	"context"
	"errors"
	"time"

	"sidetone/rtc/quality"
)

// candidate is a trickled ICE candidate; an empty one of ours is the last.
type candidate struct {
	candidate, mid string
	mline          uint16
}

// session is one media session of a call, and the worker that alone touches it. The other fields are the owner's.
type session struct {
	*worker
	media Media // the worker's; nil until made, and when it could not be

	closing   bool
	connected bool
	sampling  bool
	badSince  time.Time // disconnected; zero while it is not
	flow      flow
	// pathChanges is how often its media had taken another path, by the last sample; the first counts.
	pathChanges uint32

	theirs      []candidate // that came before media could take them
	describable bool        // media has, or is about to have, the far side's description
	ours        []candidate // that came before our description went out
	described   bool        // our description is on its way
}

// newSession begins a session; its media is made by what is done first.
func (m *Manager) newSession(c *live) *session {
	s := &session{worker: startWorker(&m.workers), theirs: c.early}
	c.early = nil
	c.sessions = append(c.sessions, s)
	return s
}

// openMedia makes the media of a session and has it describe itself.
func (m *Manager) openMedia(c *live, s *session, info Info, try int, describe func(Media) (string, error), good, bad InputKind) {
	s.do(func() {
		media, err := m.cfg.NewMedia(c.ctx, info, func(e MediaEvent) { m.inbox.put(func() { m.mediaEvent(c, s, e) }) })
		if err != nil {
			m.failed(c, Input{Kind: OnMediaError, Err: err, Try: try})
			return
		}
		s.media = media
		if info.Muted {
			media.Mute(true)
		}
		if info.Deaf {
			media.Deaf(true)
		}
		if info.State == Held || info.holdAgain {
			media.Hold(true)
		}
		sdp, err := describe(media)
		if err != nil {
			m.failed(c, Input{Kind: bad, Err: err, Try: try})
			return
		}
		m.post(c, Input{Kind: good, SDP: sdp, Try: try})
	})
}

// failed makes a step of media that did not come about, and tells the code of its error.
func (m *Manager) failed(c *live, in Input) {
	m.inbox.put(func() {
		var coded *quality.Error
		if errors.As(in.Err, &coded) && c.info.State < Hangup {
			m.tell(c, coded.Code)
		}
		m.step(c, in)
	})
}

// with does something to the media of all sessions that the call has.
func (c *live) with(f func(Media)) {
	for _, s := range c.sessions {
		if !s.closing {
			s.do(func() {
				if s.media != nil {
					f(s.media)
				}
			})
		}
	}
}

// closeSession ends a session. That it does not take for ever is the end timer's business.
func (m *Manager) closeSession(c *live, s *session) {
	if s == nil || s.closing {
		return
	}
	s.closing = true
	id, last := c.info.ID, c.measured && s == c.media
	s.do(func() {
		if s.media != nil {
			if last {
				sample := s.media.Sample()
				m.inbox.put(func() { m.collect(c, s, sample) })
			}
			if err := s.media.Close(); err != nil {
				m.log.Warn("media did not close well", "call_id", id, "err", err)
			}
		}
		m.inbox.put(func() { m.closed(c, s) })
	})
	s.end()
}

// closed forgets a session. The last one at the end of a call is told to the machine.
func (m *Manager) closed(c *live, s *session) {
	for i, have := range c.sessions {
		if have == s {
			c.sessions = append(c.sessions[:i], c.sessions[i+1:]...)
			break
		}
	}
	if len(c.sessions) == 0 && c.info.State == Hangup {
		m.step(c, Input{Kind: OnMediaClosed})
	}
}

// useFresh makes the fresh session the call's. What was goes when the fresh one is connected, or soon at any rate.
func (m *Manager) useFresh(c *live) {
	m.retire(c)
	old := c.media
	c.media, c.fresh = c.fresh, nil
	if old != nil {
		// Counters may go on from those of the old one: what it received is no proof.
		c.media.flow = flow{in: old.flow.in, out: old.flow.out, captured: old.flow.captured}
		c.retired = old
		c.retireAt = time.Now().Add(retireAfter)
	}
	if c.media.connected {
		m.retire(c)
		m.post(c, Input{Kind: OnConnected})
	}
}

func (m *Manager) retire(c *live) {
	m.closeSession(c, c.retired)
	c.retired, c.retireAt = nil, time.Time{}
}

func (m *Manager) mediaEvent(c *live, s *session, e MediaEvent) {
	if s.closing || c.info.State >= Hangup {
		return
	}
	m.mark(c, e)
	switch e.Kind {
	case MediaConnected:
		s.connected, s.badSince = true, time.Time{}
	case MediaCandidate:
		m.trickle(c, s, candidate{e.Candidate, e.SDPMid, e.SDPMLineIndex})
	case MediaEndOfCandidates:
		m.trickle(c, s, candidate{})
	case MediaWarning:
		m.tell(c, e.Code)
	case MediaFailed:
		if s == c.fresh {
			m.step(c, Input{Kind: OnMediaError, Err: e.Err, Try: c.info.try})
		}
	}
	if s != c.media {
		return
	}
	switch e.Kind {
	case MediaConnected:
		m.retire(c)
		m.step(c, Input{Kind: OnConnected})
	case MediaDisconnected:
		s.flow.base = true
		if s.badSince.IsZero() {
			s.badSince = time.Now().Add(disconnectPatience)
		}
		m.step(c, Input{Kind: OnDisconnected})
	case MediaFailed:
		s.flow.base = true
		s.badSince = time.Now().Add(badAgain)
		m.step(c, Input{Kind: OnMediaFailed, Err: e.Err})
	case MediaDigit:
		m.step(c, Input{Kind: OnDigit, Digits: e.Digit})
	}
}

// sample measures, unless media is still at it since the last time.
func (m *Manager) sample(c *live) {
	s := c.media
	if s == nil || s.sampling || s.closing {
		return
	}
	s.sampling = true
	s.do(func() {
		if s.media == nil {
			return
		}
		sample := s.media.Sample()
		m.inbox.put(func() {
			s.sampling = false
			m.collect(c, s, sample)
			m.watch(c, s)
		})
	})
}

// addCandidate passes a candidate of the far side on, as soon as media can take it.
func (c *live) addCandidate(cand candidate) {
	s := c.fresh
	if s == nil {
		s = c.media
	}
	switch {
	case c.info.State >= Hangup:
	case s == nil:
		if len(c.early) < maxCandidates {
			c.early = append(c.early, cand)
		}
	case !s.describable:
		if len(s.theirs) < maxCandidates {
			s.theirs = append(s.theirs, cand)
		}
	default:
		s.addCandidate(cand)
	}
}

func (s *session) addCandidate(cand candidate) {
	s.do(func() {
		if taker, ok := s.media.(interface {
			AddCandidate(candidate, mid string, mline uint16) error
		}); ok {
			_ = taker.AddCandidate(cand.candidate, cand.mid, cand.mline) // one less; the others may do
		}
	})
}

// flushTheirs is called when the job that gives media the far side's description has been queued.
func (s *session) flushTheirs() {
	s.describable = true
	for _, cand := range s.theirs {
		s.addCandidate(cand)
	}
	s.theirs = nil
}

// trickle sends a candidate of ours, after the description that it belongs to.
func (m *Manager) trickle(c *live, s *session, cand candidate) {
	if !s.described {
		if len(s.ours) <= maxCandidates {
			s.ours = append(s.ours, cand)
		}
		return
	}
	info := c.info
	c.line.do(func() {
		ctx, cancel := context.WithTimeout(c.ctx, requestTimeout)
		defer cancel()
		var err error
		if cand == (candidate{}) {
			err = m.cfg.Line.EndOfCandidates(ctx, info)
		} else {
			err = m.cfg.Line.Candidate(ctx, info, cand.candidate, cand.mid, cand.mline)
		}
		if err != nil {
			m.log.Debug("a candidate was not sent", "call_id", info.ID, "err", err)
		}
	})
}

// flushOurs is called when the request with our description has been queued.
func (m *Manager) flushOurs(c *live, s *session) {
	if s == nil {
		return
	}
	s.described = true
	for _, cand := range s.ours {
		m.trickle(c, s, cand)
	}
	s.ours = nil
}
