package gateway

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"sidetone/rtc/verto"

	"github.com/google/uuid"
	"github.com/pion/webrtc/v4"
)

const (
	callQueue     = 64               // what is posted to a call that works; more waits
	mediaTimeout  = 15 * time.Second // for media that failed to come back, by an ICE restart
	closedGrace   = 2 * time.Second  // for the bye of a client that closed its media
	attachTimeout = 15 * time.Second // for the media that a client brings after an attach
)

// call connects a client to a built-in destination, or two clients. One goroutine owns it: everything below runs
// there, post brings it there.
//
//	trying --> ringing --> active --> ended
//	   \----------\----------------------^
//
// A transfer rings other legs while the call stays active.
type call struct {
	g    *Gateway
	id   string // telnyx_session_id, the same on both sides
	in   chan func()
	done chan struct{} // closed when the call has ended

	caller  *leg        // nil: a built-in destination calls
	callee  *leg        // who answered
	ringing []*leg      // who may answer; the first one becomes callee, or caller after a transfer of the callee
	app     destination // what talks to the one leg; its run is nil between clients

	callerName, calleeName string
	offer                  verto.ClientCallParams // the caller's invite

	state   string
	ring    *time.Timer
	digit   chan string        // DTMF for app
	stopApp context.CancelFunc // ends app, which runs from the answer on
	appDone chan struct{}
	closing sync.WaitGroup // peers and legs that are closed while the call goes on
	tasks   sync.WaitGroup // goroutines between the legs; they end with quit
	quit    chan struct{}
}

func (g *Gateway) newCall() *call {
	return &call{
		g: g, id: uuid.NewString(), in: make(chan func(), callQueue), done: make(chan struct{}), state: CallTrying,
		digit: make(chan string, 32), quit: make(chan struct{}),
	}
}

// run starts the call's goroutine with its first step. Its first leg is registered, so that Close waits for it.
func (g *Gateway) run(c *call, begin func()) {
	go func() {
		defer c.release()
		begin()
		for c.state != CallEnded {
			select {
			case do := <-c.in:
				do()
			case <-g.stop:
				c.end(normalClearing, nil)
			}
		}
	}()
}

// post has do run by the call's goroutine and reports true, unless the call has ended. It may wait while the call is
// at work.
func (c *call) post(do func()) bool {
	select {
	case <-c.done:
		return false
	default:
	}
	select {
	case c.in <- do:
		return true
	case <-c.done:
		return false
	}
}

// release gives back what the call holds. What was posted is done first, for who waits for an answer.
func (c *call) release() {
	close(c.done)
	for len(c.in) > 0 {
		(<-c.in)()
	}
	stopTimer(&c.ring)
	c.endApp()
	close(c.quit)
	for _, l := range c.legs() {
		l.close()
	}
	c.tasks.Wait()
	c.closing.Wait()
	c.g.notify()
}

func (c *call) legs() []*leg {
	var legs []*leg
	for _, l := range append([]*leg{c.caller, c.callee}, c.ringing...) {
		if l != nil {
			legs = append(legs, l)
		}
	}
	return legs
}

// other is the leg at the far side; nil when that is a built-in destination, or has not answered.
func (c *call) other(l *leg) *leg {
	switch {
	case l == c.caller:
		return c.callee
	case l == c.callee:
		return c.caller
	}
	return nil
}

// connect begins a call that a client made. A wrong number is told as such, whatever the SDP is worth.
func (c *call) connect() {
	c.g.saw(c.caller, candidateLines(c.offer.SDP)...)
	if c.app = destinations[c.calleeName]; c.app.run == nil && !c.g.registered(c.calleeName) {
		c.unreachable()
		return
	}
	if why, ok := c.accept(); !ok {
		c.failLater(why)
		return
	}
	if c.app.run != nil {
		c.answerApp()
		return
	}
	switch err := c.callOut(c.calleeName, c.caller.peer.codecs(), c.offer.Dialog); {
	case err == nil:
	case errors.Is(err, ErrNotRegistered): // it left just now
		c.unreachable()
	default:
		c.fail(failure, "no leg to the callee", err)
	}
}

// unreachable ends a call to nobody.
func (c *call) unreachable() {
	if c.calleeName == "" || c.g.known(c.calleeName) {
		c.failLater(absent(c.caller))
	} else {
		c.failLater(unknown(c.caller))
	}
}

// accept takes the caller's offer; if that cannot be, it says why.
func (c *call) accept() (cause, bool) {
	if c.caller.fs && len(candidateLines(c.offer.SDP)) == 0 {
		return incompatible, false // it knows no trickle
	}
	if err := c.caller.open(); err != nil {
		c.g.log.Error("no peer connection", "err", err)
		return failure, false
	}
	if err := c.caller.peer.setOffer(c.offer.SDP); err != nil {
		c.g.log.Info("the caller's SDP is of no use", "caller", c.callerName, "err", err)
		return incompatible, false
	}
	return cause{}, true
}

// ringClient begins a call that a built-in destination makes.
func (c *call) ringClient() {
	c.invite(c.app.codecs, verto.DialogParams{})
}

// answerApp has the built-in destination answer: media carries the SDP, answer comes without.
func (c *call) answerApp() {
	sdp, err := c.caller.peer.answer(c.app.codecs)
	if err != nil {
		c.fail(incompatible, "no answer to the caller's SDP", err)
		return
	}
	c.rings()
	if c.caller.fs {
		c.caller.send(verto.Answer, verto.ServerCallParams{SDP: sdp})
	} else {
		c.caller.send(verto.Media, verto.ServerCallParams{SDP: sdp})
		c.caller.send(verto.Answer, verto.ServerCallParams{})
	}
	c.caller.answered = true
	c.startApp(c.caller)
	c.active()
}

// callOut invites a client by name, with the codecs given.
func (c *call) callOut(name string, codecs []codec, from verto.DialogParams) (err error) {
	if c.ringing, err = c.g.legsTo(name, c); err == nil {
		c.invite(codecs, from)
	}
	return err
}

// invite rings the legs in ringing, with the codecs given or all.
func (c *call) invite(codecs []codec, from verto.DialogParams) {
	name, number := from.CallerIDName, from.CallerIDNumber
	if name == "" {
		name = c.callerName
	}
	if number == "" {
		number = c.callerName
	}
	for _, l := range c.ringing {
		err := l.open()
		var sdp string
		if err == nil {
			sdp, err = l.peer.offer(codecs)
		}
		if err != nil {
			c.fail(incompatible, "no offer to the callee", err)
			return
		}
		p := verto.ServerCallParams{
			SDP: sdp, CallerIDName: name, CallerIDNumber: number, CalleeIDName: c.calleeName, CalleeIDNumber: c.calleeName,
			DisplayDirection: inbound, ClientState: from.ClientState,
		}
		if l.fs {
			l.inviteID = l.inviteFreeSWITCH(p, from)
			continue
		}
		p.Dialog = &verto.DialogParams{CallID: l.id, CustomHeaders: from.CustomHeaders, Audio: true}
		l.inviteID = l.send(verto.Invite, p)
	}
	c.rings()
	stopTimer(&c.ring)
	c.ring = time.AfterFunc(c.g.cfg.RingTimeout, func() { c.post(func() { c.unanswered() }) })
}

// unanswered is told when nobody answered in time.
func (c *call) unanswered() {
	if len(c.ringing) > 0 {
		c.end(noAnswer, nil)
	}
}

// answeredBy takes the callee's answer.
func (c *call) answeredBy(l *leg, sdp string) error {
	if !slices.Contains(c.ringing, l) || l.peer == nil {
		return errors.New("there is nothing to answer")
	}
	c.g.saw(l, candidateLines(sdp)...)
	if err := l.peer.setAnswer(sdp); err != nil {
		c.fail(incompatible, "the callee's SDP is of no use", err)
		return err
	}
	l.answered = true
	c.ringing = slices.DeleteFunc(c.ringing, func(o *leg) bool { return o == l })
	for _, loser := range c.ringing {
		c.drop(loser, loseRace, true)
	}
	c.ringing = nil
	first := c.caller
	if first == nil && c.callee == nil {
		c.callee = l
		c.startApp(l)
		c.active()
		return nil
	}
	if first != nil {
		c.callee = l
	} else { // the callee of a destination was transferred
		first, c.caller = c.callee, l
	}
	if !first.answered {
		// The caller gets those codecs alone that the callee takes: we never transcode.
		answer, err := first.peer.answer(l.peer.codecs())
		if err != nil {
			c.fail(incompatible, "no answer to the caller's SDP", err)
			return err
		}
		first.answered = true
		first.send(verto.Answer, verto.ServerCallParams{SDP: answer})
	}
	first.silence()
	c.bridge(first, l)
	c.bridge(l, first)
	c.active()
	c.tones()
	return nil
}

// rings says that the far side rings.
func (c *call) rings() {
	for _, l := range c.ringing {
		l.set(func(s *CallStats) { s.State = CallRinging })
	}
	if c.state != CallTrying {
		return
	}
	c.state = CallRinging
	if l := c.caller; l != nil {
		l.set(func(s *CallStats) { s.State = CallRinging })
		if !l.fs {
			l.send(verto.Ringing, verto.ServerCallParams{})
		}
	}
}

func (c *call) active() {
	c.state = CallActive
	stopTimer(&c.ring)
	now := time.Now()
	for _, l := range c.legs() {
		l.set(func(s *CallStats) {
			if s.State = CallActive; s.Answered.IsZero() {
				s.Answered = now
			}
		})
		if !l.present() { // its socket went while we answered
			c.detached(l)
		}
	}
}

// startApp lets the built-in destination talk to l.
func (c *call) startApp(l *leg) {
	ctx, cancel := context.WithCancel(context.Background())
	c.stopApp, c.appDone = cancel, make(chan struct{})
	line := line{
		port: l.port, voice: l.voice, digits: c.digit, log: c.g.log.With("call", l.id),
		sendDigit: func(d string) { l.send(verto.Info, verto.ServerCallParams{DTMF: d}) },
	}
	run := c.app.run
	go func() {
		defer close(c.appDone)
		run(ctx, line)
	}()
}

func (c *call) endApp() {
	if c.stopApp != nil {
		c.stopApp()
		<-c.appDone
		c.stopApp = nil
	}
}

// bridge forwards what comes from one leg to the other.
func (c *call) bridge(from, to *leg) {
	if from.fs {
		from.port.route(c.buffered(to))
		return
	}
	var keys digitDetector
	from.port.route(func(p *packet) {
		if to.fs && p.codec.isTelephoneEvent() || to.voice.pass(p) || !p.codec.isTelephoneEvent() {
			return
		}
		// The far side has no telephone-event: tell it by signalling.
		if d := keys.digit(p); d != "" {
			c.post(func() { to.send(verto.Info, verto.ServerCallParams{DTMF: d}) })
		}
	})
}

// digits came by signalling.
func (c *call) digits(l *leg, dtmf string) {
	to := c.other(l)
	if to != nil && l.fs && to.fs {
		return // lost on a FreeSWITCH's bridge, as measured
	}
	for _, d := range dtmf {
		if !isDigit(d) {
			continue
		}
		if to != nil {
			to.send(verto.Info, verto.ServerCallParams{DTMF: string(d)})
			continue
		}
		select {
		case c.digit <- string(d):
		default: // nobody can dial that fast
		}
	}
}

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

// hold stops sound to and from l, without any SDP; who is at the far side hears a tone meanwhile.
func (c *call) hold(l *leg, on bool) {
	l.held = on
	l.port.held.Store(on)
	c.tones()
}

// tones starts and stops the hold tone.
func (c *call) tones() {
	for _, l := range []*leg{c.caller, c.callee} {
		if l == nil || c.other(l) == nil || len(c.ringing) > 0 {
			continue
		}
		switch waits := c.other(l).held && !l.held && !l.fs; {
		case waits && l.playing == nil:
			l.play(holdTone())
		case !waits:
			l.silence()
		}
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

// abandoned is told when the client of an unanswered leg is gone: what rings does not outlive its socket.
func (c *call) abandoned(l *leg) {
	if l == c.caller {
		c.end(canceled, l)
		return
	}
	c.left(l, calleeLost)
}

// left is told when a leg that rang will not answer: others may.
func (c *call) left(l *leg, why cause) {
	if len(c.ringing) < 2 || !slices.Contains(c.ringing, l) {
		c.end(why, l)
		return
	}
	c.ringing = slices.DeleteFunc(c.ringing, func(o *leg) bool { return o == l })
	c.drop(l, why, false)
}

// refused is told when the client of l answered a request of ours by an error; it matters when that was the invite.
func (c *call) refused(l *leg, request uint32) {
	if l.inviteID == request && slices.Contains(c.ringing, l) {
		c.left(l, failure)
	}
}

// drop ends one leg of a call that goes on.
func (c *call) drop(l *leg, why cause, tell bool) {
	l.gone = true
	l.port.route(nil)
	l.hangUp(why, tell)
	c.closing.Go(l.close)
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

// hungUp is told when the client of l said bye.
func (c *call) hungUp(l *leg, text string, code int) {
	switch {
	case l.gone:
	case l.answered:
		c.end(causeOf(text, code, normalClearing), l)
	case l == c.caller:
		c.end(canceled, l)
	default:
		c.left(l, causeOf(text, code, userBusy))
	}
}

func (c *call) fail(why cause, what string, err error) {
	c.g.log.Info("call failed", "caller", c.callerName, "callee", c.calleeName, "why", what, "err", err)
	c.end(why, nil)
}

// failLater ends a call that cannot be, as soon as its gateway says so.
func (c *call) failLater(why cause) {
	if !c.caller.fs {
		c.end(why, nil)
		return
	}
	c.ring = time.AfterFunc(failureDelay, func() { c.post(func() { c.end(why, nil) }) })
}

// end ends the call: every leg but the one that ended it gets a bye.
func (c *call) end(why cause, by *leg) {
	if c.state == CallEnded {
		return
	}
	for _, l := range c.legs() {
		told := why
		if slices.Contains(c.ringing, l) && l != by && (why == noAnswer || why == normalClearing) {
			told = canceled // it did not answer: the caller gave up
		}
		l.hangUp(told, l != by)
	}
	c.state = CallEnded
}
