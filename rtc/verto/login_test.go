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

func TestRefused(t *testing.T) {
	for _, code := range []int{CodeAuthenticationFailed, CodeAuthenticationRequired, CodePermissionDenied, 46003} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dropped := 0
				p := &platform{loginError: &Error{Code: code, Message: "bad token " + secretToken}}
				b, stop := start(t, p, func(c *Config) { c.Refused = func() { dropped++ } })
				synctest.Wait()
				s := b.Status()
				if s.State != Refused || s.Code != CodeLoginFailed || s.Name != "LOGIN_FAILED" {
					t.Errorf("status %+v", s)
				}
				if !strings.Contains(s.Message, "line.token_file") || strings.Contains(s.Message, secretToken) {
					t.Errorf("message %q: must say what to do, and no secret", s.Message)
				}
				if d := time.Until(s.RetryAt); d < time.Minute || d > 75*time.Second {
					t.Errorf("retry in %s, want a minute", d)
				}
				_, err := b.Call(t.Context(), Invite, ClientCallParams{})
				if !errors.Is(err, ErrNotRegistered) || !strings.Contains(err.Error(), "line.token_file") {
					t.Errorf("a call on a refused line: %v", err)
				}
				time.Sleep(24 * time.Hour)
				synctest.Wait()
				dials := b.dialed()
				for i, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
					want *= time.Minute
					if got := dials[i+1].Sub(dials[i]); got < want || got > want*5/4 {
						t.Errorf("pause %d was %s, want %s", i+1, got, want)
					}
				}
				if got := b.lineStates(); !slices.Equal(got, []LineState{Connecting, Registering, Refused}) {
					t.Errorf("states %v: tries while it is refused are no news", got)
				}
				if w := b.warnings(); !slices.Equal(w, []int{CodeLoginFailed}) {
					t.Errorf("told %v", w)
				}
				if n := len(dials); n > 60 {
					t.Errorf("%d logins in a day of refusals", n)
				}
				stop()
				if dropped != len(dials) {
					t.Errorf("Refused called %d times for %d refusals", dropped, len(dials))
				}
			})
		})
	}
}

func TestRefusedThenMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		bad := true
		b, stop := start(t, &platform{}, func(c *Config) {
			c.Credentials = func(context.Context) (Credentials, error) {
				mu.Lock()
				defer mu.Unlock()
				if bad {
					return Credentials{}, fmt.Errorf("token broker says 403 Forbidden: %w", ErrRefused)
				}
				return Credentials{Token: secretToken}, nil
			}
			c.Refused = func() { t.Error("Refused called: there was no token to drop") }
		})
		defer stop()
		synctest.Wait()
		if s := b.Status(); s.State != Refused || !strings.Contains(s.Message, "403") || len(b.dialed()) != 0 {
			t.Errorf("status %+v after %d connections", s, len(b.dialed()))
		}
		mu.Lock()
		bad = false
		mu.Unlock()
		time.Sleep(80 * time.Second)
		synctest.Wait()
		if s := b.Status(); s.State != Registered || s.Message != "" {
			t.Errorf("status %+v", s)
		}
	})
}

// A broker that is down is no refusal: it is asked again soon.
func TestCredentialsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{}, func(c *Config) {
			c.Credentials = func(context.Context) (Credentials, error) { return Credentials{}, errNoRoute }
		})
		defer stop()
		synctest.Wait()
		if s := b.Status(); s.State != Down || time.Until(s.RetryAt) > 2*time.Second {
			t.Errorf("status %+v", s)
		}
	})
}

// An error to the login that is not about credentials is an ordinary failure.
func TestLoginServerError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{loginError: &Error{Code: -32603, Message: "internal error"}}, nil)
		defer stop()
		synctest.Wait()
		if s := b.Status(); s.State != Down || s.Code != CodeGatewayFailed {
			t.Errorf("status %+v", s)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := len(b.received(Login)); n > 4000 {
			t.Errorf("%d logins in a day", n)
		}
	})
}

func TestGatewayStates(t *testing.T) {
	tests := []struct {
		name       string
		states     []string
		inError    bool
		after      time.Duration
		want       LineState
		wantCode   int
		wantPolls  int
		reconnects bool
	}{
		{"at once", []string{"REGED"}, false, time.Second, Registered, 0, 1, false},
		{"REGISTER is ready", []string{"REGISTER"}, false, time.Second, Registered, 0, 1, false},
		{"inside an error", []string{"REGED"}, true, time.Second, Registered, 0, 1, false},
		{"slow", []string{"UNREGED", "NOREG", "UNREGED", "NOREG", "REGED"}, false, 30 * time.Second, Registered, 0, 5, false},
		{"slow inside errors", []string{"UNREGED", "REGED"}, true, 30 * time.Second, Registered, 0, 2, false},
		{"never", []string{"NOREG"}, false, 40 * time.Second, Refused, CodeLoginFailed, 5, false},
		{"trying", []string{"TRYING", "TRYING", "TRYING", "TRYING", "TRYING", "TRYING", "REGED"}, false, 40 * time.Second, Registered, 0, 7, false},
		{"failed", []string{"FAILED", "REGED"}, false, 20 * time.Second, Registered, 0, 2, true},
		{"failed for good", []string{"FAIL_WAIT"}, false, time.Second, Down, CodeGatewayFailed, 1, false},
		{"failed inside an error", []string{"TIMEOUT"}, true, time.Second, Down, CodeGatewayFailed, 1, false},
		{"waiting after a failure", []string{"FAIL_WAIT", "REGED"}, false, 20 * time.Second, Registered, 0, 2, true},
		{"timed out", []string{"TIMEOUT", "REGED"}, true, 20 * time.Second, Registered, 0, 2, true},
		{"expired", []string{"EXPIRED", "REGED"}, false, 20 * time.Second, Registered, 0, 2, false},
		{"unregister", []string{"UNREGISTER", "REGED"}, true, 20 * time.Second, Registered, 0, 2, false},
		{"down", []string{"DOWN", "DOWN", "REGED"}, false, 20 * time.Second, Registered, 0, 3, false},
		{"attached", []string{"ATTACHED", "REGED"}, false, 20 * time.Second, Registered, 0, 2, false},
		{"down for good", []string{"DOWN"}, false, registerTimeout + time.Millisecond, Down, CodeGatewayFailed, -1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, stop := start(t, &platform{states: tt.states, stateError: tt.inError}, nil)
				defer stop()
				time.Sleep(tt.after)
				synctest.Wait()
				if s := b.Status(); s.State != tt.want || s.Code != tt.wantCode {
					t.Errorf("status %+v", s)
				}
				if n := len(b.received("telnyx_rtc.gatewayState")); n != tt.wantPolls && tt.wantPolls >= 0 {
					t.Errorf("%d polls, want %d", n, tt.wantPolls)
				}
				if tt.reconnects {
					d := b.dialed()
					if len(d) != 2 || b.url(1).Query().Get("skip_last_voice_sdk_id") != "true" {
						t.Fatalf("after a failed gateway: %d connections, last to %s", len(d), b.url(len(d)-1))
					}
					if gap := d[1].Sub(d[0]); gap < 2*time.Second || gap > 6*time.Second {
						t.Errorf("came back after %s, want 2 to 6 s", gap)
					}
				}
			})
		})
	}
}

func TestGatewayStatePushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{}, nil)
		defer stop()
		synctest.Wait()
		// The registration is lost, and found again when asked for.
		b.say(b.request(7, "whatever", map[string]any{"state": "UNREGED"}))
		synctest.Wait()
		if got := b.Status(); got.State != Registering || got.GatewayState != "UNREGED" {
			t.Errorf("after UNREGED: %+v", got)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if got := b.Status().State; got != Registered {
			t.Errorf("after another poll: %s", got)
		}
		// A name that is no state of a gateway changes nothing.
		b.say(b.request(8, "whatever", map[string]any{"state": "MONTANA"}))
		// A failed gateway is left.
		b.say(b.request(9, "gatewayState", map[string]any{"state": "FAILED"}))
		synctest.Wait()
		if got := b.Status(); got.State != Down || got.Code != CodeGatewayFailed || got.GatewayState != "FAILED" {
			t.Errorf("after FAILED: %+v", got)
		}
	})
}

// A request answered by "authentication required" means that the platform has forgotten us: log in again, calmly.
func TestLoginForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{answer: func(f *Frame) *Frame { return Refuse(f, CodeAuthenticationRequired, "Authentication Required") }}
		b, stop := start(t, p, nil)
		defer stop()
		synctest.Wait()
		if _, err := b.Call(t.Context(), Invite, ClientCallParams{}); err == nil {
			t.Error("invite succeeded")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := len(b.received(Login)); n != 2 || b.Status().State != Registered {
			t.Errorf("%d logins, line %s", n, b.Status().State)
		}
	})
}
