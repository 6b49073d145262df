package gateway

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sidetone/rtc/gateway/internal/pionlog"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// gatherLimit bounds the wait for host candidates, which takes milliseconds.
const gatherLimit = time.Second

// peerFactory makes peer connections that all have the same settings.
type peerFactory struct {
	codecs       []webrtc.RTPCodecParameters
	media        *webrtc.MediaEngine
	interceptors *interceptor.Registry
	settings     webrtc.SettingEngine
	listen       net.IP
	fs           bool // as FreeSWITCH does it
}

func newPeerFactory(c Config, codecs []webrtc.RTPCodecParameters) (*peerFactory, error) {
	engine := &webrtc.MediaEngine{}
	for _, p := range codecs {
		if err := engine.RegisterCodec(p, webrtc.RTPCodecTypeAudio); err != nil {
			return nil, fmt.Errorf("gateway: codec %s: %w", p.MimeType, err)
		}
	}
	log := pionlog.Factory{Logger: c.Logger}
	// Receiver and sender reports alone: clients learn round-trip time and loss from them. No NACK: sound does not wait.
	interceptors := &interceptor.Registry{}
	receiver, err := report.NewReceiverInterceptor(report.WithReceiverLoggerFactory(log))
	if err != nil {
		return nil, fmt.Errorf("gateway: receiver reports: %w", err)
	}
	sender, err := report.NewSenderInterceptor(report.WithSenderLoggerFactory(log))
	if err != nil {
		return nil, fmt.Errorf("gateway: sender reports: %w", err)
	}
	interceptors.Add(receiver)
	interceptors.Add(sender)

	s := webrtc.SettingEngine{LoggerFactory: log}
	if err := setAddresses(&s, c.IP, c.ListenIP); err != nil {
		return nil, err
	}
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	// pion waits this long for a better pair than one of that type, by default up to 2 s for relay: clients that may
	// only relay would wait for nothing.
	s.SetHostAcceptanceMinWait(0)
	s.SetPrflxAcceptanceMinWait(20 * time.Millisecond)
	s.SetSrflxAcceptanceMinWait(20 * time.Millisecond)
	s.SetRelayAcceptanceMinWait(50 * time.Millisecond)
	return &peerFactory{codecs: codecs, media: engine, interceptors: interceptors, settings: s, listen: c.ListenIP}, nil
}

// setAddresses binds media to listen and announces it as ip.
func setAddresses(s *webrtc.SettingEngine, ip, listen net.IP) error {
	network := webrtc.NetworkTypeUDP4
	if ip.To4() == nil {
		network = webrtc.NetworkTypeUDP6
	}
	s.SetNetworkTypes([]webrtc.NetworkType{network})
	if listen.IsUnspecified() {
		s.SetIncludeLoopbackCandidate(true) // a port forwarder, or our own relay, may come by loopback
	} else {
		s.SetIPFilter(listen.Equal)
		s.SetIncludeLoopbackCandidate(listen.IsLoopback()) // pion leaves loopback out by itself
	}
	if !ip.Equal(listen) {
		if err := s.SetICEAddressRewriteRules(webrtc.ICEAddressRewriteRule{
			External: []string{ip.String()}, AsCandidateType: webrtc.ICECandidateTypeHost,
		}); err != nil {
			return fmt.Errorf("gateway: candidates cannot be announced as %s: %w", ip, err)
		}
	}
	return nil
}

// packet is an RTP packet on its way from one peer to another. It is valid during the call that it is given to.
type packet struct {
	rtp.Packet
	codec codec
}

// peer is the gateway's end of one client's peer connection. Its methods belong to the call's goroutine.
type peer struct {
	pc      *webrtc.PeerConnection
	out     *track
	port    *port // where what comes goes
	factory *peerFactory
	early   []webrtc.ICECandidateInit
	state   webrtc.PeerConnectionState // as the call was last told

	mu      sync.Mutex // guards closed against a track that comes late
	closed  bool
	readers sync.WaitGroup
}

// newPeer makes a peer of a port; state is told of its connection, from pion's goroutines.
func (f *peerFactory) newPeer(to *port, state func(*peer, webrtc.PeerConnectionState)) (*peer, error) {
	settings := f.settings
	if f.fs {
		if err := fixTransport(&settings, f.listen); err != nil {
			return nil, err
		}
	}
	pc, err := webrtc.NewAPI(
		webrtc.WithMediaEngine(f.media), webrtc.WithInterceptorRegistry(f.interceptors), webrtc.WithSettingEngine(settings),
	).NewPeerConnection(webrtc.Configuration{BundlePolicy: webrtc.BundlePolicyMaxBundle})
	if err != nil {
		return nil, fmt.Errorf("peer connection: %w", err)
	}
	p := &peer{pc: pc, out: newTrack(), port: to, factory: f}
	// pion says connected before the track can send: a peer is connected when both are so.
	var connected atomic.Bool
	p.out.onBind = func() {
		if connected.Load() {
			state(p, webrtc.PeerConnectionStateConnected)
		}
	}
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		connected.Store(s == webrtc.PeerConnectionStateConnected)
		if _, bound := p.out.sound(); bound || !connected.Load() {
			state(p, s)
		}
	})
	pc.OnTrack(func(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		// Reports of the client's side must be read for ours to tell it the round-trip time.
		p.read(func() { drain(receiver.Read) })
		p.read(func() { p.forward(remote) })
	})
	return p, nil
}

// setOffer takes the client's offer; answer answers it.
func (p *peer) setOffer(sdp string) error {
	if err := p.setRemote(webrtc.SDPTypeOffer, sdp); err != nil {
		return err
	}
	for _, t := range p.pc.GetTransceivers() {
		if t.Kind() == webrtc.RTPCodecTypeAudio {
			if len(audible(p.codecs())) == 0 {
				return errors.New("the offer has no codec that we know")
			}
			return p.addTrack()
		}
	}
	return errors.New("the offer has no sound")
}

// answer gives our answer with all candidates, with the codecs given or all that we have in common.
func (p *peer) answer(codecs []codec) (string, error) {
	if err := p.prefer(codecs); err != nil {
		return "", err
	}
	return p.local(p.pc.CreateAnswer(nil))
}

// offer gives our offer with all candidates, with the codecs given or all.
func (p *peer) offer(codecs []codec) (string, error) {
	if err := p.addTrack(); err != nil {
		return "", err
	}
	if codecs == nil && p.factory.fs {
		codecs = p.codecs()
	}
	if err := p.prefer(codecs); err != nil {
		return "", err
	}
	return p.local(p.pc.CreateOffer(nil))
}

// setAnswer takes the client's answer.
func (p *peer) setAnswer(sdp string) error {
	if err := p.setRemote(webrtc.SDPTypeAnswer, sdp); err != nil {
		return err
	}
	if len(audible(p.codecs())) == 0 {
		return errors.New("the answer has no codec that we offered")
	}
	return nil
}

// restart answers an offer that restarts ICE.
func (p *peer) restart(sdp string) (string, error) {
	if err := p.setRemote(webrtc.SDPTypeOffer, sdp); err != nil {
		return "", err
	}
	return p.local(p.pc.CreateAnswer(nil))
}

func (p *peer) setRemote(kind webrtc.SDPType, sdp string) error {
	if p.factory.fs {
		sdp = undisguise(sdp)
	}
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: kind, SDP: sdp}); err != nil {
		return fmt.Errorf("remote SDP: %w", err)
	}
	early := p.early
	p.early = nil
	for _, c := range early {
		_ = p.pc.AddICECandidate(c) // a bad candidate is one path less
	}
	return nil
}

// local applies our description and returns it once it has its candidates.
func (p *peer) local(d webrtc.SessionDescription, err error) (string, error) {
	if err != nil {
		return "", fmt.Errorf("local SDP: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(d); err != nil {
		return "", fmt.Errorf("local SDP: %w", err)
	}
	select {
	case <-gathered:
	case <-time.After(gatherLimit):
	}
	return p.pc.LocalDescription().SDP, nil
}

// addCandidate adds a trickled candidate; one that comes before the description waits for it.
func (p *peer) addCandidate(c webrtc.ICECandidateInit) error {
	if p.pc.RemoteDescription() == nil {
		if len(p.early) < maxCandidates {
			p.early = append(p.early, c)
		}
		return nil
	}
	return p.pc.AddICECandidate(c)
}

func (p *peer) addTrack() error {
	sender, err := p.pc.AddTrack(p.out)
	if err != nil {
		return fmt.Errorf("track: %w", err)
	}
	p.read(func() { drain(sender.Read) })
	return nil
}

// codecs are what both sides can do, in the client's order; before its description came, what we can.
func (p *peer) codecs() []codec {
	var out []codec
	for _, t := range p.pc.GetTransceivers() {
		for _, c := range t.Receiver().GetParameters().Codecs {
			out = append(out, codecOf(c))
		}
	}
	return out
}

// prefer restricts our description to the codecs given, of those that carry sound. DTMF is taken in any case: what the
// far side cannot take as an event, it is told by signalling.
func (p *peer) prefer(codecs []codec) error {
	if codecs == nil {
		return nil
	}
	known := p.codecs()
	sound := slices.DeleteFunc(audible(codecs), func(c codec) bool { return !slices.Contains(known, c) })
	if len(sound) == 0 {
		return errors.New("the two sides have no codec in common")
	}
	p.out.allowed.Store(&sound)
	var want []webrtc.RTPCodecParameters
	add := func(ok func(codec) bool) {
		for _, s := range p.factory.codecs {
			if c := codecOf(s); ok(c) && slices.Contains(known, c) {
				s.PayloadType = 0 // whatever number it has with this client
				want = append(want, s)
			}
		}
	}
	for _, c := range sound {
		add(func(s codec) bool { return s == c })
	}
	if !p.factory.fs || p.pc.RemoteDescription() != nil {
		add(codec.isTelephoneEvent)
	}
	for _, t := range p.pc.GetTransceivers() {
		if err := t.SetCodecPreferences(want); err != nil {
			return fmt.Errorf("codecs: %w", err)
		}
	}
	return nil
}

// read runs a reader that ends when the peer connection is closed.
func (p *peer) read(loop func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.readers.Go(loop)
}

// drain reads until the end: the interceptors look at what passes.
func drain(read func([]byte) (int, interceptor.Attributes, error)) {
	b := make([]byte, receiveMTU)
	for {
		if _, _, err := read(b); err != nil {
			return
		}
	}
}

// receiveMTU is the largest packet that comes over Ethernet.
const receiveMTU = 1500

// forward gives each packet of the client to the port.
func (p *peer) forward(remote *webrtc.TrackRemote) {
	b := make([]byte, receiveMTU)
	var pkt packet
	for {
		n, _, err := remote.Read(b)
		if errors.Is(err, webrtc.ErrCodecNotFound) {
			continue // a payload type that was not negotiated
		}
		if err != nil {
			return
		}
		number := pkt.PayloadType
		pkt.Packet = rtp.Packet{}
		if pkt.Unmarshal(b[:n]) != nil {
			continue
		}
		if pkt.codec == (codec{}) || pkt.PayloadType != number {
			pkt.codec = codecOf(remote.Codec())
		}
		p.port.came(p, &pkt)
	}
}

// close ends the connection and returns when all that reads from it has ended.
func (p *peer) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.pc.GracefulClose()
	p.readers.Wait()
}
