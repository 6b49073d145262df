package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidetone/rtc/gateway/internal/pionlog"
	"sidetone/rtc/verto"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for what must come; quiet is for what must not.
const (
	patience = 10 * time.Second
	quiet    = 150 * time.Millisecond
)

// lab is a gateway on a socket. A login is let in as its user when the password or token is "good".
type lab struct {
	*Gateway
	*httptest.Server
}

// identityOf reads NAME, or NAME:CREDENTIAL.
func identityOf(who string) Identity {
	name, credential, _ := strings.Cut(who, ":")
	return Identity{name, name + ":" + credential}
}

func startLab(t *testing.T, change ...func(*Config)) *lab {
	t.Helper()
	c := Config{
		IP: net.IPv4(127, 0, 0, 1), ReportDir: t.TempDir(), Logger: testLogger(t),
		Authenticate: func(p verto.LoginParams) (Identity, error) {
			switch {
			case p.Password == "good":
				return identityOf(p.User), nil
			case strings.HasPrefix(p.Token, "good-"):
				return identityOf(strings.TrimPrefix(p.Token, "good-")), nil
			}
			return Identity{}, errors.New("wrong")
		},
	}
	for _, f := range change {
		f(&c)
	}
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{g, httptest.NewServer(g)}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := g.Close(ctx); err != nil {
			t.Error(err)
		}
		l.Server.Close()
	})
	return l
}

func testLogger(t *testing.T) *slog.Logger {
	if slices.Contains(os.Args, "-test.v=true") {
		return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

// wire is a raw client: it sends what it is told and keeps what comes.
type wire struct {
	t    *testing.T
	lab  *lab
	name string // of the login
	conn *websocket.Conn
	in   chan *verto.Frame
	back []*verto.Frame // came, but was not waited for yet
	sess string

	batches atomic.Int32 // arrays of frames that came
	dialect verto.Dialect
}

func (l *lab) connect(t *testing.T) *wire {
	t.Helper()
	return l.connectTo(t, "/any/path?voice_sdk_id=x")
}

func (l *lab) connectTo(t *testing.T, path string) *wire {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(l.URL, "http")+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(verto.MaxFrame)
	w := &wire{t: t, lab: l, dialect: verto.Telnyx, conn: conn, in: make(chan *verto.Frame, 1024)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(w.in)
		for {
			_, data, err := conn.Read(context.Background())
			if err != nil {
				return
			}
			var frames []*verto.Frame
			if err := json.Unmarshal(data, &frames); err != nil { // no batch
				var f verto.Frame
				if err := json.Unmarshal(data, &f); err != nil {
					t.Errorf("the gateway sent %q: %v", data, err)
					return
				}
				frames = []*verto.Frame{&f}
			} else {
				w.batches.Add(1)
			}
			for _, f := range frames {
				w.in <- f
			}
		}
	}()
	t.Cleanup(func() { _ = conn.CloseNow(); <-done })
	return w
}

// login connects and registers.
func (l *lab) login(t *testing.T, name string) *wire {
	t.Helper()
	w := l.connect(t)
	w.register(verto.LoginParams{User: name, Password: "good"})
	return w
}

func (w *wire) register(p verto.LoginParams) {
	w.t.Helper()
	var r verto.LoginResult
	w.ask(verto.Login, p, &r)
	if r.Message != "logged in" || r.SessID == "" {
		w.t.Fatalf("login's result is %+v", r)
	}
	w.sess, w.name = r.SessID, p.User
	w.expect(verto.ClientReady)
}

func (w *wire) raw(text string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

// request sends a request in Telnyx's dialect and returns its id as JSON.
func (w *wire) request(method string, params any) string {
	w.t.Helper()
	f, err := verto.Request(uuid.NewString(), w.dialect.Method(method), params)
	if err != nil {
		w.t.Fatal(err)
	}
	b, _ := json.Marshal(f)
	w.raw(string(b))
	return string(f.ID)
}

// next is the next frame for which want is true; others are kept.
func (w *wire) next(what string, want func(*verto.Frame) bool) *verto.Frame {
	w.t.Helper()
	for i, f := range w.back {
		if want(f) {
			w.back = slices.Delete(w.back, i, i+1)
			return f
		}
	}
	limit := time.After(patience)
	for {
		select {
		case f, ok := <-w.in:
			if !ok {
				w.t.Fatalf("the socket was closed while waiting for %s", what)
			}
			if want(f) {
				return f
			}
			w.back = append(w.back, f)
		case <-limit:
			w.t.Fatalf("%s did not come; what came: %s", what, dump(w.back))
		}
	}
}

func dump(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// answer is the answer to a request.
func (w *wire) answer(id string) *verto.Frame {
	w.t.Helper()
	return w.next("the answer to "+id, func(f *verto.Frame) bool { return f.Method == "" && string(f.ID) == id })
}

// ask sends a request and reads its result.
func (w *wire) ask(method string, params, result any) {
	w.t.Helper()
	f := w.answer(w.request(method, params))
	if f.Error != nil {
		w.t.Fatalf("%s was refused: %v", method, f.Error)
	}
	if result != nil {
		if err := json.Unmarshal(f.Result, result); err != nil {
			w.t.Fatalf("result of %s: %v", method, err)
		}
	}
}

// expect waits for a request of the gateway and gives its params.
func (w *wire) expect(method string) verto.ServerCallParams {
	w.t.Helper()
	f := w.next(method, func(f *verto.Frame) bool { return f.Method == w.dialect.Method(method) })
	if (w.dialect.Name == verto.Telnyx.Name) == (f.VoiceSDKID == "") || len(f.ID) == 0 || f.ID[0] == '"' {
		w.t.Errorf("%s has id %s and voice_sdk_id %q, want an integer and a string", method, f.ID, f.VoiceSDKID)
	}
	var p verto.ServerCallParams
	if err := json.Unmarshal(f.Params, &p); err != nil {
		w.t.Fatalf("params of %s: %v", method, err)
	}
	return p
}

// none fails if the gateway sends such a request within a while.
func (w *wire) none(method string) {
	w.t.Helper()
	limit := time.After(quiet)
	for {
		select {
		case f, ok := <-w.in:
			if !ok {
				return
			}
			w.back = append(w.back, f)
		case <-limit:
			for _, f := range w.back {
				if f.Method == w.dialect.Method(method) {
					w.t.Errorf("%s came: %s", method, f.Params)
				}
			}
			return
		}
	}
}

// closed waits until the gateway has closed the socket.
func (w *wire) closed() {
	w.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case f, ok := <-w.in:
			if !ok {
				return
			}
			w.back = append(w.back, f)
		case <-limit:
			w.t.Fatal("the socket was not closed")
		}
	}
}

// bye expects a bye and compares it.
func (w *wire) bye(callID, cause string, code, sip int) {
	w.t.Helper()
	p := w.expect(verto.Bye)
	if p.CallID != callID || p.Cause != cause || p.CauseCode != code || p.SIPCode != sip {
		w.t.Errorf("bye of %s says %s %d, SIP %d; want %s: %s %d, SIP %d",
			p.CallID, p.Cause, p.CauseCode, p.SIPCode, callID, cause, code, sip)
	}
}

// phone is a client's media: a pion peer of its own, with payload types of its own.
type phone struct {
	*webrtc.PeerConnection
	t         *testing.T
	out       *track
	in        chan *rtp.Packet
	connected chan struct{}
	rtcp      chan rtcp.Packet
	runs      int // of the schedule
}

// Payload types unlike the gateway's own.
func phoneCodecs(names ...string) []webrtc.RTPCodecParameters {
	all := slices.Clone(supported)
	for i := range all {
		switch all[i].PayloadType {
		case 111:
			all[i].PayloadType = 96
		case 110:
			all[i].PayloadType = 97
		case 126:
			all[i].PayloadType = 98
		}
	}
	if len(names) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(c webrtc.RTPCodecParameters) bool {
		return !slices.Contains(names, fmt.Sprintf("%s/%d", strings.ToLower(strings.TrimPrefix(c.MimeType, "audio/")), c.ClockRate))
	})
}

func newPhone(t *testing.T, codecs ...string) *phone {
	t.Helper()
	return newPhoneVia(t, webrtc.Configuration{}, codecs...)
}

// newPhoneVia makes a phone that uses the ICE servers and the policy given.
func newPhoneVia(t *testing.T, conf webrtc.Configuration, codecs ...string) *phone {
	t.Helper()
	engine := &webrtc.MediaEngine{}
	for _, c := range phoneCodecs(codecs...) {
		if err := engine.RegisterCodec(c, webrtc.RTPCodecTypeAudio); err != nil {
			t.Fatal(err)
		}
	}
	s := webrtc.SettingEngine{LoggerFactory: pionlog.Factory{Logger: slog.New(slog.DiscardHandler)}}
	s.SetIncludeLoopbackCandidate(true)
	s.SetIPFilter(net.IP.IsLoopback)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetHostAcceptanceMinWait(0)
	s.SetPrflxAcceptanceMinWait(0)
	s.SetRelayAcceptanceMinWait(0)
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithSettingEngine(s),
		webrtc.WithInterceptorRegistry(&interceptor.Registry{})).NewPeerConnection(conf)
	if err != nil {
		t.Fatal(err)
	}
	p := &phone{PeerConnection: pc, t: t, out: newTrack(), in: make(chan *rtp.Packet, 4096), connected: make(chan struct{}),
		rtcp: make(chan rtcp.Packet, 1024)}
	sender, err := pc.AddTrack(p.out)
	if err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	reports := func(read func() ([]rtcp.Packet, interceptor.Attributes, error)) {
		for {
			packets, _, err := read()
			if err != nil {
				return
			}
			for _, r := range packets {
				offer(p.rtcp, r)
			}
		}
	}
	readers.Go(func() { reports(sender.ReadRTCP) })
	var once sync.Once
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(p.connected) })
		}
	})
	pc.OnTrack(func(remote *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
		readers.Go(func() { reports(r.ReadRTCP) })
		for {
			pkt, _, err := remote.ReadRTP()
			if err != nil {
				return
			}
			p.in <- pkt
		}
	})
	t.Cleanup(func() { _ = pc.GracefulClose(); readers.Wait() })
	return p
}

func (p *phone) local(d webrtc.SessionDescription, err error) string {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(p.PeerConnection)
	if err := p.SetLocalDescription(d); err != nil {
		p.t.Fatal(err)
	}
	<-gathered
	return p.LocalDescription().SDP
}

func (p *phone) offer() string { p.t.Helper(); return p.local(p.CreateOffer(nil)) }

func (p *phone) remote(kind webrtc.SDPType, sdp string) {
	p.t.Helper()
	if err := p.SetRemoteDescription(webrtc.SessionDescription{Type: kind, SDP: sdp}); err != nil {
		p.t.Fatalf("remote SDP: %v\n%s", err, sdp)
	}
}

func (p *phone) accept(offer string) string {
	p.t.Helper()
	p.remote(webrtc.SDPTypeOffer, offer)
	return p.local(p.CreateAnswer(nil))
}

func (p *phone) wait() {
	p.t.Helper()
	select {
	case <-p.connected:
	case <-time.After(patience):
		p.t.Fatal("media did not connect")
	}
}

// rtp is a packet as a test writes it down.
type sent struct {
	codec   codec
	seq     uint16
	stamp   uint32
	marker  bool
	payload string
}

func (p *phone) send(s sent) {
	p.t.Helper()
	var q packet
	q.codec, q.SequenceNumber, q.Timestamp, q.Marker, q.Payload = s.codec, s.seq, s.stamp, s.marker, []byte(s.payload)
	if !p.out.write(&q) {
		p.t.Fatalf("%s was not negotiated", s.codec.mime)
	}
}

// receive is the next packet.
func (p *phone) receive() *rtp.Packet {
	p.t.Helper()
	select {
	case pkt := <-p.in:
		return pkt
	case <-time.After(patience):
		p.t.Fatal("no packet came")
		return nil
	}
}

// codecOf tells what a packet of the gateway is, by the payload types that were negotiated.
func (p *phone) codecOf(pkt *rtp.Packet) codec {
	for c, number := range p.out.bound.Load().types {
		if number == pkt.PayloadType {
			return c
		}
	}
	return codec{}
}

func dialog(callID, destination string) verto.DialogParams {
	return verto.DialogParams{CallID: callID, DestinationNumber: destination, CallerIDName: "Lobby", CallerIDNumber: "+15550100", Audio: true}
}

// dial calls a destination and gives the call's id.
func (w *wire) dial(destination, sdp string) string {
	w.t.Helper()
	id := uuid.NewString()
	var r verto.CallResult
	w.ask(verto.Invite, verto.ClientCallParams{SessID: w.sess, SDP: sdp, Dialog: dialog(id, destination)}, &r)
	if r.Message != "CALL CREATED" || r.CallID != id || r.SessID != w.sess {
		w.t.Fatalf("invite's result is %+v", r)
	}
	return id
}

// up waits until the gateway's end of a call's media is up: what comes before is lost.
func (w *wire) up(callID string) {
	w.t.Helper()
	select {
	case <-w.lab.leg(w.name, callID).port.up:
	case <-time.After(patience):
		w.t.Fatal("the gateway's media did not connect")
	}
}

// selected waits until both ends of a call's media have a way, which an ICE restart takes from them.
func (w *wire) selected(callID string, p *phone) {
	w.t.Helper()
	gateway := w.lab.leg(w.name, callID).port.current.Load().pc
	for limit := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		found := 0
		for _, pc := range []*webrtc.PeerConnection{p.PeerConnection, gateway} {
			if pair, err := pc.GetSenders()[0].Transport().ICETransport().GetSelectedCandidatePair(); err == nil && pair != nil {
				found++
			}
		}
		switch {
		case found == 2:
			return
		case time.Now().After(limit):
			w.t.Fatal("no way was found")
		}
	}
}

func (w *wire) hangUp(callID, cause string, code int) {
	w.t.Helper()
	var r verto.CallResult
	w.ask(verto.Bye, verto.ClientCallParams{SessID: w.sess, Cause: cause, CauseCode: code, Dialog: dialog(callID, "")}, &r)
	if r.Message != "CALL ENDED" || r.CallID != callID {
		w.t.Errorf("bye's result is %+v", r)
	}
}

// call calls a built-in destination and waits for media.
func (w *wire) call(destination string, p *phone) string {
	w.t.Helper()
	id := w.dial(destination, p.offer())
	w.expect(verto.Ringing)
	p.remote(webrtc.SDPTypeAnswer, w.expect(verto.Media).SDP)
	if a := w.expect(verto.Answer); a.SDP != "" || a.CallID != id {
		w.t.Errorf("answer has SDP %q and call %s", a.SDP, a.CallID)
	}
	p.wait()
	w.up(id)
	return id
}

// stats waits until the client's stats are as wanted.
func (l *lab) stats(t *testing.T, name, what string, want func(ClientStats) bool) ClientStats {
	t.Helper()
	limit := time.Now().Add(patience)
	for {
		s := l.Stats().Clients[name]
		if want(s) {
			return s
		}
		if time.Now().After(limit) {
			t.Fatalf("stats of %s never showed %s: %s", name, what, dump(s))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// ended waits until a client's calls are over.
func (l *lab) ended(t *testing.T, name string) CallStats {
	t.Helper()
	s := l.stats(t, name, "an ended call", func(s ClientStats) bool {
		return len(s.Calls) > 0 && s.Calls[len(s.Calls)-1].State == CallEnded
	})
	return s.Calls[len(s.Calls)-1]
}
