package verto

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// source gives a new token each time it is asked, good for a life.
type source struct {
	mu      sync.Mutex
	life    time.Duration
	err     error
	asked   int
	dropped int
}

func (s *source) credentials(context.Context) (Credentials, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.err != nil {
		return Credentials{}, s.err
	}
	c := Credentials{Token: fmt.Sprintf("%s%d", secretToken, s.asked)}
	if s.life > 0 {
		c.Expires = time.Now().Add(s.life)
	}
	return c, nil
}

func (s *source) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *source) config(c *Config) {
	c.Credentials = s.credentials
	c.Refused = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.dropped++
	}
}

// Tokens of 60 s, renewed at 48 s for an hour: one connection, one clientReady, no warning.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{life: time.Minute}
		b, stop := start(t, &platform{pingEvery: 15 * time.Second}, s.config)
		defer stop()
		synctest.Wait()
		if _, err := b.Call(t.Context(), Invite, ClientCallParams{SDP: "v=0", Dialog: DialogParams{CallID: "c1"}}); err != nil {
			t.Fatal(err)
		}
		for range 75 {
			time.Sleep(48 * time.Second)
			if err := b.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		logins := b.received(Login)
		if len(logins) != 76 || len(b.dialed()) != 1 {
			t.Errorf("%d logins over %d connections", len(logins), len(b.dialed()))
		}
		p := params[LoginParams](t, logins[75])
		if p.Token != secretToken+"76" || p.SessID != "" {
			t.Errorf("last login %+v: want the newest token, and no sessid that would offer our calls anew", p)
		}
		if e := b.heard(); len(e) != 1 || e[0].Method != ClientReady {
			t.Errorf("events %+v: a renewed login must not end calls", e)
		}
		if got := b.lineStates(); !slices.Equal(got, []LineState{Connecting, Registering, Registered}) {
			t.Errorf("states %v", got)
		}
		if w := b.warnings(); len(w) != 0 {
			t.Errorf("warnings %v", w)
		}
	})
}

// Two notice that the login ends: the source of its token, and the line itself. It is told once, and anew for the next.
func TestTokenExpiringIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{life: time.Hour}
		b, stop := start(t, &platform{pingEvery: 15 * time.Second}, s.config)
		defer stop()
		for n := range 2 {
			time.Sleep(50 * time.Minute)
			for range 2 {
				if err := b.TokenExpiring(t.Context(), "the source has nothing newer"); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(9*time.Minute + 30*time.Second) // the line's own warning is two minutes before the end
			synctest.Wait()
			if w := b.warnings(); len(w) != 2*n+1 { // each but the last cleared
				t.Errorf("told %v", w)
			}
			if c := b.Conditions(); len(c) != 1 || c[0].Code != CodeTokenExpiring {
				t.Errorf("conditions %+v", c)
			}
			if err := b.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if c := b.Conditions(); len(c) != 0 {
				t.Errorf("conditions %+v", c)
			}
		}
	})
}

// Nobody renews the login: that is told once, in time, and the platform decides.
func TestTokenExpiring(t *testing.T) {
	for life, before := range map[time.Duration]time.Duration{24 * time.Hour: 2 * time.Minute, time.Minute: 6 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := &source{life: life}
			b, stop := start(t, &platform{}, s.config)
			defer stop()
			time.Sleep(life - before - time.Millisecond)
			synctest.Wait()
			if w := b.warnings(); len(w) != 0 {
				t.Errorf("warned too early: %v", w)
			}
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
			if w := b.warnings(); !slices.Equal(w, []int{CodeTokenExpiring}) {
				t.Errorf("warnings %v", w)
			}
			if c := b.Conditions(); len(c) != 1 || c[0].Name != "TOKEN_EXPIRING_SOON" || c[0].Action == "" {
				t.Errorf("conditions %+v", c)
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if b.Status().State != Registered || len(b.dialed()) != 1 {
				t.Errorf("line %+v", b.Status())
			}
			if err := b.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
			if c := b.Conditions(); len(c) != 0 {
				t.Errorf("conditions after a refresh: %+v", c)
			}
		})
	}
}

// A refusal while the old login holds ends nothing until it does; then the line is refused, once, and tries slowly.
func TestRefreshRefused(t *testing.T) {
	for _, who := range []string{"platform", "source"} {
		for _, code := range []int{CodeAuthenticationFailed, CodeAuthenticationRequired} {
			t.Run(fmt.Sprint(who, code), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &source{life: time.Minute}
					p := &platform{pingEvery: 15 * time.Second}
					b, stop := start(t, p, s.config)
					defer stop()
					time.Sleep(48 * time.Second)
					synctest.Wait()
					p.script(func() { p.loginError = &Error{Code: code, Message: "revoked " + secretToken + "2"} })
					if who == "source" {
						s.set(fmt.Errorf("broker says 403: %w", ErrRefused))
					}
					for range 5 {
						err := b.Refresh(t.Context())
						var refused *Error
						if !errors.As(err, &refused) && !errors.Is(err, ErrRefused) {
							t.Errorf("refresh: %v", err)
						}
						if strings.Contains(err.Error(), secretToken) {
							t.Errorf("the error holds a secret: %v", err)
						}
						p.script(func() { p.loginError = &Error{Code: code, Message: "revoked"} })
					}
					if n := len(b.received(Login)); n > 3 {
						t.Errorf("%d logins: want the first, one refresh, and one with what replaced the dropped token", n)
					}
					if b.Status().State != Registered {
						t.Errorf("line %+v while its login holds", b.Status())
					}
					if _, err := b.Call(t.Context(), Info, ClientCallParams{DTMF: "1"}); err != nil {
						t.Errorf("a call while the login holds: %v", err)
					}
					if who == "platform" && s.dropped != 1 || who == "source" && s.dropped != 0 {
						t.Errorf("cached credentials dropped %d times", s.dropped)
					}
					time.Sleep(12*time.Second + time.Millisecond)
					synctest.Wait()
					if st := b.Status(); st.State != Refused || st.Code != CodeLoginFailed || time.Until(st.RetryAt) < 59*time.Second {
						t.Errorf("line %+v once its login has ended", st)
					}
					ended := len(b.dialed())
					time.Sleep(10 * time.Minute)
					synctest.Wait()
					if n := s.asked; who == "source" && n > 10 {
						t.Errorf("the source was asked %d times", n)
					}
					if n := len(b.dialed()) - ended; n > 4 {
						t.Errorf("%d logins in 10 minutes", n)
					}
					n := 0
					for _, c := range b.warnings() {
						if c == CodeLoginFailed {
							n++
						}
					}
					if n != 1 {
						t.Errorf("46001 was said %d times", n)
					}
					// Mended: whoever says so brings the line back, a minute after its last try at the earliest.
					s.set(nil)
					p.script(func() { p.loginError = nil })
					if err := b.Refresh(t.Context()); err != nil {
						t.Error(err)
					}
					time.Sleep(refusedFirst)
					synctest.Wait()
					if b.Status().State != Registered {
						t.Errorf("line %+v", b.Status())
					}
				})
			})
		}
	}
}

// A refresh that fails for another reason is an error, and nothing else.
func TestRefreshFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		p := &platform{}
		b, stop := start(t, p, s.config)
		defer stop()
		synctest.Wait()
		s.set(errNoRoute)
		if err := b.Refresh(t.Context()); !errors.Is(err, errNoRoute) {
			t.Errorf("broker away: %v", err)
		}
		s.set(nil)
		p.script(func() { p.loginError = &Error{Code: -32603, Message: "internal"} })
		var refused *Error
		if err := b.Refresh(t.Context()); !errors.As(err, &refused) {
			t.Errorf("platform ill: %v", err)
		}
		p.script(func() { p.silent = func(f *Frame) bool { return f.Method == Login } })
		if err := b.Refresh(t.Context()); !errors.Is(err, ErrNoAnswer) {
			t.Errorf("no answer: %v", err)
		}
		if b.Status().State != Registered || len(b.dialed()) != 1 {
			t.Errorf("line %+v", b.Status())
		}
		// The connection goes while the answer is awaited.
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := b.Refresh(context.Background()); !errors.Is(err, ErrLineLost) {
				t.Errorf("line lost: %v", err)
			}
		})
		synctest.Wait()
		b.drop()
		wg.Wait()
		if err := b.Refresh(t.Context()); err != nil {
			t.Errorf("while the line is down: %v", err)
		}
		p.script(func() { p.silent, p.loginError = nil, nil })
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if b.Status().State != Registered {
			t.Errorf("line %+v", b.Status())
		}
		// With no known end, a refusal leaves the line to the platform.
		p.script(func() { p.loginError = &Error{Code: CodeAuthenticationFailed} })
		_ = b.Refresh(t.Context())
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		if b.Status().State != Registered {
			t.Errorf("line %+v", b.Status())
		}
	})
}

// Asked for while the first login is on its way, with credentials of a moment ago: done right after it. Many at once
// are one.
func TestRefreshEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		p := &platform{delay: func(f *Frame) time.Duration {
			if f.Method == Login {
				return time.Second
			}
			return 0
		}}
		b, stop := start(t, p, s.config)
		defer stop()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if err := b.Refresh(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := len(b.received(Login)); n != 2 || b.Status().State != Registered {
			t.Errorf("%d logins, line %s", n, b.Status().State)
		}
	})
}

// Nothing to log in with is said, and not tried.
func TestNoCredentials(t *testing.T) {
	for _, c := range []Credentials{{}, {User: "door"}, {Password: secretPassword}} {
		synctest.Test(t, func(t *testing.T) {
			b, stop := start(t, &platform{}, func(cfg *Config) {
				cfg.Credentials = func(context.Context) (Credentials, error) { return c, nil }
			})
			defer stop()
			synctest.Wait()
			if s := b.Status(); s.State != Refused || s.Code != CodeInvalidCredentials || len(b.received(Login)) != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}
