package verto

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A connection that swallows everything is noticed within 29 s, and replaced within one step of back-off, wherever
// between two pings it dies.
func TestHalfDead(t *testing.T) {
	for _, every := range []time.Duration{0, 15 * time.Second, 30 * time.Second} {
		for at := time.Duration(0); at < 30*time.Second; at += 1700 * time.Millisecond {
			synctest.Test(t, func(t *testing.T) {
				b, stop := start(t, &platform{pingEvery: every}, nil)
				defer stop()
				time.Sleep(time.Minute + at)
				synctest.Wait()
				b.die()
				died := time.Now()
				for b.Status().State == Registered {
					time.Sleep(100 * time.Millisecond)
					synctest.Wait()
				}
				if took := time.Since(died); took > 29*time.Second {
					t.Errorf("pings each %s, died at %s: noticed after %s", every, at, took)
				}
				noticed := time.Now()
				for b.Status().State != Registered {
					time.Sleep(10 * time.Millisecond)
					synctest.Wait()
				}
				if took := time.Since(noticed); took > 1300*time.Millisecond {
					t.Errorf("replaced %s after it was noticed", took)
				}
				want := []int{CodeRecovery, CodeWebSocket, -CodeWebSocket, -CodeRecovery}
				if got := b.warnings(); len(got) != 4 || !slices.Contains(got, CodeRecovery) || !slices.Contains(got, -CodeRecovery) {
					t.Errorf("conditions %v, want %v", got, want)
				}
				if n := b.registrations(); n != 1 {
					t.Errorf("%d registrations", n)
				}
			})
		}
	}
}

// A platform that talks, but answers nothing for 45 s, is asked, and left.
func TestTalkingButDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{noPong: true}, nil)
		defer stop()
		synctest.Wait()
		began := time.Now()
		for b.Status().State == Registered {
			b.say(b.request(1, Info, ServerCallParams{CallID: "c1", DTMF: "1"}))
			time.Sleep(2 * time.Second)
			synctest.Wait()
		}
		if took := time.Since(began); took < 50*time.Second || took > 56*time.Second {
			t.Errorf("left after %s", took)
		}
	})
}

func TestHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{}, nil)
		defer stop()
		synctest.Wait()
		pings := func() int { return len(b.received("telnyx_rtc.ping")) }

		if !b.Healthy(t.Context()) || pings() != 0 {
			t.Errorf("a line that was heard just now: probed %d times", pings())
		}
		time.Sleep(10 * time.Second)
		if !b.Healthy(t.Context()) || pings() != 1 {
			t.Errorf("a quiet line: probed %d times", pings())
		}

		b.die()
		time.Sleep(4 * time.Second)
		asked := time.Now()
		var wg sync.WaitGroup
		for range 5 { // everybody is told, and one probe does for all
			wg.Go(func() {
				if b.Healthy(context.Background()) {
					t.Error("a dead line is said to be healthy")
				}
			})
		}
		wg.Wait()
		if took := time.Since(asked); took > probeTimeout {
			t.Errorf("took %s to say so", took)
		}
		synctest.Wait()
		if b.Healthy(t.Context()) {
			t.Error("a line that is down is said to be healthy")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !b.Healthy(t.Context()) {
			t.Error("the new connection is said to be ill")
		}
		// Nobody is asked for longer than the caller waits.
		time.Sleep(10 * time.Second)
		b.die()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		asked = time.Now()
		if b.Healthy(ctx) || time.Since(asked) > time.Second {
			t.Errorf("took %s", time.Since(asked))
		}
		// Whoever waits when the line drops is told then.
		asked = time.Now()
		wg.Go(func() {
			if b.Healthy(context.Background()) || time.Since(asked) != 0 {
				t.Errorf("took %s to see that the line has dropped", time.Since(asked))
			}
		})
		synctest.Wait()
		b.drop()
		wg.Wait()
		stop()
		if b.Healthy(context.Background()) {
			t.Error("a line that has ended is said to be healthy")
		}
	})
}

// A changed network: the new connection is opened at once, with the session of the old.
func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		var mu sync.Mutex
		stuck := false
		p := &platform{}
		b, stop := start(t, p, func(c *Config) {
			c.Dial = func(ctx context.Context, u string) (Conn, error) {
				mu.Lock()
				s := stuck
				mu.Unlock()
				if s {
					select {
					case <-ctx.Done():
						return nil, ctx.Err()
					case <-hang:
					}
				}
				return p.dial(ctx, u)
			}
		})
		defer stop()
		time.Sleep(time.Minute)
		began := time.Now()
		if err := b.Renew(t.Context(), "the address has changed"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if time.Since(began) != 0 || b.Status().State != Registered || len(b.dialed()) != 2 {
			t.Errorf("%+v after %d connections", b.Status(), len(b.dialed()))
		}
		if p := params[LoginParams](t, b.received(Login)[1]); p.SessID != "sess-1" || !p.Reconnection {
			t.Errorf("login %+v", p)
		}
		// However often it is asked for, one connection a second is made.
		for range 50 {
			_ = b.Renew(t.Context(), "the address has changed")
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := len(b.dialed()); n > 4 || b.Status().State != Registered {
			t.Errorf("%d connections, line %s", n, b.Status().State)
		}
		// A dial that hangs on the old network is given up.
		mu.Lock()
		stuck = true
		mu.Unlock()
		b.drop()
		time.Sleep(3 * time.Second)
		mu.Lock()
		stuck = false
		mu.Unlock()
		_ = b.Renew(t.Context(), "the address has changed")
		synctest.Wait()
		if b.Status().State != Registered {
			t.Errorf("line %+v", b.Status())
		}
		if n := b.registrations(); n != 1 {
			t.Errorf("%d registrations", n)
		}
	})
}

// A back-off ends when the network is back; a refusal does not.
func TestRenewWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		down := true
		p.refuseDial = func(int) error { // holds platform.mu
			if down {
				return errNoRoute
			}
			return nil
		}
		b, stop := start(t, p, nil)
		defer stop()
		time.Sleep(5*time.Minute + 7*time.Second)
		synctest.Wait()
		p.script(func() { down = false })
		_ = b.Renew(t.Context(), "cable plugged in")
		time.Sleep(dialSpacing)
		synctest.Wait()
		if b.Status().State != Registered {
			t.Errorf("line %+v", b.Status())
		}
		p.script(func() { p.loginError = &Error{Code: CodeAuthenticationFailed} })
		b.drop()
		time.Sleep(5 * time.Second)
		n := len(b.dialed())
		_ = b.Renew(t.Context(), "cable plugged in")
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if b.Status().State != Refused || len(b.dialed()) != n {
			t.Errorf("line %+v after %d more connections", b.Status(), len(b.dialed())-n)
		}
	})
}

// A ping is answered in the way that was chosen.
func TestPongs(t *testing.T) {
	for pong, want := range map[Pong]string{
		"":          "request",
		PongRequest: "request",
		PongEcho:    "echo",
		PongResult:  "result",
	} {
		t.Run(string(pong), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, stop := start(t, &platform{}, func(c *Config) { c.Pong = pong })
				defer stop()
				synctest.Wait()
				b.say(b.request(77, Ping, map[string]any{"serno": 3}))
				synctest.Wait()
				got := "nothing"
				if pings := b.received("telnyx_rtc.ping"); len(pings) == 1 {
					got = "request"
					if string(pings[0].ID) == "77" {
						got = "echo"
					}
				}
				if answers := b.received(""); len(answers) == 1 && string(answers[0].ID) == "77" {
					got = "result"
				}
				if got != want {
					t.Errorf("%s, want %s", got, want)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if len(b.dialed()) != 1 {
					t.Errorf("%d connections", len(b.dialed()))
				}
			})
		})
	}
}

// A connection whose own address is gone is replaced at once; one that has it still must answer, however lately it did.
func TestNetworkChanged(t *testing.T) {
	other := []netip.Addr{netip.MustParseAddr("10.9.0.3")}
	both := append(other, ourAddress.Addr())
	for _, c := range []struct {
		name   string
		have   []netip.Addr
		dead   bool
		within time.Duration // of the change: registered on a new connection; 0: on the old one
	}{
		{"address gone", other, false, time.Millisecond},
		{"address gone, and nobody says so", other, true, time.Millisecond},
		{"address kept", both, false, 0},
		{"address kept, but the way is dead", both, true, changeTimeout + 1300*time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, stop := start(t, &platform{}, nil)
				defer stop()
				time.Sleep(10 * time.Second)
				b.say(b.request(1, Info, ServerCallParams{CallID: "c1", DTMF: "1"})) // so that it was heard just now
				synctest.Wait()
				if c.dead {
					b.die()
				}
				changed := time.Now()
				if err := b.NetworkChanged(t.Context(), c.have); err != nil {
					t.Fatal(err)
				}
				if well, took := b.Healthy(t.Context()), time.Since(changed); well != (c.within == 0) || took > changeTimeout {
					t.Errorf("healthy: %t, after %s", well, took)
				}
				for b.Status().State != Registered {
					time.Sleep(time.Millisecond)
					synctest.Wait()
				}
				if took := time.Since(changed); took > c.within {
					t.Errorf("registered after %s, want %s", took, c.within)
				}
				dials := 1
				if c.within > 0 {
					dials = 2
				}
				if n := len(b.dialed()); n != dials {
					t.Errorf("%d connections, want %d", n, dials)
				}
			})
		})
	}
	t.Run("in a back-off", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			away := true
			p := &platform{}
			p.refuseDial = func(int) error {
				if away {
					return errNoRoute
				}
				return nil
			}
			b, stop := start(t, p, nil)
			defer stop()
			time.Sleep(5 * time.Minute)
			p.script(func() { away = false })
			time.Sleep(2 * time.Second)
			if err := b.NetworkChanged(t.Context(), other); err != nil {
				t.Fatal(err)
			}
			time.Sleep(dialSpacing)
			synctest.Wait()
			if s := b.Status().State; s != Registered {
				t.Errorf("the line is %s", s)
			}
		})
	})
}
