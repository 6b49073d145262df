package call

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"sidetone/rtc/quality"
)

// live is a call with all that belongs to it. It is the owner's.
type live struct {
	info Info
	busy bool // it came while another call was up

	ctx    context.Context // of what is asked of line and media for the call; ends with it
	cancel context.CancelFunc
	line   *worker
	keys   *worker // digits with their pauses; nil until some are sent

	media    *session    // nil until opened
	fresh    *session    // that is to take its place; nil when there is none
	retired  *session    // that was, until media is connected
	retireAt time.Time   // or until then
	sessions []*session  // all that are not closed
	early    []candidate // of the far side, that came before there was a session

	timer    Timer
	deadline time.Time // of timer; zero when none runs
	answerAt time.Time // by itself; zero: not

	offer string // the SDP of an inbound call

	nextSample time.Time // zero: not measured
	measured   bool
	collector  *quality.Collector
	nextPart   time.Time // when a part of the report is due; zero: not by time

	digitsSent chan<- error // who waits for the digits that are just being sent
	modified   func(error)  // who waits for the modify that is just being sent
	heldFor    bool         // it was put on hold because of another call, and comes back after it
}

func (m *Manager) add(info Info) *live {
	info.Created = m.cfg.Now()
	info.mayRelay = m.cfg.RelayFallback
	c := &live{info: info, collector: quality.NewCollector(m.cfg.Collector)}
	if m.cfg.FlushInterval > 0 {
		c.nextPart = time.Now().Add(m.cfg.FlushInterval)
	}
	c.ctx, c.cancel = context.WithCancel(m.ctx)
	c.line = startWorker(&m.workers)
	m.calls = append(m.calls, c)
	m.logged.Store(true)
	return c
}

func (m *Manager) remove(c *live) {
	for i, have := range m.calls {
		if have == c {
			m.calls = append(m.calls[:i], m.calls[i+1:]...)
			break
		}
	}
	if m.over = append(m.over, c.info); len(m.over) > maxOver {
		m.over = m.over[1:]
	}
	m.logged.Store(len(m.calls) > 0)
	c.cancel()
	c.line.end()
	if c.keys != nil {
		c.keys.end()
	}
	for _, s := range c.sessions {
		s.end()
	}
}

// step tells the machine and does what it says. It reports false when the machine refused.
func (m *Manager) step(c *live, in Input) bool {
	in.Time = m.cfg.Now()
	before := c.info
	next, actions := Step(before, in)
	if len(actions) == 1 && actions[0].Kind == Refuse {
		m.log.Debug("does not fit the call's state", "input", in.Kind, "call_id", before.ID, "state", before.State)
		return false
	}
	c.info = next
	switch {
	case next.State != before.State:
		m.note(c, next)
		m.emit(c, Event{Kind: StateChanged})
		if next.State == Active && slices.ContainsFunc(m.calls, func(o *live) bool { return o != c && o.info.State == Active }) {
			m.tell(c, codeSeveralActive)
		}
		if next.State == Hangup {
			c.nextSample = time.Time{}
			c.answerAt = time.Time{}
			c.cancel() // what is still being asked for the call is not wanted any more
		}
	case !next.shown().same(before.shown()):
		m.emit(c, Event{Kind: Updated})
	}
	for _, a := range actions {
		m.act(c, a)
	}
	if next.State == Hangup && before.State != Hangup && !m.leaving {
		m.freed()
	}
	return true
}

// post makes a step of what comes from another goroutine.
func (m *Manager) post(c *live, in Input) { m.inbox.put(func() { m.step(c, in) }) }

// act does one thing that the machine said.
func (m *Manager) act(c *live, a Action) {
	info := c.info // as the machine left it: workers get a copy
	switch a.Kind {
	case Arm:
		c.arm(a.Timer, m.duration(a.Timer))
	case Settle:
		m.post(c, Input{Kind: OnSettled})
	case MakeOffer:
		c.media = m.newSession(c)
		m.openMedia(c, c.media, info, a.Try, func(media Media) (string, error) { return media.Offer(c.ctx) }, OnOffered, OnMediaError)
	case MakeAnswer:
		offer := c.offer
		c.media = m.newSession(c)
		m.openMedia(c, c.media, info, a.Try, func(media Media) (string, error) { return media.Answer(c.ctx, offer) }, OnAnswerReady, OnSDPError)
		c.media.flushTheirs()
	case MakeAttach:
		c.fresh = m.newSession(c)
		m.openMedia(c, c.fresh, info, a.Try, func(media Media) (string, error) { return media.Answer(c.ctx, a.SDP) }, OnAnswerReady, OnSDPError)
		c.fresh.flushTheirs()
	case MakeRelay:
		info.Relay = true
		c.fresh = m.newSession(c)
		m.openMedia(c, c.fresh, info, a.Try, func(media Media) (string, error) { return media.Offer(c.ctx) }, OnOffered, OnMediaError)
	case MakeRestart:
		m.restart(c, a.Try)
	case UseFresh:
		m.useFresh(c)
	case DropFresh:
		m.closeSession(c, c.fresh)
		c.fresh = nil
	case ApplyAnswer:
		s := c.media
		s.flow.base = true
		s.do(func() {
			if s.media == nil {
				return
			}
			if err := s.media.SetAnswer(a.SDP); err != nil {
				m.post(c, Input{Kind: OnSDPError, Err: err, Try: a.Try})
			}
		})
		s.flushTheirs()
	case SendInvite:
		m.request(c, a.Try, func(ctx context.Context) error { return m.cfg.Line.Invite(ctx, info, a.SDP) })
		m.flushOurs(c, c.media)
	case SendAnswer:
		m.request(c, a.Try, func(ctx context.Context) error { return m.cfg.Line.Answer(ctx, info, a.SDP) })
		m.flushOurs(c, c.media)
	case SendAttach:
		m.request(c, a.Try, func(ctx context.Context) error { return m.cfg.Line.Attach(ctx, info, a.SDP) })
		m.flushOurs(c, c.fresh)
	case SendModify:
		m.modify(c, a)
	case AskLine:
		m.askLine(c, a.Try)
	case RenewLine:
		m.workers.Go(func() { m.cfg.Line.Renew(c.ctx, "the platform refused to renew the media of a call") })
	case Tell:
		m.tell(c, a.Code)
	case HoldMedia:
		c.with(func(media Media) { media.Hold(a.On) })
	case MuteMedia:
		c.with(func(media Media) { media.Mute(a.On) })
	case DeafMedia:
		c.with(func(media Media) { media.Deaf(a.On) })
	case SendBye:
		c.line.do(func() {
			ctx, cancel := context.WithTimeout(m.byeCtx, byeTimeout)
			defer cancel()
			if err := m.cfg.Line.Bye(ctx, info); err != nil {
				m.log.Info("bye was not answered; the call ends all the same", "call_id", info.ID, "err", err)
			}
			m.post(c, Input{Kind: OnByeDone})
		})
	case SendDigits:
		sent := c.digitsSent
		c.digitsSent = nil
		m.sendDigits(c, a.Digits, sent)
	case TellDigit:
		for _, d := range a.Digits {
			if strings.ContainsRune(dtmfDigits, d) {
				m.emit(c, Event{Kind: DTMF, Digit: string(d)})
			}
		}
	case Measure:
		if c.measured = true; c.nextSample.IsZero() {
			c.nextSample = time.Now() // the first one is what the second is measured from
		}
	case CloseMedia:
		for _, s := range append([]*session(nil), c.sessions...) {
			m.closeSession(c, s)
		}
		if len(c.sessions) == 0 {
			m.post(c, Input{Kind: OnMediaClosed})
		}
	case MakeReport:
		s := m.summary(c)
		m.emit(c, Event{Kind: Reported, Report: c.collector.Report(s), Last: c.collector.Last(s)})
		m.remove(c)
	}
}

// request asks the line for an invite, an answer or an attach.
func (m *Manager) request(c *live, try int, ask func(context.Context) error) {
	c.line.do(func() {
		ctx, cancel := context.WithTimeout(c.ctx, requestTimeout)
		defer cancel()
		err := ask(ctx)
		if err == nil {
			m.post(c, Input{Kind: OnTaken, Try: try})
			return
		}
		in := Input{Kind: OnRefused, Cause: TemporaryFailure, Err: err, Try: try, Unsent: errors.Is(err, ErrUnsent)}
		var refused *Refused
		if in.Unreachable = !errors.As(err, &refused); !in.Unreachable {
			in.Cause = refused.Cause
			if in.Cause == (Cause{}) {
				in.Cause = CallRejected
			}
		}
		m.post(c, in)
	})
}

// modify asks the line to change the call, and tells who waits for it when the machine knows.
func (m *Manager) modify(c *live, a Action) {
	info, done := c.info, c.modified
	c.modified = nil
	c.line.do(func() {
		ctx, cancel := context.WithTimeout(c.ctx, requestTimeout)
		defer cancel()
		r, err := m.cfg.Line.Modify(ctx, info, a.Modify, a.With)
		in := Input{Kind: OnModified, Modify: a.Modify, HoldState: r.HoldState, SDP: r.SDP, Try: a.Try}
		if err != nil {
			var refused *Refused
			in.Kind, in.Err, in.Unreachable = OnModifyFailed, err, !errors.As(err, &refused)
		}
		m.inbox.put(func() {
			m.step(c, in)
			if a.Modify == ModifyTransfer && c.info.EndedBy == ByRemote && c.info.Cause.CauseCode == NormalClearing.CauseCode {
				err = nil // the bye that it ends by has overtaken its answer
			}
			if done != nil {
				done(err)
			}
		})
	})
	if a.Modify == ModifyUpdate {
		s := c.fresh
		if s == nil {
			s = c.media
		}
		m.flushOurs(c, s)
	}
}

// restart offers new ways for the media that is.
func (m *Manager) restart(c *live, try int) {
	s := c.media
	s.described, s.describable = false, false
	c.collector.Mark("ice_restart", m.cfg.Now())
	s.do(func() {
		if s.media == nil {
			return
		}
		ctx, cancel := context.WithTimeout(c.ctx, mendTimeout)
		defer cancel()
		sdp, err := s.media.Restart(ctx)
		if err != nil {
			m.failed(c, Input{Kind: OnMediaError, Err: err, Try: try})
			return
		}
		m.post(c, Input{Kind: OnOffered, SDP: sdp, Try: try})
	})
}

// askLine probes the platform, beside what the line's worker is at: that may be what hangs.
func (m *Manager) askLine(c *live, try int) {
	m.workers.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, healthTimeout)
		defer cancel()
		in := Input{Kind: OnUnhealthy, Try: try}
		if m.cfg.Line.Healthy(ctx) {
			in.Kind = OnHealthy
		}
		m.post(c, in)
	})
}

func (m *Manager) duration(t Timer) time.Duration {
	switch t {
	case SetupTimer:
		return m.cfg.SetupTimeout
	case RingTimer:
		return m.cfg.RingTimeout
	case AnswerTimer:
		return answerTimeout
	case RecoverTimer:
		return recoverTimeout
	case MendTimer:
		return mendTimeout
	case ProveTimer:
		return proveTimeout
	case LostTimer:
		return lostTimeout
	case EndTimer:
		if m.leaving {
			return lastEnd
		}
		return endTimeout
	}
	return 0
}

func (c *live) arm(t Timer, d time.Duration) {
	c.timer, c.deadline = t, time.Time{}
	if t != NoTimer {
		c.deadline = time.Now().Add(d)
	}
}
