package media

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/sdp/v3"
)

// An answer and an offer in the shape of FreeSWITCH 1.11's mod_verto.
const (
	fsAnswer = "v=0\r\no=FreeSWITCH 1 2 IN IP4 192.0.2.1\r\ns=FreeSWITCH\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\na=msid-semantic: WMS x\r\n" +
		"m=audio 20000 RTP/SAVPF 111 110\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\na=rtpmap:110 telephone-event/48000\r\n" +
		"a=fingerprint:sha-256 AA:BB\r\na=setup:active\r\na=rtcp-mux\r\na=rtcp:20000 IN IP4 192.0.2.1\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n" +
		"a=candidate:1 1 udp 659136 192.0.2.1 20000 typ host generation 0\r\na=candidate:1 2 udp 659136 192.0.2.1 20000 typ host generation 0\r\n" +
		"a=end-of-candidates\r\na=ssrc:1 cname:x\r\n"
	ourOffer = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE audio0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:audio0\r\n"
)

var (
	fsOffer = strings.NewReplacer("setup:active", "setup:actpass", "111", "102").Replace(fsAnswer)
	twoWay  = fsOffer + "m=video 20002 RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n"
)

func TestNormalizeAnswer(t *testing.T) {
	got, err := NormalizeAnswer(fsAnswer, ourOffer)
	must(t, err)
	for _, want := range []string{"a=mid:audio0\r\n", "a=group:BUNDLE audio0\r\n", "m=audio 20000 UDP/TLS/RTP/SAVPF 111 110\r\n", "a=setup:active\r\n", "a=candidate:1 1 udp"} {
		if strings.Count(got, want) != 1 {
			t.Errorf("%q is there %d times:\n%s", want, strings.Count(got, want), got)
		}
	}
	if strings.Contains(got, "a=candidate:1 2") {
		t.Error("component 2 is still there")
	}
	for name, c := range map[string]struct {
		sdp  string
		want string
	}{
		"no setup":                {strings.Replace(fsAnswer, "a=setup:active\r\n", "", 1), "a=setup:active\r\n"},
		"actpass in an answer":    {strings.Replace(fsAnswer, "setup:active", "setup:actpass", 1), "a=setup:active\r\n"},
		"passive":                 {strings.Replace(fsAnswer, "setup:active", "setup:passive", 1), "a=setup:passive\r\n"},
		"setup of the session":    {strings.Replace(strings.Replace(fsAnswer, "a=setup:active\r\n", "", 1), "a=msid", "a=setup:passive\r\na=msid", 1), "a=setup:passive\r\n"},
		"another mid":             {strings.Replace(fsAnswer, "a=rtcp-mux", "a=mid:7\r\na=rtcp-mux", 1), "a=mid:audio0\r\n"},
		"bare line feeds":         {strings.ReplaceAll(fsAnswer, "\r\n", "\n"), "a=mid:audio0\r\n"},
		"a mdns candidate":        {strings.Replace(fsAnswer, "192.0.2.1 20000 typ host generation 0\r\na=candidate:1 2", "x.local 20000 typ host\r\na=candidate:1 2", 1), "a=end-of-candidates"},
		"a candidate of nonsense": {fsAnswer + "a=candidate:x\r\n", "a=candidate:1 1 udp"},
	} {
		got, err := NormalizeAnswer(c.sdp, ourOffer)
		if err != nil || !strings.Contains(got, c.want) || strings.Contains(got, ".local") || strings.Contains(got, "candidate:x") {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

func TestNormalizeOffer(t *testing.T) {
	got, err := NormalizeOffer(fsOffer)
	must(t, err)
	if !strings.Contains(got, "a=mid:0\r\n") || !strings.Contains(got, "a=group:BUNDLE 0\r\n") || !strings.Contains(got, "a=setup:actpass") {
		t.Errorf("\n%s", got)
	}
	got, err = NormalizeOffer(twoWay)
	must(t, err)
	if !strings.Contains(got, "a=group:BUNDLE 0 1\r\n") {
		t.Errorf("\n%s", got)
	}
	got, err = NormalizeOffer(strings.Replace(twoWay, "a=rtpmap:96", "a=mid:0\r\na=rtpmap:96", 1)) // only the video has a mid, and it is 0
	must(t, err)
	if !strings.Contains(got, "a=group:BUNDLE m0 0\r\n") {
		t.Errorf("\n%s", got)
	}
}

func TestRefusedSDP(t *testing.T) {
	for name, c := range map[string]struct {
		sdp  string
		want error
	}{
		"empty":          {"", ErrNoAudio},
		"garbage":        {"hello", ErrBadSDP},
		"no fingerprint": {strings.Replace(fsAnswer, "a=fingerprint:sha-256 AA:BB\r\n", "", 1), ErrNoFingerprint},
		"audio refused":  {strings.Replace(fsAnswer, "m=audio 20000", "m=audio 0", 1), ErrNoAudio},
		"no audio":       {strings.Replace(fsAnswer, "m=audio", "m=video", 1), ErrNoAudio},
		"G722 only":      {strings.Replace(fsAnswer, "opus/48000/2", "G722/8000", 1), ErrNoCodec},
	} {
		if _, err := NormalizeAnswer(c.sdp, ourOffer); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := NormalizeOffer(c.sdp); !errors.Is(err, c.want) {
			t.Errorf("%s as an offer: %v", name, err)
		}
	}
	if _, err := NormalizeAnswer(strings.Replace(fsAnswer, "opus/48000/2", "G722/8000", 1), ourOffer); !strings.Contains(err.Error(), "G722") {
		t.Errorf("the error does not name the codecs: %v", err)
	}
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{strings.Replace(fsOffer, "RTP/SAVPF 102 110", "RTP/SAVPF 0 8 13 4 102 110", 1), "", fsAnswer, fsOffer, twoWay, ourOffer, "v=0\r\no=- 0 0 IN IP4 0\r\ns=-\r\nt=0 0\r\nm=audio 1 X 0\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, normal := range []func(string) (string, error){
			NormalizeOffer, func(s string) (string, error) { return NormalizeAnswer(s, ourOffer) },
		} {
			got, err := normal(s)
			if err != nil {
				continue
			}
			var d sdp.SessionDescription
			if err := d.UnmarshalString(got); err != nil {
				t.Fatalf("what came out cannot be read: %v\n%q", err, got)
			}
			group, ok := d.Attribute(sdp.AttrKeyGroup)
			if !ok || !strings.HasPrefix(group, "BUNDLE ") {
				t.Fatalf("no BUNDLE in %q", got)
			}
			for _, m := range d.MediaDescriptions {
				if mid, ok := m.Attribute(sdp.AttrKeyMID); !ok || mid == "" {
					t.Fatalf("no mid in %q", got)
				}
			}
			again, err := normal(got)
			if err != nil || again != got {
				t.Fatalf("not the same the second time: %v\n%q\n%q", err, got, again)
			}
		}
	})
}

func TestMaskRelay(t *testing.T) {
	got, err := maskRelay("candidate:1 1 udp 1 192.0.2.1 5 typ relay raddr 10.0.0.1 rport 7 ufrag x")
	if err != nil || got != "candidate:1 1 udp 1 192.0.2.1 5 typ relay raddr 0.0.0.0 rport 0 ufrag x" {
		t.Errorf("%q, %v", got, err)
	}
	for _, c := range []string{"", "candidate:1 1 udp 1 10.0.0.1 5 typ host", "candidate:1 1 udp 1 1.2.3.4 5 typ srflx raddr 10.0.0.1 rport 7"} {
		if _, err := maskRelay(c); err == nil {
			t.Errorf("%q was let through", c)
		}
	}
}

// FuzzCandidate: whatever line a far side trickles, it is dropped or kept, and a kept one is fit for pion; a line of ours
// is never shown with what stands behind a relay.
func FuzzCandidate(f *testing.F) {
	for _, s := range []string{
		"", "candidate:1 1 udp 2130706431 192.0.2.1 20000 typ host", "candidate:1 2 udp 1 192.0.2.1 20000 typ host",
		"candidate:1 1 udp 1 x.local 5 typ host", "candidate:9 1 tcp 1 127.0.0.1 9 typ host tcptype passive",
		"candidate:1 1 udp 1 2001:db8::1 5 typ relay raddr 10.0.0.1 rport 7 generation 0 ufrag x network-cost 999",
		"candidate:1 1 UDP 1 192.0.2.1 5 typ srflx raddr 0.0.0.0 rport 0", "candidate:  1", "a=candidate:1 1 udp 1 ::1 5 typ host",
	} {
		f.Add(s, "0", uint16(0))
	}
	f.Fuzz(func(t *testing.T, line, mid string, mline uint16) {
		s := &Session{waiting: true}
		must(t, s.AddCandidate(line, mid, mline))
		if len(s.pending) > 0 {
			c, err := ice.UnmarshalCandidate(line)
			if err != nil || c.Component() != ice.ComponentRTP || strings.HasSuffix(c.Address(), ".local") {
				t.Errorf("%q was kept: %v", line, err)
			}
		}
		masked, err := maskRelay(line)
		if err != nil {
			return
		}
		fields := strings.Fields(masked)
		for i := 8; i+1 < len(fields); i += 2 {
			if fields[i] == "raddr" && fields[i+1] != "0.0.0.0" || fields[i] == "rport" && fields[i+1] != "0" {
				t.Errorf("%q shows what is behind the relay", masked)
			}
		}
	})
}

// TestOfferShapes: what far sides really send is taken in, and what comes out keeps its meaning.
func TestOfferShapes(t *testing.T) {
	got, err := NormalizeOffer(strings.Replace(fsOffer, "RTP/SAVPF 102 110", "RTP/SAVPF 0 8 13 102 110", 1))
	must(t, err)
	for _, want := range []string{"SAVPF 0 8 102 110\r\n", "a=rtpmap:0 PCMU/8000\r\n", "a=rtpmap:8 PCMA/8000\r\n", "a=ssrc:any\r\n"} {
		if strings.Count(got, want) != 1 {
			t.Errorf("%q is there %d times:\n%s", want, strings.Count(got, want), got)
		}
	}
	if strings.Contains(got, "cname") {
		t.Error("a stream is still declared")
	}
	m := audioOf(got)
	if d := maxPacket(m, "stereo=1; maxptime=40"); d != 40*time.Millisecond {
		t.Errorf("maxptime %v", d)
	}
	if d := maxPacket(audioOf(got+"a=maxptime:60\r\n"), "maxptime=40"); d != 60*time.Millisecond {
		t.Errorf("maxptime %v", d)
	}
	if u := userOf(got); u != [2]string{"u", "p"} {
		t.Errorf("%q", u)
	}
}
