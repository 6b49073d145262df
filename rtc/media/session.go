package media

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/stats"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"sidetone/rtc/quality"
)

const (
	// closePatience is how long pion may take to say good-bye before its sockets are cut, and lostPatience the same when
	// nobody is there to hear it. cutPatience later Close returns no matter what: a request to a TURN server, as in an ICE
	// restart, notices the cut only when it is to be sent again.
	closePatience = 250 * time.Millisecond
	lostPatience  = 50 * time.Millisecond
	cutPatience   = 150 * time.Millisecond
	// maxPending bounds candidates that came before the far side's SDP.
	maxPending = 64
)

// Session is one call's media. All methods may be called from any goroutine.
type Session struct {
	cfg     SessionConfig
	policy  string
	log     *slog.Logger
	plan    serverPlan
	pionLog *pionLog
	pc      *webrtc.PeerConnection
	track   *outTrack
	out     *sender
	in      arrivals
	heard   sync.Once // first packet received
	gather  *gathering
	net     *sessionNet
	sockets *sockets
	streams *streams
	codecs  codecTeller
	events  *notifier
	probe   probe
	changes atomic.Uint32 // of the selected pair

	turn      sync.Mutex // one negotiation at a time
	sendable  atomic.Bool
	connected atomic.Bool // was, once
	held      atomic.Bool
	standby   atomic.Bool // another session carries the call

	mu      sync.Mutex
	state   webrtc.PeerConnectionState
	pending []webrtc.ICECandidateInit
	waiting bool // for the far side's SDP
	refused sections
	setup   string // our part in DTLS once agreed: active or passive
	closed  bool

	done   chan struct{} // closed when Close begins
	cancel context.CancelFunc
	wg     sync.WaitGroup // our goroutines but the notifier
	ended  chan struct{}  // closed when everything has ended
}

// NewSession makes the media of one call. It must be closed.
func (e *Engine) NewSession(c SessionConfig) (*Session, error) {
	if c.Policy == "" {
		c.Policy = e.cfg.Policy
	}
	if err := checkPolicy(c.Policy); err != nil {
		return nil, err
	}
	if c.Servers == nil {
		c.Servers = e.cfg.Servers
	}
	plan := planServers(c.Servers, c.Policy, e.log)
	if c.Policy == PolicyRelay && !plan.wantRelay {
		return nil, fmt.Errorf("%w: the policy is relay, and ice.servers has no TURN server that can be used", ErrNoCandidates)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Session{
		cfg: c, policy: c.Policy, log: e.log, plan: plan, sockets: &sockets{},
		events: newNotifier(c.Notify), state: webrtc.PeerConnectionStateNew,
		waiting: true,
		done:    make(chan struct{}), ended: make(chan struct{}), cancel: cancel,
	}
	s.standby.Store(c.Standby)
	s.codecs = codecTeller{sends: c.Sends, receives: c.Receives, standby: c.Standby}
	s.gather = newGathering(c.Policy, plan, c.Trickle, s.lateCandidate, func(code int) {
		s.events.put(Event{Kind: Warned, Time: time.Now(), Code: code})
	})
	if err := s.open(ctx, e); err != nil {
		cancel()
		s.events.stop()
		return nil, err
	}
	return s, nil
}

// open builds the peer connection and starts what runs beside it.
func (s *Session) open(ctx context.Context, e *Engine) error {
	wanted, err := s.wanted()
	if err != nil {
		return err
	}
	codecs, err := newMediaEngine(wanted)
	if err != nil {
		return fmt.Errorf("media: register codecs: %w", err)
	}
	interceptors, err := s.newInterceptors()
	if err != nil {
		return fmt.Errorf("media: interceptors: %w", err)
	}
	settings, err := s.newSettings(ctx, e)
	if err != nil {
		return err
	}
	s.track = &outTrack{}
	policy := webrtc.ICETransportPolicyAll
	if s.policy == PolicyRelay {
		policy = webrtc.ICETransportPolicyRelay
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(codecs), webrtc.WithInterceptorRegistry(interceptors), webrtc.WithSettingEngine(settings))
	pool := uint8(0)
	if s.cfg.Prefetch {
		pool = 1
	}
	s.pc, err = api.NewPeerConnection(webrtc.Configuration{
		ICEServers: s.plan.servers, ICETransportPolicy: policy, BundlePolicy: webrtc.BundlePolicyMaxBundle,
		ICECandidatePoolSize: pool,
	})
	if err != nil {
		return fmt.Errorf("media: peer connection: %w", err)
	}
	out, err := s.pc.AddTrack(s.track)
	if err != nil {
		s.pc.Close()
		return fmt.Errorf("media: add track: %w", err)
	}
	s.pc.OnICECandidate(s.gather.found)
	s.pc.OnConnectionStateChange(func(webrtc.PeerConnectionState) { s.follow() })
	if err := s.prefer(wanted); err != nil {
		s.pc.Close()
		return fmt.Errorf("media: order of codecs: %w", err)
	}
	out.Transport().ICETransport().OnSelectedCandidatePairChange(func(*webrtc.ICECandidatePair) { s.changes.Add(1) })
	s.probe.init(s.pc, out.Transport())

	s.out = newSender(s.track, func(now time.Time) { s.events.put(Event{Kind: FirstPacketSent, Time: now}) })
	s.streams.open = func() (*webrtc.RTPReceiver, error) {
		return api.NewRTPReceiver(webrtc.RTPCodecTypeAudio, out.Transport())
	}
	s.start(func() { s.streams.run(s) })
	s.start(func() { s.out.run(s.done) })
	s.start(func() { s.readReports(out) })
	return nil
}

// newSettings tells pion what network.md found that it must be told; each line was measured.
func (s *Session) newSettings(ctx context.Context, e *Engine) (webrtc.SettingEngine, error) {
	var se webrtc.SettingEngine
	s.pionLog = newPionLog(s.log, s.cfg.Servers)
	se.LoggerFactory = s.pionLog
	var err error
	if s.net, err = newSessionNet(s.sockets); err != nil {
		return se, err
	}
	se.SetNet(s.net)
	se.SetICEProxyDialer(&turnDialer{ctx: ctx, tls: s.plan.tls, roots: e.cfg.RootCAs, now: e.cfg.Now, sockets: s.sockets, log: s.log})
	se.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	// Else pion dials a far side's TCP candidates itself, even under the policy relay.
	se.DisableActiveTCP(true)
	// A pair that works is used at once: untold, pion holds back 2 s for relay, 1 s for prflx, 0.5 s for srflx.
	se.SetHostAcceptanceMinWait(0)
	se.SetPrflxAcceptanceMinWait(0)
	se.SetSrflxAcceptanceMinWait(0)
	se.SetRelayAcceptanceMinWait(0)
	se.SetDTLSRetransmissionInterval(200 * time.Millisecond)
	s.streams = newStreams()
	se.BufferFactory = s.streams.buffer
	se.SetHandleUndeclaredSSRCWithoutAnswer(true) // else pion peeks into a stream that is ours to read
	se.DisableMediaEngineCopy(true)               // the readers of streams are to know what was agreed
	if e.cfg.Loopback {
		se.SetIncludeLoopbackCandidate(true)
		se.SetInterfaceFilter(func(name string) bool {
			i, err := net.InterfaceByName(name)
			return err == nil && i.Flags&net.FlagLoopback != 0
		})
		se.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	}
	return se, nil
}

// newInterceptors: RTCP reports both ways, and a recorder for what the far side reports of us. No NACK: a packet that
// comes a round trip later is too late for a voice; Opus FEC and concealment do that work.
func (s *Session) newInterceptors() (*interceptor.Registry, error) {
	r := &interceptor.Registry{}
	recorder, err := stats.NewInterceptor()
	if err != nil {
		return nil, err
	}
	recorder.OnNewPeerConnection(func(_ string, g stats.Getter) { s.probe.setRecorder(g) })
	r.Add(recorder) // before the reports, so that it sees them leave
	receiver, err := report.NewReceiverInterceptor()
	if err != nil {
		return nil, err
	}
	r.Add(receiver)
	sender, err := report.NewSenderInterceptor()
	if err != nil {
		return nil, err
	}
	r.Add(sender)
	return r, nil
}

// start runs f in a goroutine that ends with the session.
func (s *Session) start(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.wg.Go(f)
}

// lateCandidate tells of our own candidates that missed the SDP.
func (s *Session) lateCandidate(c *webrtc.ICECandidate) {
	e := Event{Kind: Candidate, Time: time.Now()}
	if c != nil {
		init := c.ToJSON()
		if s.policy == PolicyRelay {
			masked, err := maskRelay(init.Candidate)
			if err != nil {
				return
			}
			init.Candidate = masked
		}
		e.Candidate = init.Candidate
		if init.SDPMid != nil {
			e.Mid = *init.SDPMid
		}
		if init.SDPMLineIndex != nil {
			e.MLine = *init.SDPMLineIndex
			s.mu.Lock()
			e.MLine += uint16(s.refused.at)
			s.mu.Unlock()
		}
	}
	s.events.put(e)
}

func (s *Session) failure(what string, err error) error {
	select {
	case <-s.done: // whatever pion says of it
		return ErrClosed
	default:
	}
	if errors.Is(err, webrtc.ErrConnectionClosed) {
		return ErrClosed
	}
	return fmt.Errorf("media: %s: %w", what, err)
}

// follow looks at the connection's state and tells what changed. pion's callbacks come in any order, so the state is
// read, not taken from them.
func (s *Session) follow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.pc.ConnectionState()
	if now == s.state || s.closed {
		return
	}
	was := s.state
	s.state = now
	e := Event{Time: time.Now()}
	switch now {
	case webrtc.PeerConnectionStateConnected:
		s.probe.dtls.State() // takes the transport's lock: returns when SRTP's keys are in place as well
		s.connected.Store(true)
		s.sendable.Store(true)
		e.Kind = Connected
	case webrtc.PeerConnectionStateDisconnected:
		e.Kind = Disconnected
	case webrtc.PeerConnectionStateFailed:
		s.sendable.Store(false)
		e.Kind, e.Err = Failed, s.whyFailed()
	default:
		return
	}
	s.log.Debug("media: connection", "was", was.String(), "is", now.String())
	s.events.put(e)
}

func (s *Session) whyFailed() error {
	if s.probe.dtls.State() == webrtc.DTLSTransportStateFailed {
		return errors.New("media: DTLS failed: the far side's certificate is not the one that its SDP promised, or it speaks no common cipher")
	}
	way := "no way to the far side was found"
	if s.connected.Load() {
		way = "the way to the far side is gone"
	}
	if s.policy == PolicyRelay {
		return fmt.Errorf("media: ICE failed: %s (policy relay: does the TURN server still answer?)", way)
	}
	return fmt.Errorf("media: ICE failed: %s (behind such a network a TURN server helps: ice.servers)", way)
}

// WriteRTP implements audio.PacketWriter: it copies p into a short queue. Sequence numbers go on across digits: those of p
// count, less what a digit displaced, and plus what a digit took.
func (s *Session) WriteRTP(p *rtp.Packet) bool {
	if !s.Ready() || len(p.Payload) == 0 || len(p.Payload) > maxPayload {
		return false
	}
	s.out.queue.push(p)
	return true
}

// Ready tells whether WriteRTP would take a packet now.
func (s *Session) Ready() bool {
	return s.sendable.Load() && !s.held.Load() && !s.standby.Load()
}

// SendDTMF sends digits (0-9, *, #, A-D) by RFC 4733, 100 ms each, one after the other and in place of the sound. It
// returns at once; ErrNoDTMF when the far side takes none, ErrNotConnected before the connection is up.
func (s *Session) SendDTMF(digits string) error {
	codes, err := checkDigits(digits)
	if err != nil {
		return err
	}
	if !s.sendable.Load() {
		return ErrNotConnected
	}
	if _, _, events, ok := s.track.bound(); !ok || events.PayloadType == 0 {
		return ErrNoDTMF
	}
	select {
	case s.out.digits <- codes:
		return nil
	default:
		return errors.New("media: too many digits are waiting")
	}
}

// Sample measures the call. It waits for pion for 100 ms at most; when pion does not answer (a dead network), what it said
// last is given again, with our own counters of now.
func (s *Session) Sample() quality.Sample { return s.sample(time.Now()) }

// Close ends the session within 400 ms, whatever the network does. No Event is told after it began, but one that is being
// told may still be running. Closing twice is fine.
func (s *Session) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.await(closePatience + cutPatience)
		return nil
	}
	s.closed = true
	patience := closePatience
	if s.state != webrtc.PeerConnectionStateConnected {
		patience = lostPatience
	}
	s.mu.Unlock()
	s.sendable.Store(false)
	s.gather.end()
	if n := s.out.queue.drops(); n > 0 {
		s.log.Info("media: the network did not take all packets in time", "dropped", n)
	}
	s.events.stop()
	close(s.done)
	s.cancel()

	go func() { // ends when pion lets go, which the cut sockets see to
		defer close(s.ended)
		s.streams.stop()
		if err := s.pc.GracefulClose(); err != nil {
			s.log.Debug("media: close", "err", err)
		}
		s.wg.Wait()
		s.probe.wait()
		s.sockets.cutAll()
	}()
	if !s.await(patience) {
		s.log.Info("media: the network does not let go; its sockets are cut")
		s.sockets.cutAll()
		if !s.await(cutPatience) {
			s.log.Info("media: the session ends in the background")
		}
	}
	return nil
}

func (s *Session) await(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.ended:
		return true
	case <-t.C:
		return false
	}
}

// notifier tells events in order from a goroutine of its own, so that nothing in pion waits for whoever listens.
type notifier struct {
	tell  func(Event)
	mu    sync.Mutex
	queue []Event
	wake  chan struct{}
	done  chan struct{}
	over  bool
}

// maxEvents bounds what a listener may be behind; a far side that floods digits gets no more.
const maxEvents = 256

func newNotifier(tell func(Event)) *notifier {
	n := &notifier{tell: tell, wake: make(chan struct{}, 1), done: make(chan struct{})}
	if tell != nil {
		go n.run()
	}
	return n
}

func (n *notifier) put(e Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over || n.tell == nil || len(n.queue) >= maxEvents {
		return
	}
	n.queue = append(n.queue, e)
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *notifier) run() {
	for {
		select {
		case <-n.done:
			return
		case <-n.wake:
		}
		for {
			n.mu.Lock()
			if n.over || len(n.queue) == 0 {
				n.mu.Unlock()
				break
			}
			e := n.queue[0]
			n.queue = slices.Delete(n.queue, 0, 1)
			n.mu.Unlock()
			n.tell(e)
		}
	}
}

func (n *notifier) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.over {
		n.over = true
		close(n.done)
	}
}
