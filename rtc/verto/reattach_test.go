package verto

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// attach is the platform's fresh offer for a call.
func attach(p *platform, id int, callID string) *Frame {
	return p.request(id, Attach, ServerCallParams{CallID: callID, SDP: "v=0\r\n"})
}

// A call over a lost connection: the session is named, the platform's offer is acknowledged before we answer it, and
// the answer goes out before the line counts as registered.
func TestReattach(t *testing.T) {
	for _, dialect := range []Dialect{Telnyx, FreeSWITCH} {
		t.Run(dialect.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &platform{dialect: dialect, states: []string{"REGED", "TRYING", "REGED"}}
				b, stop := start(t, p, func(c *Config) {
					if dialect.ClientSessID {
						c.Credentials = userLogin
					}
				})
				defer stop()
				synctest.Wait()
				if _, err := b.Call(t.Context(), Invite, ClientCallParams{SDP: "v=0", Dialog: DialogParams{CallID: "c1"}}); err != nil {
					t.Fatal(err)
				}
				p.script(func() { p.reattach = []string{"c1"} })
				time.Sleep(time.Hour) // the age of a sessid counts from the loss of the line
				b.drop()
				time.Sleep(1500 * time.Millisecond)
				synctest.Wait()
				login := params[LoginParams](t, b.received(Login)[1])
				if login.SessID == "" || login.SessID != b.Session().SessID || !login.Reconnection {
					t.Errorf("login %+v", login)
				}
				if q := b.url(1).Query(); q.Get("voice_sdk_id") != "VSDK-1" {
					t.Errorf("query %v", q)
				}
				heard := b.heard()
				if e := heard[len(heard)-1]; e.Method != ClientReady || !slices.Equal(e.Reattached, []string{"c1"}) {
					t.Errorf("event %+v", e)
				}
				before := len(b.received(""))
				b.say(attach(p, 55, "c1"))
				synctest.Wait()
				heard = b.heard()
				e := heard[len(heard)-1]
				if e.Method != Attach || e.Call.CallID != "c1" || e.Call.SDP == "" {
					t.Fatalf("event %+v", e)
				}
				if n := len(b.received("")); n != before+1 {
					t.Errorf("%d acks", n-before)
				}
				if _, err := b.Call(t.Context(), Attach, ClientCallParams{SDP: "v=0", Dialog: DialogParams{CallID: "c1", Attach: true}}); err != nil {
					t.Errorf("our attach: %v", err)
				}
				var order []string
				p.mu.Lock()
				for _, f := range p.frames {
					if f.Method == dialect.Method(Attach) || string(f.ID) == "55" {
						order = append(order, f.Method)
					}
				}
				p.mu.Unlock()
				if !slices.Equal(order, []string{"", dialect.Method(Attach)}) {
					t.Errorf("order %q: want the ack, then our attach", order)
				}
				if len(b.warnings()) > 2 {
					t.Errorf("warnings %v", b.warnings())
				}
			})
		})
	}
}

// The session is named while it is at most 90 s old.
func TestSessidLifetime(t *testing.T) {
	for away, want := range map[time.Duration]string{60 * time.Second: "sess-1", 89 * time.Second: "sess-1", 125 * time.Second: ""} {
		synctest.Test(t, func(t *testing.T) {
			p := &platform{}
			down := false
			p.refuseDial = func(int) error {
				if down {
					return errNoRoute
				}
				return nil
			}
			b, stop := start(t, p, nil)
			defer stop()
			synctest.Wait()
			p.script(func() { down = true })
			b.drop()
			time.Sleep(away)
			p.script(func() { down = false })
			_ = b.Renew(t.Context(), "the network is back")
			time.Sleep(dialSpacing)
			synctest.Wait()
			if p := params[LoginParams](t, b.received(Login)[1]); p.SessID != want || !p.Reconnection {
				t.Errorf("after %s: sessid %q, reconnection %v", away, p.SessID, p.Reconnection)
			}
		})
	}
}

// An offered call that is not ours is acknowledged and left, while others live; without any, it is of the time before
// a restart and is taken up.
func TestUnknownAttach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		b, stop := start(t, p, nil)
		defer stop()
		synctest.Wait()
		attaches := func() int {
			n := 0
			for _, e := range b.heard() {
				if e.Method == Attach {
					n++
				}
			}
			return n
		}
		b.say(attach(p, 1, "old"))
		synctest.Wait()
		if attaches() != 1 || len(b.received("")) != 1 || len(b.warnings()) != 0 {
			t.Errorf("with no calls: %d events, %d acks, warnings %v", attaches(), len(b.received("")), b.warnings())
		}
		b.say(attach(p, 2, "other")) // "old" lives
		synctest.Wait()
		if attaches() != 1 || len(b.received("")) != 2 || !slices.Equal(b.warnings(), []int{CodeUnknownReattached}) {
			t.Errorf("with another call: %d events, %d acks, warnings %v", attaches(), len(b.received("")), b.warnings())
		}
		b.say(p.request(3, Bye, ServerCallParams{CallID: "old"}))
		b.say(attach(p, 4, "other"))
		synctest.Wait()
		if attaches() != 2 {
			t.Errorf("after the other call: %d events", attaches())
		}
	})
}

// The list of calls that were kept decides which are ours; without a list there are none.
func TestNothingReattached(t *testing.T) {
	for _, list := range [][]string{nil, {}, {"somebody else's"}} {
		synctest.Test(t, func(t *testing.T) {
			p := &platform{}
			b, stop := start(t, p, nil)
			defer stop()
			synctest.Wait()
			b.say(p.request(1, Invite, ServerCallParams{CallID: "c1", SDP: "v=0"}))
			synctest.Wait()
			p.script(func() { p.reattach = list })
			b.drop()
			time.Sleep(2 * time.Second)
			synctest.Wait()
			heard := b.heard()
			if e := heard[len(heard)-1]; e.Method != ClientReady || slices.Contains(e.Reattached, "c1") {
				t.Errorf("event %+v", e)
			}
			b.say(attach(p, 2, "c2")) // c1 is gone: this one is taken up
			synctest.Wait()
			heard = b.heard()
			if e := heard[len(heard)-1]; e.Method != Attach {
				t.Errorf("event %+v", e)
			}
		})
	}
}

// Hung up while the line was away: the platform is told as soon as it says that it kept the call, and the call does
// not rise from the dead.
func TestByeOwed(t *testing.T) {
	for _, how := range []string{"down", "in flight", "unanswered"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &platform{}
				b, stop := start(t, p, nil)
				defer stop()
				synctest.Wait()
				if _, err := b.Call(t.Context(), Invite, ClientCallParams{SDP: "v=0", Dialog: DialogParams{CallID: "c1"}}); err != nil {
					t.Fatal(err)
				}
				bye := func() {
					if _, err := b.Call(t.Context(), Bye, ClientCallParams{Cause: "NORMAL_CLEARING", CauseCode: 16, Dialog: DialogParams{CallID: "c1"}}); err == nil {
						t.Error("bye went through")
					}
				}
				switch how {
				case "down":
					b.drop()
					synctest.Wait()
					bye()
				case "in flight":
					b.die()
					done := make(chan struct{})
					go func() { bye(); close(done) }()
					synctest.Wait()
					b.drop()
					<-done
				case "unanswered":
					b.die()
					bye() // and the line is probed, and left
				}
				p.script(func() { p.reattach = []string{"c1"} })
				for b.Status().State != Registered || len(b.dialed()) < 2 {
					time.Sleep(time.Second)
					synctest.Wait()
				}
				b.say(attach(p, 2, "c1"))
				synctest.Wait()
				for _, e := range b.heard() {
					if e.Method == Attach {
						t.Error("a call that was hung up came back")
					}
				}
				byes := b.received("telnyx_rtc.bye")
				if len(byes) != 1 {
					t.Fatalf("%d byes", len(byes))
				}
				if p := params[ClientCallParams](t, byes[0]); p.Dialog.CallID != "c1" || p.CauseCode != 16 || p.SessID == "" {
					t.Errorf("bye %+v", p)
				}
			})
		})
	}
}

// A punted line comes back as somebody new, ever later, and knows no calls.
func TestPuntedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		b, stop := start(t, p, nil)
		defer stop()
		synctest.Wait()
		for _, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute} {
			b.say(p.request(1, Invite, ServerCallParams{CallID: "c1", SDP: "v=0"}))
			b.say(p.request(2, Punt, struct{}{}))
			synctest.Wait()
			s := b.Status()
			if s.State != Down || time.Until(s.RetryAt) != want {
				t.Errorf("status %+v, want a try in %s", s, want)
			}
			time.Sleep(want + time.Second)
			synctest.Wait()
			logins := b.received(Login)
			if p := params[LoginParams](t, logins[len(logins)-1]); p.SessID != "" || p.Reconnection || b.Status().State != Registered {
				t.Errorf("login %+v, line %s", p, b.Status().State)
			}
		}
		for _, f := range b.received("telnyx_rtc.bye") {
			t.Errorf("a bye after a punt: %s", f.Params)
		}
		time.Sleep(time.Hour)
		b.say(p.request(2, Punt, struct{}{}))
		synctest.Wait()
		if d := time.Until(b.Status().RetryAt); d != 30*time.Second {
			t.Errorf("an hour later: a try in %s", d)
		}
	})
}
