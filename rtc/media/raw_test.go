package media

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// rawPeer is pion without us: a far side of any shape.
type rawPeer struct {
	pc    *webrtc.PeerConnection
	track *webrtc.TrackLocalStaticRTP
	heard atomic.Int64
	last  atomic.Pointer[rtp.Packet]
	seq   uint16
}

// newRawPeer speaks these codecs and telephone events. With fixed, its ICE user and password stay over restarts, as
// FreeSWITCH's do.
func newRawPeer(t *testing.T, fixed bool, codecs ...webrtc.RTPCodecParameters) *rawPeer {
	t.Helper()
	m := &webrtc.MediaEngine{}
	for _, c := range codecs {
		must(t, m.RegisterCodec(c, webrtc.RTPCodecTypeAudio))
	}
	var se webrtc.SettingEngine
	se.SetIncludeLoopbackCandidate(true)
	se.SetInterfaceFilter(func(n string) bool {
		i, err := net.InterfaceByName(n)
		return err == nil && i.Flags&net.FlagLoopback != 0
	})
	se.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	if fixed {
		se.SetICECredentials("stays-as-it-is", "never-changes-whatever-is-asked")
	}
	p := &rawPeer{}
	var err error
	p.pc, err = webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(se)).NewPeerConnection(webrtc.Configuration{})
	must(t, err)
	t.Cleanup(func() { p.pc.GracefulClose() })
	p.track, err = webrtc.NewTrackLocalStaticRTP(codecs[0].RTPCodecCapability, "a", "b")
	must(t, err)
	sender, err := p.pc.AddTrack(p.track)
	must(t, err)
	go drain(func(b []byte) error { _, _, err := sender.Read(b); return err })
	p.pc.OnTrack(func(r *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			pkt, _, err := r.ReadRTP()
			if err != nil {
				return
			}
			p.last.Store(pkt)
			p.heard.Add(1)
		}
	})
	return p
}

func (p *rawPeer) offer(t *testing.T) string {
	t.Helper()
	o, err := p.pc.CreateOffer(nil)
	must(t, err)
	return p.local(t, o)
}

func (p *rawPeer) local(t *testing.T, d webrtc.SessionDescription) string {
	t.Helper()
	done := webrtc.GatheringCompletePromise(p.pc)
	must(t, p.pc.SetLocalDescription(d))
	<-done
	return p.pc.LocalDescription().SDP
}

func (p *rawPeer) answer(t *testing.T, offer string) string {
	t.Helper()
	must(t, p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}))
	a, err := p.pc.CreateAnswer(nil)
	must(t, err)
	return p.local(t, a)
}

func (p *rawPeer) setAnswer(t *testing.T, answer string) {
	t.Helper()
	must(t, p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}))
}

// talk sends one packet, each later than the one before by ticks.
func (p *rawPeer) talk(ticks uint32, payload []byte) {
	p.seq++
	_ = p.track.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: p.seq, Timestamp: uint32(p.seq) * ticks}, Payload: payload})
}

func raw(mime string, clock uint32, channels uint16, pt webrtc.PayloadType, fmtp string) webrtc.RTPCodecParameters {
	return webrtc.RTPCodecParameters{PayloadType: pt, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: mime, ClockRate: clock, Channels: channels, SDPFmtpLine: fmtp}}
}

// bothWays waits until a and p hear each other anew.
func bothWays(t *testing.T, a *peer, p *rawPeer) {
	t.Helper()
	ours, theirs := a.heard.count(), p.heard.Load()
	waitFor(t, "sound both ways", func() bool {
		talk(a, 1, numbers(1))
		p.talk(960, []byte{1, 2})
		return a.heard.count() > ours && p.heard.Load() > theirs
	})
}

// TestRestartAnswerKeepsOldUser: FreeSWITCH answers a restart with the user and password that it had.
func TestRestartAnswerKeepsOldUser(t *testing.T) {
	opus := raw(webrtc.MimeTypeOpus, 48000, 2, 111, "")
	a, b := newPeer(t, loopback), newRawPeer(t, true, opus)
	offer, err := a.Offer(t.Context())
	must(t, err)
	first := b.answer(t, offer)
	must(t, a.SetAnswer(first))
	a.expect(t, Connected)
	bothWays(t, a, b)
	for range 3 {
		offer, err = a.Restart(t.Context())
		must(t, err)
		answer := b.answer(t, offer)
		if userOf(answer) != userOf(first) {
			t.Fatal("this far side changes its user, so the test shows nothing")
		}
		must(t, a.SetAnswer(answer))
		a.expect(t, Connected)
		bothWays(t, a, b)
	}
	if got := strings.Count(offer, "m=audio"); got != 1 {
		t.Errorf("%d m-lines", got)
	}
}

// hooks records what a session tells of its codecs.
type hooks struct{ sends, receives atomic.Pointer[Codec] }

func (h *hooks) on(names ...string) func(*SessionConfig) {
	return func(c *SessionConfig) {
		c.Codecs = names
		c.Sends = func(c Codec) { h.sends.Store(&c) }
		c.Receives = func(c Codec) { h.receives.Store(&c) }
	}
}

var (
	rawOpus  = raw(webrtc.MimeTypeOpus, 48000, 2, 102, "stereo=1; maxaveragebitrate=30000; maxptime=40")
	rawNoFEC = raw(webrtc.MimeTypeOpus, 48000, 2, 102, "useinbandfec=0; maxptime=40")
	rawPCMU  = raw(webrtc.MimeTypePCMU, 8000, 0, 0, "")
	rawPCMA  = raw(webrtc.MimeTypePCMA, 8000, 0, 8, "")
	rawTE8   = raw(mimeTelephoneEvent, 8000, 0, 101, "0-15")
)

// TestCodecs negotiates with far sides of all kinds, both ways round, and looks at the packets on the wire.
func TestCodecs(t *testing.T) {
	for name, c := range map[string]struct {
		ours   []string
		theirs []webrtc.RTPCodecParameters
		want   string
		pt     uint8
	}{
		"all, and all":           {nil, []webrtc.RTPCodecParameters{rawOpus, rawPCMU, rawPCMA, rawTE8}, "opus", 102},
		"opus without FEC":       {nil, []webrtc.RTPCodecParameters{rawNoFEC, rawPCMU}, "opus", 102},
		"PCMU only":              {nil, []webrtc.RTPCodecParameters{rawPCMU}, "PCMU", 0},
		"PCMU with events":       {nil, []webrtc.RTPCodecParameters{rawPCMU, rawTE8}, "PCMU", 0},
		"PCMA only":              {nil, []webrtc.RTPCodecParameters{rawPCMA}, "PCMA", 8},
		"PCMA before PCMU":       {[]string{"pcma"}, []webrtc.RTPCodecParameters{rawPCMA, rawPCMU}, "PCMA", 8},
		"PCMU, which is ever on": {[]string{"opus"}, []webrtc.RTPCodecParameters{rawPCMU}, "PCMU", 0},
	} {
		for _, weOffer := range []bool{true, false} {
			if weOffer && name == "opus without FEC" {
				continue // pion itself gives up such an offer of ours
			}
			t.Run(name+map[bool]string{true: ", ours", false: ", theirs"}[weOffer], func(t *testing.T) {
				t.Parallel()
				var h hooks
				a, b := newPeer(t, loopback, h.on(c.ours...)), newRawPeer(t, false, c.theirs...)
				if weOffer {
					offer, err := a.Offer(t.Context())
					must(t, err)
					must(t, a.SetAnswer(b.answer(t, offer)))
				} else {
					answer, err := a.Answer(t.Context(), b.offer(t))
					must(t, err)
					b.setAnswer(t, answer)
				}
				told, ok := a.Codec()
				if !ok || h.sends.Load() == nil || *h.sends.Load() != told || told.Name != c.want {
					t.Fatalf("told %+v, %v", told, ok)
				}
				if !weOffer && told.PayloadType != c.pt {
					t.Errorf("payload type %d", told.PayloadType)
				}
				if !weOffer && c.want == "opus" && told.MaxPacket != 40*time.Millisecond {
					t.Errorf("maxptime %v", told.MaxPacket)
				}
				a.expect(t, Connected)
				ratio := uint32(48000) / told.ClockRate
				ours, theirs := a.heard.count(), b.heard.Load()
				waitFor(t, "sound both ways", func() bool {
					talk(a, 1, numbers(1))
					b.talk(960/ratio, []byte{1, 2})
					return a.heard.count() > ours+3 && b.heard.Load() > theirs+3
				})
				if got := h.receives.Load(); got == nil || got.Name != c.want {
					t.Errorf("receives %+v", got)
				}
				p := b.last.Load()
				if p.PayloadType != told.PayloadType {
					t.Errorf("payload type %d on the wire, %d told", p.PayloadType, told.PayloadType)
				}
				// The wire's clock: from one packet to the next, 20 ms are 160 ticks of 8 kHz.
				n := b.heard.Load()
				waitFor(t, "one more", func() bool { talk(a, 1, numbers(1)); return b.heard.Load() > n })
				q := b.last.Load()
				if step := q.Timestamp - p.Timestamp; step != uint32(q.SequenceNumber-p.SequenceNumber)*960/ratio {
					t.Errorf("%d ticks in %d packets", step, q.SequenceNumber-p.SequenceNumber)
				}
				a.heard.mu.Lock()
				in := a.heard.packets
				x, y := in[len(in)-2], in[len(in)-1]
				a.heard.mu.Unlock()
				if step := y.Timestamp - x.Timestamp; step != uint32(y.SequenceNumber-x.SequenceNumber)*960 {
					t.Errorf("%d ticks of 48 kHz came in %d packets", step, y.SequenceNumber-x.SequenceNumber)
				}
				if err := a.SendDTMF("7"); (err == nil) != (len(c.theirs) > 1 && c.theirs[len(c.theirs)-1].MimeType == mimeTelephoneEvent) {
					t.Errorf("DTMF: %v", err)
				}
			})
		}
	}
}

func TestOfferOfAnUnknownCodec(t *testing.T) {
	if _, err := NewEngine(loopback); err != nil {
		t.Fatal(err)
	}
	if err := CheckCodecs([]string{"opus", "G722"}); err == nil || !strings.Contains(err.Error(), "G722") {
		t.Errorf("%v", err)
	}
	// No rtpmap for a static payload type, and a format that nothing is said of.
	a, b := newPeer(t, loopback, new(hooks).on()), newRawPeer(t, false, rawPCMU)
	offer := strings.Replace(strings.Replace(b.offer(t), "a=rtpmap:0 PCMU/8000\r\n", "", 1), "SAVPF 0\r\n", "SAVPF 4 0 97\r\n", 1)
	answer, err := a.Answer(t.Context(), offer)
	must(t, err)
	if !strings.Contains(answer, "SAVPF 0\r\n") {
		t.Errorf("\n%s", answer)
	}
	b.setAnswer(t, answer)
	a.expect(t, Connected)
}

func TestWireClock(t *testing.T) {
	c := wireClock{ratio: 6}
	from := uint32(1<<32 - 3*960)
	last := c.wire(from)
	for i := range uint32(2000) {
		next := c.wire(from + (i+1)*960)
		if next-last != 160 {
			t.Fatalf("step %d: %d ticks", i, next-last)
		}
		last = next
	}
	if back := c.wire(from + 1999*960); last-back != 160 {
		t.Errorf("backwards: %d", last-back)
	}
}
