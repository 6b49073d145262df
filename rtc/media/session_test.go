package media

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"go.uber.org/goleak"

	"sidetone/audio"
	"sidetone/rtc/quality"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSoundArrivesInOrderAndUntouched(t *testing.T) {
	a, b := newPeer(t, loopback), newPeer(t, loopback)
	if a.WriteRTP(&rtp.Packet{Payload: []byte{1}}) {
		t.Error("a packet was taken before the connection was up")
	}
	offer, _, took := call(t, a, b, nil)
	t.Logf("connected %v after the offer was asked for", took)
	if !strings.Contains(offer, "opus/48000/2") || !strings.Contains(offer, "telephone-event/48000") || strings.Contains(offer, "a=rtcp-fb") {
		t.Errorf("codecs in the offer:\n%s", offer)
	}
	const n = 60
	talk(a, n, 65500) // across the wrap
	waitFor(t, "all packets", func() bool { return b.heard.count() == n })
	var ssrc uint32
	for i, p := range b.heard.packets {
		seq := uint16(65500 + i)
		if p.SequenceNumber != seq || p.Timestamp != uint32(seq)*audio.FrameSamples || p.Marker != (i == 0) ||
			p.Payload[0] != byte(seq>>8) || p.Payload[1] != byte(seq) {
			t.Fatalf("packet %d came as %v", i, p.Header)
		}
		if i == 0 {
			ssrc = p.SSRC
		}
		if p.SSRC != ssrc || p.SSRC == 0 || p.PayloadType != 111 {
			t.Fatalf("packet %d: ssrc %d, payload type %d", i, p.SSRC, p.PayloadType)
		}
	}
	sent, got := a.expect(t, FirstPacketSent), b.expect(t, FirstPacketReceived)
	if sent.Time.IsZero() || got.Time.Before(sent.Time.Add(-time.Second)) {
		t.Errorf("first sent %v, first received %v", sent.Time, got.Time)
	}

	talk(b, 5, 10)
	waitFor(t, "sound the other way", func() bool { return a.heard.count() == 5 })
	s := b.Sample()
	if s.Inbound == nil || s.Inbound.PacketsReceived != n || s.Inbound.BytesReceived != 5*n || s.Inbound.PacketsLost != 0 ||
		s.Inbound.Jitter == nil || s.Inbound.Codec == nil || s.Inbound.Codec.MimeType != "audio/opus" ||
		s.Inbound.TotalSamplesReceived != n*audio.FrameSamples {
		t.Errorf("inbound: %+v", s.Inbound)
	}
	if s.Outbound == nil || s.Outbound.PacketsSent != 5 || s.Outbound.BytesSent != 25 || s.Outbound.Codec == nil {
		t.Errorf("outbound: %+v", s.Outbound)
	}
	p := s.Path
	if p == nil || p.Local.CandidateType != "host" || p.Local.Protocol != "udp" || p.Local.Address == "" || p.Local.Port == 0 ||
		p.RelayProtocol != "" || p.DTLSState != "connected" || p.ICEState != "connected" || p.Policy != PolicyAll || p.Changes == 0 || p.RoundTripTime == nil {
		t.Errorf("path: %+v", p)
	}
	// pion takes the strongest profile that both have; it says which only by a field of its own.
	if p.SRTPCipher != "SRTP_AEAD_AES_256_GCM" || p.TLSVersion != "FEFD" || a.Sample().Path.SRTPCipher != p.SRTPCipher {
		t.Errorf("DTLS and SRTP: %q %q", p.TLSVersion, p.SRTPCipher)
	}
	if s.Pair == nil || s.Pair.ID == "" || s.Pair.State != "succeeded" || !s.Pair.Nominated || s.Pair.ResponsesReceived == 0 || s.Pair.RequestsSent == 0 {
		t.Errorf("pair: %+v", s.Pair)
	}
	if s.Traffic == nil || s.Traffic.BytesReceived == 0 || s.Traffic.BytesSent == 0 || s.Traffic.PacketsReceived < n {
		t.Errorf("traffic: %+v", s.Traffic)
	}
	if o := s.Outbound; !o.Active || o.HeaderBytesSent < 5*12 || o.TotalPacketSendDelay <= 0 || o.Codec.CodecID == "" {
		t.Errorf("outbound: %+v, codec %+v", o, o.Codec)
	}
	waitFor(t, "the far side's sender report", func() bool {
		r := b.Sample().RemoteOutbound
		return r != nil && r.ReportsSent > 0 && r.PacketsSent >= n && !r.RemoteTimestamp.IsZero()
	})
	waitFor(t, "a round trip time from RTCP", func() bool {
		talk(a, 10, 1000)
		r := a.Sample().Remote
		return r != nil && r.RoundTripTime != nil && *r.RoundTripTime >= 0 && *r.RoundTripTime < 1
	})
}

func TestNothingIsMeasuredBeforeThereIsMedia(t *testing.T) {
	a := newPeer(t, loopback)
	if s := a.Sample(); s.Inbound != nil || s.Outbound != nil || s.Remote != nil || s.Path != nil || s.Time.IsZero() {
		t.Errorf("%+v", s)
	}
}

func TestLoopbackStaysOnLoopback(t *testing.T) {
	a := newPeer(t, loopback)
	offer, err := a.Offer(t.Context())
	must(t, err)
	found := candidates(offer)
	if len(found) == 0 {
		t.Fatal("no candidates")
	}
	for _, c := range found {
		if ip := strings.Fields(c)[4]; ip != "127.0.0.1" && ip != "::1" {
			t.Errorf("candidate off the loopback: %s", c)
		}
	}
	b := newPeer(t, Config{})
	offer, err = b.Offer(t.Context())
	if err != nil && !errors.Is(err, ErrNoCandidates) { // a machine with only lo up has none
		t.Fatal(err)
	}
	for _, c := range candidates(offer) {
		if ip := strings.Fields(c)[4]; strings.HasPrefix(ip, "127.") || ip == "::1" {
			t.Errorf("loopback candidate untold: %s", c)
		}
	}
}

// candidates of component 1; pion repeats each for component 2.
func candidates(sdp string) (out []string) {
	for _, m := range regexp.MustCompile(`(?m)^a=(candidate:\S+ 1 .*?)\r?$`).FindAllStringSubmatch(sdp, -1) {
		out = append(out, m[1])
	}
	return out
}

// TestRelayOnly proves, for each transport alone, that the far side sees nothing but the TURN server.
func TestRelayOnly(t *testing.T) {
	for _, transport := range []string{"udp", "tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			lab := newTURNLab(t)
			url, count := lab.urlUDP, &lab.udp
			switch transport {
			case "tcp":
				url, count = lab.urlTCP, &lab.tcp
			case "tls":
				url, count = lab.urlTLS, &lab.tls
			}
			a := newPeer(t, Config{Loopback: true, Policy: PolicyRelay, Servers: lab.servers(url), RootCAs: lab.roots})
			b := newPeer(t, loopback)
			offer, _, took := call(t, a, b, nil)
			t.Logf("relay over %s: connected %v after the offer was asked for", transport, took)
			if took > 5*time.Second {
				t.Errorf("took %v; 500 ms is what is wanted", took)
			}
			var relayed string
			for _, c := range candidates(offer) {
				f := strings.Fields(c)
				relayed = f[4] + ":" + f[5]
				if f[7] != "relay" || strings.Contains(c, "raddr") && !strings.Contains(c, "raddr 0.0.0.0 rport 0") {
					t.Errorf("the far side is shown %s", c)
				}
			}
			if relayed == "" {
				t.Fatal("no candidate")
			}
			before := count.bytes.Load()
			talk(a, 50, 1)
			waitFor(t, "sound through TURN", func() bool { return b.heard.count() == 50 })
			if grown := count.bytes.Load() - before; grown < 50*5 {
				t.Errorf("TURN saw %d bytes of 50 packets", grown)
			}
			s := a.Sample()
			if s.Path == nil || s.Path.Local.CandidateType != "relay" || s.Path.RelayProtocol != transport || s.Path.Local.URL != url {
				t.Errorf("path: %+v", s.Path)
			}
			r := b.Sample().Path
			if r == nil || r.Remote.Address+":"+itoa(r.Remote.Port) != relayed {
				t.Errorf("the far side talks with %+v, not with the relay %s", r, relayed)
			}
			for _, other := range []*counter{&lab.udp, &lab.tcp, &lab.tls} {
				if other != count && other.bytes.Load() != 0 {
					t.Error("another transport was used")
				}
			}
			if transport == "tls" {
				count.mu.Lock()
				defer count.mu.Unlock()
				for _, first := range count.first {
					if first[0] != 0x16 || first[1] != 0x03 {
						t.Errorf("turns: began with % x, which is no TLS", first)
					}
				}
				if len(count.first) == 0 {
					t.Error("no TLS connection was seen")
				}
			}
		})
	}
}

// TestRelayNeverDialsTCPCandidates: pion would dial a far side's TCP candidate itself, past TURN.
func TestRelayNeverDialsTCPCandidates(t *testing.T) {
	lab := newTURNLab(t)
	a := newPeer(t, Config{Loopback: true, Policy: PolicyRelay, Servers: lab.servers(lab.urlUDP)})
	b := newPeer(t, loopback)
	var trap counter
	l := listen(t, &trap)
	call(t, a, b, func(sdp string) string {
		return strings.Replace(sdp, "a=setup:", "a=candidate:9 1 tcp 2130706431 127.0.0.1 "+l+" typ host tcptype passive\r\na=setup:", 1)
	})
	talk(a, 20, 1)
	waitFor(t, "sound", func() bool { return b.heard.count() == 20 })
	trap.mu.Lock()
	defer trap.mu.Unlock()
	if len(trap.first) > 0 || trap.bytes.Load() > 0 {
		t.Error("the far side was dialled past TURN")
	}
}

func TestUnknownCAGivesNoRelay(t *testing.T) {
	lab := newTURNLab(t)
	a := newPeer(t, Config{Loopback: true, Policy: PolicyRelay, Servers: lab.servers(lab.urlTLS)})
	if _, err := a.Offer(t.Context()); !errors.Is(err, ErrNoCandidates) {
		t.Errorf("%v", err)
	}
}

func TestBadServersDoNotSpoilTheOthers(t *testing.T) {
	lab := newTURNLab(t)
	servers := append([]ICEServer{
		{URLs: []string{lab.urlTCP}},                                             // no user
		{URLs: []string{lab.urlTCP}, Username: "x"},                              // no password
		{URLs: []string{"http://127.0.0.1/", "turn:"}},                           // no TURN
		{URLs: []string{"turn:127.0.0.1:1"}, Username: "dead", Credential: "x1"}, // nobody there
	}, lab.servers(lab.urlUDP)...)
	a := newPeer(t, Config{Loopback: true, Policy: PolicyRelay, Servers: servers})
	offer, err := a.Offer(t.Context())
	must(t, err)
	if len(candidates(offer)) != 1 {
		t.Errorf("%v", candidates(offer))
	}
	e, err := NewEngine(loopback)
	must(t, err)
	if _, err := e.NewSession(SessionConfig{Policy: PolicyRelay, Servers: servers[:3]}); !errors.Is(err, ErrNoCandidates) {
		t.Errorf("a relay session without a TURN server: %v", err)
	}
	if _, err := NewEngine(Config{Policy: "turn"}); err == nil {
		t.Error("an unknown policy was taken")
	}
}

// TestDeadServerDoesNotHoldUpTheCall: a TURN server that swallows everything holds pion's gathering up for 7.8 s.
func TestDeadServerDoesNotHoldUpTheCall(t *testing.T) {
	dead := silentUDP(t)
	lab := newTURNLab(t)
	for name, c := range map[string]struct {
		policy  string
		servers []ICEServer
		want    string
	}{
		"all":   {PolicyAll, append(lab.servers("turn:"+dead), lab.servers(lab.urlUDP)...), "typ relay"},
		"relay": {PolicyRelay, append(lab.servers("turn:"+dead), lab.servers(lab.urlUDP)...), "typ relay"},
		"alone": {PolicyAll, lab.servers("turn:" + dead), "typ host"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			a := newPeer(t, Config{Loopback: true, Policy: c.policy, Servers: c.servers})
			offer, err := a.Offer(t.Context())
			must(t, err)
			t.Logf("offer after %v", time.Since(start))
			if took := time.Since(start); took > 5*time.Second || !strings.Contains(offer, c.want) {
				t.Errorf("offer after %v:\n%s", took, offer)
			}
		})
	}
}

// TestFreeSWITCHShapedSDP: neither a=mid nor BUNDLE, profile RTP/SAVPF, component 2; both ways.
func TestFreeSWITCHShapedSDP(t *testing.T) {
	a, b := newPeer(t, loopback), newPeer(t, loopback)
	call(t, a, b, freeswitch)
	talk(a, 10, 1)
	talk(b, 10, 1)
	waitFor(t, "sound both ways", func() bool { return a.heard.count() == 10 && b.heard.count() == 10 })
}

func freeswitch(sdp string) string {
	sdp = regexp.MustCompile(`(?m)^a=(mid|group|extmap-allow-mixed|msid).*\r\n`).ReplaceAllString(sdp, "")
	sdp = strings.ReplaceAll(sdp, "UDP/TLS/RTP/SAVPF", "RTP/SAVPF")
	return regexp.MustCompile(`(?m)^a=candidate:(\S+) 1 (.*)\r\n`).ReplaceAllString(sdp, "a=candidate:$1 1 $2\r\na=candidate:$1 2 $2\r\n")
}

func TestOtherPayloadTypes(t *testing.T) {
	a, b := newPeer(t, loopback), newPeer(t, loopback)
	call(t, a, b, func(sdp string) string {
		return regexp.MustCompile(`(?m)(^m=audio .* |^a=(?:rtpmap|fmtp):)111\b`).ReplaceAllString(sdp, "${1}102")
	})
	talk(a, 10, 1)
	talk(b, 10, 1)
	waitFor(t, "sound both ways", func() bool { return a.heard.count() == 10 && b.heard.count() == 10 })
	if pt := b.heard.packets[0].PayloadType; pt != 102 {
		t.Errorf("payload type %d", pt)
	}
	if c := b.Sample().Inbound.Codec; c == nil || c.PayloadType != 102 {
		t.Errorf("%+v", c)
	}
}

// TestOfferWithVideo: the video is declined, the sound goes on.
func TestOfferWithVideo(t *testing.T) {
	a, b := newPeer(t, loopback), newPeer(t, loopback)
	offer, err := a.Offer(t.Context())
	must(t, err)
	answer, err := b.Answer(t.Context(), offer+"m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendrecv\r\na=rtpmap:96 VP8/90000\r\n"+
		regexp.MustCompile(`(?m)^a=(fingerprint|ice-ufrag|ice-pwd).*\r\n`).FindString(offer))
	must(t, err)
	if !strings.Contains(answer, "m=video 0 ") {
		t.Errorf("\n%s", answer)
	}
	must(t, a.SetAnswer(answer))
	a.expect(t, Connected)
	talk(a, 10, 1)
	waitFor(t, "sound", func() bool { return b.heard.count() == 10 })
	again, err := b.Restart(t.Context())
	must(t, err)
	if sections := regexp.MustCompile(`(?m)^m=\w+ \d`).FindAllString(again, -1); len(sections) != 2 || sections[1] != "m=video 0" {
		t.Errorf("the m-lines moved: %q", sections)
	}
}

func TestAllWaysAtOnce(t *testing.T) {
	lab := newTURNLab(t)
	for _, policy := range []string{PolicyAll, PolicyRelay} {
		a := newPeer(t, Config{Loopback: true, Policy: policy, Servers: lab.servers(lab.urlUDP, lab.urlTCP, lab.urlTLS), RootCAs: lab.roots})
		b := newPeer(t, loopback)
		_, _, took := call(t, a, b, nil)
		path := a.Sample().Path
		t.Logf("policy %s: connected after %v over %s %s", policy, took, path.Local.CandidateType, path.RelayProtocol)
		if policy == PolicyAll && path.Local.CandidateType == "relay" {
			t.Error("a relay was taken where there is a direct way")
		}
	}
}

func TestAnswerWithoutSSRCIsHeard(t *testing.T) {
	a, b := newPeer(t, loopback), newPeer(t, loopback)
	call(t, a, b, func(sdp string) string {
		return regexp.MustCompile(`(?m)^a=ssrc.*\r\n`).ReplaceAllString(sdp, "")
	})
	talk(a, 10, 1)
	talk(b, 10, 1)
	waitFor(t, "sound both ways", func() bool { return a.heard.count() == 10 && b.heard.count() == 10 })
}

func TestEarlyCandidatesWait(t *testing.T) {
	a, b := newPeer(t, loopback), newPeer(t, loopback)
	offer, err := a.Offer(t.Context())
	must(t, err)
	strip := regexp.MustCompile(`(?m)^a=candidate.*\r\n`)
	for _, c := range candidates(offer) {
		must(t, b.AddCandidate(c, "0", 0))
	}
	must(t, b.AddCandidate("", "0", 0))
	must(t, b.AddCandidate("candidate:nonsense", "0", 0))
	answer, err := b.Answer(t.Context(), strip.ReplaceAllString(offer, ""))
	must(t, err)
	must(t, a.SetAnswer(strip.ReplaceAllString(answer, "")))
	must(t, a.SetAnswer(answer)) // a second answer is ignored
	b.expect(t, Connected)
	a.expect(t, Connected)
}

func TestRefusedSDPLeavesTheSessionUsable(t *testing.T) {
	a, b := newPeer(t, loopback), newPeer(t, loopback)
	offer, err := a.Offer(t.Context())
	must(t, err)
	bare := regexp.MustCompile(`(?m)^a=fingerprint.*\r\n`).ReplaceAllString(offer, "")
	if _, err := b.Answer(t.Context(), bare); !errors.Is(err, ErrNoFingerprint) {
		t.Errorf("%v", err)
	}
	answer, err := b.Answer(t.Context(), offer)
	must(t, err)
	must(t, a.SetAnswer(answer))
	a.expect(t, Connected)
}

func TestDigitsBothWays(t *testing.T) {
	a, b := newPeer(t, loopback), newPeer(t, loopback)
	if err := a.SendDTMF("1"); !errors.Is(err, ErrNotConnected) {
		t.Errorf("before the connection: %v", err)
	}
	call(t, a, b, nil)
	if err := a.SendDTMF("1x"); err == nil {
		t.Error("x was taken for a digit")
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { // sound goes on all the while, at its own pace
		for i := uint16(0); ctx.Err() == nil; i++ {
			a.WriteRTP(&rtp.Packet{Header: rtp.Header{SequenceNumber: i, Timestamp: uint32(i) * audio.FrameSamples}, Payload: []byte{1}})
			time.Sleep(audio.FrameDuration)
		}
	})
	time.Sleep(100 * time.Millisecond)
	must(t, a.SendDTMF("11*#"))
	must(t, a.SendDTMF("d"))
	got := ""
	for len(got) < 5 {
		got += b.expect(t, Digit).Digit
	}
	if got != "11*#D" {
		t.Errorf("got %q", got)
	}
	n := b.heard.count()
	waitFor(t, "sound after the digits", func() bool { return b.heard.count() > n+5 })
	stop()
	wg.Wait()
	b.heard.mu.Lock()
	for i := 1; i < len(b.heard.packets); i++ {
		p, q := b.heard.packets[i-1], b.heard.packets[i]
		if q.SequenceNumber != p.SequenceNumber+1 {
			t.Errorf("the receiver misses a number: %v after %v", q.Header, p.Header)
		}
		// Events come without payload: their timestamp stands still, sound's goes on.
		if len(p.Payload) > 0 && len(q.Payload) > 0 && int32(q.Timestamp-p.Timestamp) <= 0 {
			t.Errorf("sound runs backwards: %v after %v", q.Header, p.Header)
		}
	}
	b.heard.mu.Unlock()
	if s := b.Sample(); s.Inbound.PacketsLost != 0 {
		t.Errorf("%d packets seem lost: digits and sound do not share their numbers", s.Inbound.PacketsLost)
	}
	must(t, b.SendDTMF("5")) // b never sent any sound
	if e := a.expect(t, Digit); e.Digit != "5" {
		t.Errorf("%+v", e)
	}
}

func TestNoTelephoneEventIsSaid(t *testing.T) {
	a, b := newPeer(t, loopback), newPeer(t, loopback)
	call(t, a, b, func(sdp string) string {
		sdp = regexp.MustCompile(`(?m)^a=(rtpmap|fmtp):(110|126).*\r\n`).ReplaceAllString(sdp, "")
		return strings.Replace(sdp, " 111 110 126", " 111", 1)
	})
	if err := a.SendDTMF("1"); !errors.Is(err, ErrNoDTMF) {
		t.Errorf("%v", err)
	}
}

// TestDeadTURNPathDoesNotFreeze is the freeze that pion has untold: TURN over TCP whose path dies without a word.
func TestDeadTURNPathDoesNotFreeze(t *testing.T) {
	lab := newTURNLab(t)
	for _, c := range []struct {
		name  string
		after time.Duration // how long the path is dead before Close
	}{{"at once", 0}, {"while a write hangs", 1500 * time.Millisecond}, {"after the write gave up", 7 * time.Second}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newTap(t, lab.addrTCP)
			a := newPeer(t, Config{Loopback: true, Policy: PolicyRelay, Servers: lab.servers("turn:" + p.addr + "?transport=tcp")})
			b := newPeer(t, loopback)
			call(t, a, b, nil)
			talk(a, 10, 1)
			waitFor(t, "sound", func() bool { return b.heard.count() == 10 })
			first := a.Sample()
			p.blackhole()
			var slowest time.Duration
			var last quality.Sample
			for end := time.Now().Add(c.after); ; {
				start := time.Now()
				// A kilobyte a packet fills the buffers soon.
				a.WriteRTP(&rtp.Packet{Header: rtp.Header{SequenceNumber: 100}, Payload: make([]byte, 1000)})
				if c.after > writeTimeout && last.Outbound == nil && end.Sub(start) < time.Second {
					last = a.Sample()
				}
				if d := time.Since(start); d > slowest && last.Outbound == nil {
					slowest = d
				}
				if !time.Now().Before(end) {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
			start := time.Now()
			if s := a.Sample(); last.Outbound == nil {
				last = s
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("Sample took %v", d)
			}
			if last.Path == nil || last.Path.RelayProtocol != first.Path.RelayProtocol {
				t.Errorf("path: %+v", last.Path)
			}
			if c.after > 0 && a.out.queue.drops() == 0 {
				t.Error("nothing was dropped: the path did not freeze, so this test shows nothing")
			}
			if c.after > writeTimeout {
				a.expect(t, Disconnected)
				if now := a.Sample(); now.Outbound.PacketsSent != last.Outbound.PacketsSent || now.Inbound.PacketsReceived != first.Inbound.PacketsReceived {
					t.Errorf("packets are counted that did not go: %d, then %d", last.Outbound.PacketsSent, now.Outbound.PacketsSent)
				}
			}
			if slowest >= writeTimeout/2 { // pion's write hangs until its time-out; a queue takes microseconds
				t.Errorf("WriteRTP blocked for %v", slowest)
			}
			start = time.Now()
			must(t, a.Close())
			took := time.Since(start)
			t.Logf("slowest WriteRTP %v, Close %v, dropped %d", slowest, took, a.out.queue.drops())
			if took > 5*(closePatience+cutPatience) {
				t.Errorf("Close took %v", took)
			}
			select {
			case <-a.ended:
			case <-time.After(5 * time.Second):
				t.Error("something still runs 5 s after Close")
			}
		})
	}
}

func TestCloseAtAnyTime(t *testing.T) {
	dead := silentUDP(t)
	for _, after := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond, 200 * time.Millisecond} {
		a := newPeer(t, Config{Loopback: true, Policy: PolicyRelay, Servers: []ICEServer{
			{URLs: []string{"turn:" + dead, "turn:" + silentTCP(t) + "?transport=tcp", "turns:" + silentTCP(t)}, Username: "u", Credential: "c"}}})
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := a.Offer(t.Context()); !errors.Is(err, ErrClosed) {
				t.Errorf("Offer of a closed session: %v", err)
			}
		})
		time.Sleep(after)
		start := time.Now()
		must(t, a.Close())
		must(t, a.Close())
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("Close took %v", d)
		}
		wg.Wait()
		if a.WriteRTP(&rtp.Packet{Payload: []byte{1}}) {
			t.Error("a closed session takes packets")
		}
		a.Sample()
		if err := a.SendDTMF("1"); err == nil {
			t.Error("a closed session takes digits")
		}
	}
}

func TestOfferWithoutCandidatesEndsWithTheContext(t *testing.T) {
	a := newPeer(t, Config{Loopback: true, Policy: PolicyRelay, Servers: []ICEServer{{URLs: []string{"turn:" + silentUDP(t)}, Username: "u", Credential: "c"}}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := a.Offer(ctx); !errors.Is(err, ErrNoCandidates) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// TestLateCandidatesAreTold: a relay that answers after the SDP has gone is told of, for lines that trickle.
func TestLateCandidatesAreTold(t *testing.T) {
	a := newPeer(t, loopback)
	a.gather.take()
	_, _ = a.pc.CreateOffer(nil)
	offer, err := a.pc.CreateOffer(nil)
	must(t, err)
	must(t, a.pc.SetLocalDescription(offer))
	e := a.expect(t, Candidate)
	if !strings.HasPrefix(e.Candidate, "candidate:") || e.Mid != "0" {
		t.Errorf("%+v", e)
	}
	for e.Candidate != "" {
		e = a.expect(t, Candidate)
	}
}

func BenchmarkWriteRTP(b *testing.B) {
	q := newPacketQueue()
	p := &rtp.Packet{Payload: make([]byte, 80)}
	var s packetSlot
	b.ReportAllocs()
	for b.Loop() {
		q.push(p)
		q.pop(&s)
	}
}
