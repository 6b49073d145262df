package media

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// restart restarts ICE from a, passing the SDPs through edit, and waits until sound flows both ways again.
func restart(t *testing.T, a, b *peer, edit func(string) string) (offer, answer string) {
	t.Helper()
	if edit == nil {
		edit = func(s string) string { return s }
	}
	offer, err := a.Restart(t.Context())
	must(t, err)
	answer, err = b.Answer(t.Context(), edit(offer))
	must(t, err)
	must(t, a.SetAnswer(edit(answer)))
	soundBothWays(t, a, b)
	return offer, answer
}

func soundBothWays(t *testing.T, a, b *peer) {
	t.Helper()
	was := [2]int{a.heard.count(), b.heard.count()}
	waitFor(t, "sound both ways", func() bool {
		talk(a, 1, numbers(1))
		talk(b, 1, numbers(1))
		return a.heard.count() > was[0] && b.heard.count() > was[1]
	})
}

var number atomic.Uint32

// numbers takes n sequence numbers that nobody had: SRTP drops what it saw before.
func numbers(n uint32) uint16 { return uint16(number.Add(n) - n) }

func mLines(sdp string) int { return strings.Count(sdp, "\nm=") }

func TestRestart(t *testing.T) {
	drop := func(pattern string) func(string) string {
		return func(sdp string) string { return regexp.MustCompile(pattern).ReplaceAllString(sdp, "") }
	}
	for name, edit := range map[string]func(string) string{
		"as it is":              nil,
		"without a=ssrc":        drop(`(?m)^a=ssrc.*\r\n`),
		"in FreeSWITCH's shape": freeswitch,
		"both":                  func(s string) string { return drop(`(?m)^a=ssrc.*\r\n`)(freeswitch(s)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := newPeer(t, loopback), newPeer(t, loopback)
			first, firstAnswer, _ := call(t, a, b, edit)
			soundBothWays(t, a, b)
			offer, answer := restart(t, a, b, edit)
			if userOf(offer) == userOf(first) || userOf(answer) == userOf(firstAnswer) {
				t.Error("the restart kept the ICE user")
			}
			// And from the other side, and once more.
			back, backAnswer := restart(t, b, a, edit)
			again, againAnswer := restart(t, a, b, edit)
			for _, s := range []string{offer, answer, back, backAnswer, again, againAnswer} {
				if mLines(s) != 1 {
					t.Errorf("%d m-lines:\n%s", mLines(s), s)
				}
			}
			// a offered first, and b answered active; that stays.
			for sdp, role := range map[string]string{answer: "active", backAnswer: "passive", againAnswer: "active"} {
				if !strings.Contains(sdp, "a=setup:"+role) {
					t.Errorf("not %s:\n%s", role, sdp)
				}
			}
		})
	}
}

func TestRestartsThatAreNotAnswered(t *testing.T) {
	a, b := newPeer(t, loopback), newPeer(t, loopback)
	if _, err := a.Restart(t.Context()); err == nil {
		t.Error("ICE was restarted before it began")
	}
	call(t, a, b, nil)
	for range 3 {
		_, err := a.Restart(t.Context())
		must(t, err)
	}
	restart(t, a, b, nil)
	// Offers that cross: each side takes the other's, and then one more settles it.
	_, err := a.Restart(t.Context())
	must(t, err)
	theirs, err := b.Restart(t.Context())
	must(t, err)
	answer, err := a.Answer(t.Context(), theirs)
	must(t, err)
	must(t, b.SetAnswer(answer))
	soundBothWays(t, a, b)
}

// TestReofferWithoutRestart: a platform that sends the same offer again changes nothing.
func TestReofferWithoutRestart(t *testing.T) {
	a, b := newPeer(t, loopback), newPeer(t, loopback)
	offer, answer, _ := call(t, a, b, nil)
	start := time.Now()
	again, err := b.Answer(t.Context(), offer)
	must(t, err)
	if userOf(again) != userOf(answer) || time.Since(start) > 5*time.Second || len(candidates(again)) == 0 {
		t.Errorf("after %v:\n%s", time.Since(start), again)
	}
	soundBothWays(t, a, b)
}

// TestFarSideChangesItsStream: another SSRC in mid-call, declared nowhere, is heard.
func TestFarSideChangesItsStream(t *testing.T) {
	a, b := newPeer(t, loopback), newPeer(t, loopback)
	call(t, a, b, nil)
	soundBothWays(t, a, b)
	a.track.mu.Lock()
	was := a.track.ssrc
	a.track.ssrc++
	a.track.mu.Unlock()
	before := b.heard.count()
	talk(a, 20, numbers(20))
	waitFor(t, "the new stream", func() bool { return b.heard.count() == before+20 })
	if ssrc := b.heard.packets[before].SSRC; ssrc != was+1 {
		t.Errorf("ssrc %d", ssrc)
	}
	// More streams than are read at once: the newest is heard.
	for range 3 * maxStreams {
		a.track.mu.Lock()
		a.track.ssrc++
		a.track.mu.Unlock()
		before := b.heard.count()
		waitFor(t, "one of many streams", func() bool { talk(a, 1, numbers(1)); return b.heard.count() > before })
	}
}

func TestHold(t *testing.T) {
	a, b := newPeer(t, loopback), newPeer(t, loopback)
	call(t, a, b, nil)
	soundBothWays(t, a, b)
	a.Hold(true)
	if !a.Held() || !a.Sample().Held || a.Ready() || a.WriteRTP(&rtp.Packet{Payload: []byte{1}}) {
		t.Error("held, and takes sound")
	}
	sent := a.track.packets.Load()
	was := a.heard.count()
	talk(b, 20, numbers(20))
	waitFor(t, "the far side's packets to be dropped", func() bool { return a.heard.count() == was+20 })
	for _, p := range a.heard.packets[was:] {
		if len(p.Payload) > 0 {
			t.Error("sound was let in")
		}
	}
	talk(a, 5, numbers(5))
	must(t, a.SendDTMF("5"))
	if e := b.expect(t, Digit); e.Digit != "5" {
		t.Errorf("%+v", e)
	}
	if n := a.track.packets.Load() - sent; n > toneTicks+toneRepeats {
		t.Errorf("%d packets left", n)
	}
	a.Hold(false)
	soundBothWays(t, a, b)
	if a.Sample().Held {
		t.Error("still held")
	}
}

// TestTrunk moves a call to a relay-only session, as policy auto wants it: one pair of pipelines, two sessions.
func TestTrunk(t *testing.T) {
	lab := newTURNLab(t)
	c := Config{Loopback: true, Policy: PolicyAuto, Servers: lab.servers(lab.urlUDP)}
	shared := &heard{}
	var sends, receives []string
	with := func(policy, why string, standby bool) func(*SessionConfig) {
		return func(sc *SessionConfig) {
			sc.Sends = func(c Codec) { sends = append(sends, why+c.Name) }
			sc.Receives = func(c Codec) { receives = append(receives, why+c.Name) }
			sc.Receiver, sc.Policy, sc.Why, sc.Standby = shared, policy, why, standby
		}
	}
	a, b := newPeer(t, c, with("", "", false)), newPeer(t, loopback)
	offer, _, _ := call(t, a, b, nil)
	if !strings.Contains(offer, "typ host") || !strings.Contains(offer, "typ relay") {
		t.Errorf("auto offers:\n%s", offer)
	}
	var trunk Trunk
	if trunk.Ready() || trunk.WriteRTP(&rtp.Packet{Payload: []byte{1}}) {
		t.Error("an empty trunk takes sound")
	}
	trunk.Use(a.Session)
	send := func(n int, from uint16) {
		for i := range n {
			seq := from + uint16(i)
			trunk.WriteRTP(&rtp.Packet{Header: rtp.Header{SequenceNumber: seq, Timestamp: uint32(seq) * 960}, Payload: []byte{byte(seq)}})
			time.Sleep(5 * time.Millisecond)
		}
	}
	send(20, 0)
	waitFor(t, "sound", func() bool { return b.heard.count() == 20 })
	talk(b, 10, 0)
	waitFor(t, "sound back", func() bool { return shared.count() == 10 })

	a2, b2 := newPeer(t, c, with(PolicyRelay, "no sound came by the direct way", true)), newPeer(t, loopback)
	call(t, a2, b2, nil)
	talk(b2, 10, 10)
	if a2.Ready() || shared.count() != 10 {
		t.Error("a session on standby lets sound pass")
	}
	trunk.Use(a2.Session)
	must(t, a.Close())
	send(20, 20)
	waitFor(t, "sound by relay", func() bool { return b2.heard.count() == 20 })
	if n := b2.heard.packets[0].SequenceNumber; n != 20 {
		t.Errorf("the numbers jump to %d", n)
	}
	before := shared.count()
	talk(b2, 10, 30)
	waitFor(t, "sound back by relay", func() bool { return shared.count() == before+10 })
	s := a2.Sample()
	must(t, a2.Close())
	if fmt.Sprint(sends, receives) != "[opus] [opus]" {
		t.Errorf("codecs were told again: %v, %v", sends, receives)
	}
	if s.Path == nil || s.Path.Local.CandidateType != "relay" || s.Path.Policy != PolicyRelay || s.Path.Why != "no sound came by the direct way" {
		t.Errorf("path: %+v", s.Path)
	}
	if s.Outbound.PacketsSent != 40 || s.Inbound.PacketsReceived < 20 {
		t.Errorf("counters begin anew: %d sent, %d received", s.Outbound.PacketsSent, s.Inbound.PacketsReceived)
	}
}

func TestStandbyTellsItsCodecWhenUsed(t *testing.T) {
	var first, second hooks
	a, b := newPeer(t, loopback, first.on()), newRawPeer(t, false, rawPCMU)
	offer, err := a.Offer(t.Context())
	must(t, err)
	must(t, a.SetAnswer(b.answer(t, offer)))
	var trunk Trunk
	trunk.Use(a.Session)
	a2, b2 := newPeer(t, loopback, second.on(), func(c *SessionConfig) { c.Standby = true }), newRawPeer(t, false, rawPCMA)
	offer, err = a2.Offer(t.Context())
	must(t, err)
	must(t, a2.SetAnswer(b2.answer(t, offer)))
	a2.expect(t, Connected)
	if c := second.sends.Load(); c != nil {
		t.Errorf("told while on standby: %+v", c)
	}
	trunk.Use(a2.Session)
	if c := second.sends.Load(); c == nil || c.Name != "PCMA" || first.sends.Load().Name != "PCMU" {
		t.Errorf("%+v, then %+v", first.sends.Load(), c)
	}
	bothWays(t, a2, b2)
	if c := second.receives.Load(); c == nil || c.Name != "PCMA" {
		t.Errorf("receives %+v", c)
	}
}

// TestTrickle: the SDP goes at once and without candidates; all come by events, and an empty one ends them.
func TestTrickle(t *testing.T) {
	trickle := func(sc *SessionConfig) { sc.Trickle = true }
	for _, prefetch := range []bool{false, true} {
		a := newPeer(t, loopback, trickle, func(sc *SessionConfig) { sc.Prefetch = prefetch })
		b := newPeer(t, loopback, trickle)
		exchange := func(offer string, err error) {
			t.Helper()
			must(t, err)
			if strings.Contains(offer, "a=candidate") || !strings.Contains(offer, "a=ice-options:trickle") {
				t.Errorf("\n%s", offer)
			}
			answer, err := b.Answer(t.Context(), offer)
			must(t, err)
			must(t, a.SetAnswer(answer))
			for _, p := range [][2]*peer{{a, b}, {b, a}} {
				n := 0
				for e := p[0].expect(t, Candidate); e.Candidate != ""; e = p[0].expect(t, Candidate) {
					must(t, p[1].AddCandidate(e.Candidate, e.Mid, e.MLine))
					n++
				}
				if n == 0 {
					t.Error("no candidates")
				}
			}
			soundBothWays(t, a, b)
		}
		exchange(a.Offer(t.Context()))
		exchange(a.Restart(t.Context()))
	}
}

func TestPrefetch(t *testing.T) {
	lab := newTURNLab(t)
	a := newPeer(t, Config{Loopback: true, Servers: lab.servers(lab.urlUDP)}, func(sc *SessionConfig) { sc.Prefetch = true })
	waitFor(t, "the pool to fill", func() bool { return lab.udp.bytes.Load() > 0 })
	time.Sleep(100 * time.Millisecond)
	b := newPeer(t, loopback)
	offer, _, took := call(t, a, b, nil)
	t.Logf("connected %v after the offer was asked for", took)
	if !strings.Contains(offer, "typ relay") {
		t.Errorf("\n%s", offer)
	}
	restart(t, a, b, nil)
}

func TestBandwidth(t *testing.T) {
	a := newPeer(t, loopback, func(sc *SessionConfig) { sc.BandwidthKbps = 48 })
	b := newPeer(t, loopback)
	offer, _, _ := call(t, a, b, nil)
	if !regexp.MustCompile(`m=audio[^\n]*\r\nc=[^\n]*\r\nb=AS:48\r\n`).MatchString(offer) {
		t.Errorf("\n%s", offer)
	}
}

// The TURN password of the call's start has run out: a restart asks for the one of now.
func TestRestartWithFreshCredentials(t *testing.T) {
	lab := newTURNLab(t)
	for name, url := range map[string]string{"udp": lab.urlUDP, "tcp": lab.urlTCP} {
		t.Run(name, func(t *testing.T) {
			lab.password.Store(nil)
			now := lab.servers(url)
			a := newPeer(t, Config{Loopback: true, Policy: PolicyRelay, Servers: lab.servers(url)}, func(c *SessionConfig) {
				c.Prefetch = name == "tcp"
				c.Fresh = func(context.Context) []ICEServer { return now }
			})
			b := newPeer(t, loopback)
			call(t, a, b, nil)
			soundBothWays(t, a, b)
			changed := "another one"
			lab.password.Store(&changed)
			if _, err := a.Restart(t.Context()); !errors.Is(err, ErrNoCandidates) {
				t.Fatalf("a restart with the old password: %v", err)
			}
			now = []ICEServer{{URLs: []string{"turn:192.0.2.1"}, Username: "x", Credential: "y"}, {URLs: []string{url}, Username: turnUser, Credential: changed}}
			restart(t, a, b, nil)
			waitFor(t, "the path", func() bool { return a.Sample().Path != nil })
			if p := a.Sample().Path; p.Local.CandidateType != "relay" {
				t.Errorf("path %+v", p)
			}
		})
	}
}
