package call

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/rtc/quality"
)

// flows lets a media's packets grow with time, in and out, or stand still.
func (m *fakeMedia) flows(in, out bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settle()
	m.in, m.out = in, out
}

// settle counts up to now.
func (m *fakeMedia) settle() {
	now := time.Now()
	n := uint64(now.Sub(m.since) / (20 * time.Millisecond))
	if m.in {
		m.received += n
	}
	if m.out {
		m.sent += n
	}
	m.captured += now.Sub(m.since).Seconds()
	m.since = now
}

func (m *fakeMedia) measured() quality.Sample {
	if m.since.IsZero() {
		return quality.Sample{Time: time.Now()} // a medium that measures nothing
	}
	m.settle()
	return quality.Sample{
		Time:     time.Now(),
		Inbound:  &quality.Inbound{PacketsReceived: m.received},
		Outbound: &quality.Outbound{PacketsSent: m.sent, TotalSamplesDuration: m.captured},
	}
}

// connected has the n-th media say so, and sound flow from then on.
func (w *world) connected(n int) *fakeMedia {
	m := w.theMedia(n)
	m.mu.Lock()
	m.since, m.in, m.out = time.Now(), true, true
	m.mu.Unlock()
	m.notify(MediaEvent{Kind: MediaConnected})
	synctest.Wait()
	return m
}

func (m *fakeMedia) isClosed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed > 0
}

func TestAttach(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.talk()
		old := w.connected(0)
		w.Signal(Signal{Kind: SignalLineLost})
		time.Sleep(3 * time.Second)
		w.Signal(Signal{Kind: SignalReady, Reattached: []string{id}})
		w.Signal(Signal{Kind: SignalAttach, CallID: id, SDP: "offer anew", TelnyxLegID: "leg-2"})
		w.Signal(Signal{Kind: SignalCandidate, CallID: id, Candidate: "c1"})
		synctest.Wait()
		if c := w.Calls(t.Context())[0]; c.State != Recovering || c.PrevState != Active || c.RecoveredCallID != id || c.TelnyxLegID != "leg-2" {
			t.Errorf("%+v", c)
		}
		if old.isClosed() {
			t.Error("the old media was closed before there is new")
		}
		time.Sleep(time.Second)
		is(t, "states", w.states(id), "new requesting trying active recovering active")
		is(t, "line", w.line.done(), "invite call-1 our offer, attach call-1 our answer")
		is(t, "new media", w.theMedia(1).done(), "answer offer anew, candidate c1")
		if old.isClosed() {
			t.Error("the old media was closed before the new one is connected")
		}
		w.connected(1)
		if !old.isClosed() || w.Calls(t.Context())[0].Media != "connected" {
			t.Error("the old media stays")
		}
		time.Sleep(time.Minute)
		is(t, "codes", w.codes(), "")
		is(t, "states", w.states(id), "new requesting trying active recovering active")
		_ = w.Hangup(t.Context(), id)
		synctest.Wait()
		if !strings.HasSuffix(w.line.done(), "bye call-1 NORMAL_CLEARING/16") {
			t.Error(w.line.done())
		}
	})
}

// The line is lost again while the call is being taken back; that the attach failed is heard before or after that.
func TestLineLostInAttach(t *testing.T) {
	for _, first := range []bool{true, false} {
		in(t, nil, func(t *testing.T, w *world) {
			id := w.talk()
			w.connected(0)
			w.Signal(Signal{Kind: SignalLineLost})
			w.line.attachErr = errOffline
			if !first {
				w.line.delay = time.Second
			}
			w.Signal(Signal{Kind: SignalReady, Reattached: []string{id}})
			w.Signal(Signal{Kind: SignalAttach, CallID: id, SDP: "offer anew"})
			time.Sleep(w.gather + 10*time.Millisecond)
			w.Signal(Signal{Kind: SignalLineLost})
			time.Sleep(5 * time.Second)
			w.line.mu.Lock()
			w.line.attachErr, w.line.delay = nil, 0
			w.line.mu.Unlock()
			w.Signal(Signal{Kind: SignalReady, Reattached: []string{id}})
			w.Signal(Signal{Kind: SignalAttach, CallID: id, SDP: "offer once more"})
			time.Sleep(time.Second)
			is(t, "states", w.states(id), "new requesting trying active recovering active")
			w.connected(2)
		})
	}
}

// A held call is not let go on by being given back.
func TestAttachOfAHeldCall(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.talk()
		w.connected(0)
		w.line.says("held", "")
		_ = w.Hold(t.Context(), id)
		_ = w.Mute(t.Context(), id, true)
		w.Signal(Signal{Kind: SignalLineLost})
		w.Signal(Signal{Kind: SignalReady, Reattached: []string{id}})
		w.Signal(Signal{Kind: SignalAttach, CallID: id, SDP: "offer anew"})
		time.Sleep(time.Second)
		is(t, "states", w.states(id), "new requesting trying active held recovering active held")
		is(t, "new media", w.theMedia(1).done(), "mute true, hold true, answer offer anew, hold true")
	})
}

// A change of the network is acted on at once, by what the line says of itself, and until sound proves it.
func TestNetworkChanged(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.line.says("", "their answer")
		id := w.talk()
		m := w.connected(0)
		time.Sleep(10*time.Second + 900*time.Millisecond) // just before a sample
		w.Signal(Signal{Kind: SignalNetwork})
		synctest.Wait()
		is(t, "media, after a way was won", m.done(), "offer, set their answer")
		m.flows(false, false)
		lost := time.Now()
		w.Signal(Signal{Kind: SignalNetwork, Lost: true})
		time.Sleep(w.gather) // a sample of before is taken meanwhile
		synctest.Wait()
		is(t, "media", m.done(), "offer, set their answer, restart, set their answer")
		is(t, "line", w.line.done(), "invite call-1 our offer, healthy?, modify call-1 updateMedia our restart")
		if took := time.Since(lost); took > 100*time.Millisecond {
			t.Errorf("the restart came after %s", took)
		}
		// The network changes once more, before sound has proved anything.
		w.Signal(Signal{Kind: SignalNetwork, Lost: true})
		synctest.Wait()
		time.Sleep(w.gather)
		synctest.Wait()
		if n := strings.Count(m.done(), "restart"); n != 2 {
			t.Errorf("%d restarts after two changes", n)
		}
		m.flows(true, true)
		w.theMedia(0).notify(MediaEvent{Kind: MediaConnected})
		time.Sleep(time.Minute)
		if n := strings.Count(m.done(), "restart"); n != 2 {
			t.Errorf("%d restarts although sound flows", n)
		}
		is(t, "states", w.states(id), "new requesting trying active")
	})
}

// A way is lost while the call is being taken back, or set up, over a line that lives: its media is mended once it talks.
func TestNetworkChangedBeforeItTalks(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.line.says("", "their answer")
		id := w.talk()
		w.connected(0)
		w.Signal(Signal{Kind: SignalLineLost})
		w.Signal(Signal{Kind: SignalReady, Reattached: []string{id}})
		w.Signal(Signal{Kind: SignalAttach, CallID: id, SDP: "offer anew"})
		synctest.Wait()
		w.Signal(Signal{Kind: SignalNetwork, Lost: true})
		time.Sleep(2 * w.gather)
		synctest.Wait()
		is(t, "media", w.theMedia(1).done(), "answer offer anew, restart, set their answer")
		w.connected(1)
		time.Sleep(time.Minute)
		is(t, "states", w.states(id), "new requesting trying active recovering active")
		if n := strings.Count(w.theMedia(1).done(), "restart"); n != 1 {
			t.Errorf("%d restarts", n)
		}
	})
}

// A line that died with the network is waited for: the platform gives the call back, and no ICE restart is tried.
func TestNetworkChangedUnderTheLine(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.talk()
		old := w.connected(0)
		old.flows(false, false)
		w.line.mu.Lock()
		w.line.unhealthy = errOffline
		w.line.mu.Unlock()
		w.Signal(Signal{Kind: SignalNetwork, Lost: true})
		w.Signal(Signal{Kind: SignalLineLost})
		time.Sleep(100 * time.Millisecond)
		w.Signal(Signal{Kind: SignalReady, Reattached: []string{id}})
		w.Signal(Signal{Kind: SignalAttach, CallID: id, SDP: "offer anew"})
		time.Sleep(time.Second)
		w.connected(1)
		time.Sleep(time.Minute)
		is(t, "states", w.states(id), "new requesting trying active recovering active")
		if strings.Contains(old.done(), "restart") || !old.isClosed() {
			t.Errorf("old media: %s, closed: %t", old.done(), old.isClosed())
		}
	})
}

func TestNotReattached(t *testing.T) {
	for name, list := range map[string][]string{"empty": nil, "others": {"x", "y"}} {
		t.Run(name, func(t *testing.T) {
			in(t, nil, func(t *testing.T, w *world) {
				id := w.talk()
				w.Signal(Signal{Kind: SignalReady}) // on a line that was not lost it says nothing
				synctest.Wait()
				is(t, "states", w.states(id), "new requesting trying active")
				w.Signal(Signal{Kind: SignalLineLost})
				w.Signal(Signal{Kind: SignalReady, Reattached: list})
				synctest.Wait()
				is(t, "states", w.states(id), "new requesting trying active hangup destroy")
				is(t, "line", w.line.done(), "invite call-1 our offer") // no bye
				is(t, "codes", w.codes(), "48501")
				if s := w.report(id).Summary; s.Cause != "NORMAL_TEMPORARY_FAILURE" || s.CauseCode != 41 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// An attach of a call that is not ours: taken while there is no other (an earlier run of the device), else ignored.
func TestAttachOfAnUnknownCall(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.Signal(Signal{Kind: SignalAttach, CallID: "old", SDP: "offer", RemoteID: "100"})
		w.Signal(Signal{Kind: SignalAttach, CallID: "older", SDP: "offer"})
		time.Sleep(time.Second)
		is(t, "states", w.states("old"), "new recovering active")
		is(t, "states", w.states("older"), "")
		if c := w.Calls(t.Context())[0]; c.RecoveredCallID != "old" || c.RemoteID != "100" || c.Active.IsZero() {
			t.Errorf("%+v", c)
		}
		is(t, "codes", w.codes(), "35002")
	})
}

// The line goes once more while a call is being taken back: the next session's attach counts.
func TestAttachAgain(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.talk()
		w.Signal(Signal{Kind: SignalLineLost})
		w.Signal(Signal{Kind: SignalAttach, CallID: id, SDP: "offer 2"})
		synctest.Wait()
		w.Signal(Signal{Kind: SignalLineLost})
		w.Signal(Signal{Kind: SignalReady, Reattached: []string{id}})
		w.Signal(Signal{Kind: SignalAttach, CallID: id, SDP: "offer 3"})
		time.Sleep(10 * time.Second)
		is(t, "states", w.states(id), "new requesting trying active recovering active")
		is(t, "line", w.line.done(), "invite call-1 our offer, attach call-1 our answer")
		is(t, "media", w.theMedia(2).done(), "answer offer 3")
		if !w.theMedia(1).isClosed() || !w.theMedia(0).isClosed() {
			t.Error("media was left open")
		}
	})
}

// A call that was hung up while the line was down is not taken back, but said bye to again.
func TestAttachOfAnEndedCall(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.talk()
		w.line.byeErr = errOffline
		w.Signal(Signal{Kind: SignalLineLost})
		_ = w.Hangup(t.Context(), id)
		time.Sleep(time.Second)
		w.Signal(Signal{Kind: SignalReady, Reattached: []string{id}})
		w.Signal(Signal{Kind: SignalAttach, CallID: id, SDP: "offer anew"})
		synctest.Wait()
		is(t, "states", w.states(id), "new requesting trying active hangup destroy")
		is(t, "line", w.line.done(), "invite call-1 our offer, bye call-1 NORMAL_CLEARING/16, bye call-1 NORMAL_CLEARING/16")
	})
}

func TestAttachRefused(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.talk()
		w.line.attachErr = &Refused{Err: errors.New("no")}
		w.Signal(Signal{Kind: SignalAttach, CallID: id, SDP: "offer 2"})
		time.Sleep(time.Second)
		is(t, "states", w.states(id), "new requesting trying active recovering hangup destroy")
	})
}

// Signalling good, media bad: an ICE restart, proven by packets.
func TestICERestart(t *testing.T) {
	for _, tt := range []struct {
		name  string
		trip  func(*fakeMedia)
		after time.Duration // until the restart
		codes string
	}{
		{"failed", func(m *fakeMedia) { m.notify(MediaEvent{Kind: MediaFailed}) }, 0, "33004 36004"},
		{"disconnected for 3 s", func(m *fakeMedia) { m.notify(MediaEvent{Kind: MediaDisconnected}) }, 3 * time.Second, "33001 36004"},
		{"nothing comes in", func(m *fakeMedia) { m.flows(false, true) }, 3 * time.Second, "33001 36004"},
		{"nothing goes out", func(m *fakeMedia) { m.flows(true, false) }, 3 * time.Second, "33001 36004"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, nil, func(t *testing.T, w *world) {
				w.talk()
				m := w.connected(0)
				w.line.says("active", "answer anew")
				time.Sleep(10*time.Second + 500*time.Millisecond)
				tt.trip(m)
				if !strings.Contains(tt.name, "nothing") {
					m.flows(false, false)
				}
				time.Sleep(tt.after - tt.after/10)
				if tt.after > 0 && strings.Contains(m.done(), "restart") {
					t.Error("restarted too early")
				}
				time.Sleep(tt.after/10 + 2*time.Second)
				is(t, "media", m.done(), "offer, set their answer, restart, set answer anew")
				is(t, "line", w.line.done(), "invite call-1 our offer, healthy?, modify call-1 updateMedia our restart")
				m.flows(true, true)
				m.notify(MediaEvent{Kind: MediaConnected})
				time.Sleep(time.Minute)
				is(t, "codes", w.codes(), tt.codes)
				if c := w.Calls(t.Context())[0]; c.State != Active || c.mend != mendNone || c.Relay {
					t.Errorf("%+v", c)
				}
			})
		})
	}
}

// What comes back by itself within 3 s is left alone.
func TestShortDisconnect(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.talk()
		m := w.connected(0)
		for range 10 {
			m.notify(MediaEvent{Kind: MediaDisconnected})
			time.Sleep(2500 * time.Millisecond)
			m.notify(MediaEvent{Kind: MediaConnected})
			time.Sleep(time.Second)
		}
		is(t, "media", m.done(), "offer, set their answer")
	})
}

// Silence that hold or mute explains is no reason to mend.
func TestMeantSilence(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.talk()
		m := w.connected(0)
		_ = w.Mute(t.Context(), id, true)
		m.flows(true, false)
		time.Sleep(20 * time.Second)
		_ = w.Mute(t.Context(), id, false)
		m.flows(true, true)
		w.line.says("held", "")
		_ = w.Hold(t.Context(), id)
		m.flows(false, false)
		time.Sleep(20 * time.Second)
		is(t, "media", m.done(), "offer, set their answer, mute true, mute false, hold true")
		is(t, "codes", w.codes(), "")
	})
}

// With policy auto, a restart that brings no sound is followed by a move to TURN.
func TestMoveToRelay(t *testing.T) {
	in(t, func(c *Config, _ *world) { c.RelayFallback = true }, func(t *testing.T, w *world) {
		id := w.talk()
		m := w.connected(0)
		time.Sleep(5 * time.Second)
		w.line.says("active", "answer anew")
		m.flows(false, false)
		m.notify(MediaEvent{Kind: MediaFailed})
		time.Sleep(7 * time.Second) // the restart is not proven within 5 s
		relay := w.theMedia(1)
		is(t, "relay media", relay.done(), "offer, set answer anew")
		if !relay.relay {
			t.Error("the new media may take any way")
		}
		w.connected(1)
		if !m.isClosed() {
			t.Error("the old media stays")
		}
		time.Sleep(time.Minute)
		is(t, "line", w.line.done(), "invite call-1 our offer, healthy?, modify call-1 updateMedia our restart, healthy?, modify call-1 updateMedia our offer")
		is(t, "codes", w.codes(), "33004 36004 47001")
		is(t, "states", w.states(id), "new requesting trying active")
		if c := w.Calls(t.Context())[0]; !c.Relay || c.mend != mendNone {
			t.Errorf("%+v", c)
		}
	})
}

// A platform that is there and refuses a new description is asked over another connection, and gives the call back.
func TestRefusedRestartRenewsTheLine(t *testing.T) {
	for what, refuse := range map[string]func(*fakeLine){
		"an error": func(l *fakeLine) { l.modifyErr = &Refused{Err: errors.New("no")} },
		"no SDP":   func(l *fakeLine) { l.says("active", "") },
	} {
		t.Run(what, func(t *testing.T) {
			in(t, nil, func(t *testing.T, w *world) {
				id := w.talk()
				m := w.connected(0)
				refuse(w.line)
				m.flows(false, false)
				m.notify(MediaEvent{Kind: MediaFailed})
				time.Sleep(time.Second)
				is(t, "line", w.line.done(), "invite call-1 our offer, healthy?, modify call-1 updateMedia our restart, renew")
				w.Signal(Signal{Kind: SignalLineLost})
				time.Sleep(time.Second)
				w.Signal(Signal{Kind: SignalReady, Reattached: []string{id}})
				w.Signal(Signal{Kind: SignalAttach, CallID: id, SDP: "offer anew"})
				synctest.Wait()
				w.connected(1)
				time.Sleep(time.Minute)
				is(t, "states", w.states(id), "new requesting trying active recovering active")
				is(t, "codes", w.codes(), "33004 36004 47001")
				if !m.isClosed() {
					t.Error("the old media stays")
				}
				// Sound has flowed since: the same trouble is met in the same way.
				w.theMedia(1).flows(false, false)
				w.theMedia(1).notify(MediaEvent{Kind: MediaFailed})
				time.Sleep(time.Second)
				if n := strings.Count(w.line.done(), "renew"); n != 2 {
					t.Errorf("the line was renewed %d times: %s", n, w.line.done())
				}
			})
		})
	}
}

// Over another network the platform is asked anew for what it refused over the last one.
func TestNetworkChangeForgetsTheRenewal(t *testing.T) {
	c := mendingCall(mendSending, func(c *Info) { c.tries, c.renewed = 1, true })
	c, _ = Step(c, Input{Kind: OnNetwork, On: true})
	if c.renewed || c.tries != 0 || c.mend != mendAsking {
		t.Errorf("renewed %t, tries %d, mend %d", c.renewed, c.tries, c.mend)
	}
}

// A platform that refuses each new description, over the next connection too: the call ends, once, with an error that
// says why.
func TestNotMended(t *testing.T) {
	in(t, func(c *Config, _ *world) { c.RelayFallback = true }, func(t *testing.T, w *world) {
		id := w.talk()
		m := w.connected(0)
		w.line.modifyErr = &Refused{Err: errors.New("no")}
		m.flows(false, false)
		m.notify(MediaEvent{Kind: MediaFailed})
		time.Sleep(time.Second)
		w.Signal(Signal{Kind: SignalLineLost})
		w.Signal(Signal{Kind: SignalReady, Reattached: []string{id}})
		w.Signal(Signal{Kind: SignalAttach, CallID: id, SDP: "offer anew"})
		time.Sleep(time.Second)
		m = w.connected(1)
		m.flows(false, false)
		m.notify(MediaEvent{Kind: MediaFailed})
		time.Sleep(time.Second)
		is(t, "codes", w.codes(), "33004 36004 47001 33004 36004 47001 47001 47001")
		is(t, "states", w.states(id), "new requesting trying active recovering active hangup destroy")
		if s := w.report(id).Summary; s.CauseCode != 41 {
			t.Errorf("%+v", s)
		}
	})
}

// Silence alone never ends a call: the far side may just be silent.
func TestSilenceIsSurvived(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.talk()
		m := w.connected(0)
		w.line.says("active", "answer anew")
		m.flows(false, true)
		time.Sleep(5 * time.Minute)
		is(t, "states", w.states(id), "new requesting trying active")
		if n := strings.Count(m.done(), "restart"); n != maxTries {
			t.Errorf("%d restarts", n)
		}
		m.flows(true, true) // and when it speaks again, the next silence is taken as seriously
		time.Sleep(5 * time.Second)
		m.flows(false, true)
		time.Sleep(5 * time.Second)
		if n := strings.Count(m.done(), "restart"); n != maxTries+1 {
			t.Errorf("%d restarts", n)
		}
	})
}

// Signalling bad: no restart; the line's own recovery and the platform's attach are waited for.
func TestBothBad(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.talk()
		m := w.connected(0)
		w.line.mu.Lock()
		w.line.unhealthy = errOffline
		w.line.mu.Unlock()
		m.flows(false, false)
		m.notify(MediaEvent{Kind: MediaFailed})
		time.Sleep(4 * time.Second)
		w.Signal(Signal{Kind: SignalLineLost})
		time.Sleep(30 * time.Second)
		is(t, "media", m.done(), "offer, set their answer")
		is(t, "codes", w.codes(), "33004 36003")
		w.Signal(Signal{Kind: SignalReady, Reattached: []string{id}})
		w.Signal(Signal{Kind: SignalAttach, CallID: id, SDP: "offer anew"})
		time.Sleep(time.Second)
		w.connected(1)
		time.Sleep(time.Minute)
		is(t, "states", w.states(id), "new requesting trying active recovering active")
		is(t, "media", m.done(), "offer, set their answer") // never both
		if strings.Contains(w.line.done(), "updateMedia") {
			t.Error(w.line.done())
		}
	})
}

// Neither line nor media comes back: the call ends in bounded time.
func TestBothGone(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.talk()
		m := w.connected(0)
		w.Signal(Signal{Kind: SignalLineLost})
		m.flows(false, false)
		m.notify(MediaEvent{Kind: MediaFailed})
		time.Sleep(lostTimeout - time.Second)
		is(t, "states", w.states(id), "new requesting trying active")
		time.Sleep(2 * time.Second)
		is(t, "states", w.states(id), "new requesting trying active hangup destroy")
	})
}

// The line comes back with the call listed, but no attach: media that is bad is mended over it.
func TestLineBackMediaStillBad(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.talk()
		m := w.connected(0)
		w.Signal(Signal{Kind: SignalLineLost})
		m.flows(false, false)
		m.notify(MediaEvent{Kind: MediaFailed})
		time.Sleep(10 * time.Second)
		w.line.says("active", "answer anew")
		w.Signal(Signal{Kind: SignalReady, Reattached: []string{id}})
		time.Sleep(8 * time.Second)
		is(t, "media", m.done(), "offer, set their answer, restart, set answer anew")
		m.flows(true, true)
		time.Sleep(time.Minute)
		is(t, "states", w.states(id), "new requesting trying active")
	})
}

func TestTrickle(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id, err := w.Dial(t.Context(), DialRequest{Destination: "concierge"})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		m := w.theMedia(0)
		m.notify(MediaEvent{Kind: MediaCandidate, Candidate: "c1", SDPMid: "0"}) // before the offer went out
		time.Sleep(time.Second)
		m.notify(MediaEvent{Kind: MediaCandidate, Candidate: "c2", SDPMid: "0"})
		m.notify(MediaEvent{Kind: MediaEndOfCandidates})
		synctest.Wait()
		is(t, "line", w.line.done(), "invite call-1 our offer, candidate call-1 c1, candidate call-1 c2, end of candidates call-1")
		_ = w.Hangup(t.Context(), id)
	})
}
