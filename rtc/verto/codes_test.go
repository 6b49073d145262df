package verto

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Every code that a line gives, made to come, by the number and the name that the SDKs give it.
func TestConditionCodes(t *testing.T) {
	called := func(b *bench) {
		_, _ = b.Call(context.Background(), Info, ClientCallParams{Dialog: DialogParams{CallID: "c1"}})
	}
	for want, c := range map[string]struct {
		platform *platform
		change   func(*Config)
		do       func(b *bench)
	}{
		"44003 BYE_SEND_FAILED": {
			platform: &platform{silent: func(f *Frame) bool { return f.Method == "telnyx_rtc.bye" }},
			do: func(b *bench) {
				_, _ = b.Call(context.Background(), Bye, ClientCallParams{Dialog: DialogParams{CallID: "c1"}})
			},
		},
		"45001 WEBSOCKET_CONNECTION_FAILED": {platform: &platform{refuseDial: func(int) error { return errNoRoute }}},
		"45002 WEBSOCKET_ERROR":             {do: func(b *bench) { b.drop() }},
		"45003 RECONNECTION_EXHAUSTED":      {platform: &platform{refuseDial: func(int) error { return errNoRoute }}},
		"45004 GATEWAY_FAILED":              {platform: &platform{states: []string{"FAILED"}}},
		"46001 LOGIN_FAILED":                {platform: &platform{loginError: &Error{Code: -32001, Message: "no"}}},
		"46002 INVALID_CREDENTIALS": {change: func(c *Config) {
			c.Credentials = func(context.Context) (Credentials, error) { return Credentials{User: "1001"}, nil }
		}},
		"46003 AUTHENTICATION_REQUIRED": {
			platform: &platform{answer: func(f *Frame) *Frame { return Refuse(f, -32000, "Authentication Required") }}, do: called,
		},
		"48001 NETWORK_OFFLINE": {platform: &platform{refuseDial: func(int) error {
			return fmt.Errorf("dial: %w", syscall.ENETUNREACH)
		}}},
		"34001 TOKEN_EXPIRING_SOON": {change: func(c *Config) {
			c.Credentials = func(context.Context) (Credentials, error) {
				return Credentials{Token: secretToken, Expires: time.Now().Add(200 * time.Second)}, nil
			}
		}},
		"35002 UNKNOWN_REATTACHED_SESSION": {do: func(b *bench) {
			b.say(b.request(1, Invite, ServerCallParams{CallID: "ours", SDP: "v=0"}))
			b.say(b.request(2, Attach, ServerCallParams{CallID: "other", SDP: "v=0"}))
		}},
		"36003 SIGNALING_RECOVERY_REQUIRED": {do: func(b *bench) { b.die() }},
	} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := c.platform
				if p == nil {
					p = &platform{}
				}
				b, stop := start(t, p, c.change)
				defer stop()
				synctest.Wait()
				if c.do != nil {
					c.do(b)
				}
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				var got []string
				b.mu.Lock()
				for _, w := range b.warned {
					got = append(got, fmt.Sprintf("%d %s", w.Code, w.Name))
				}
				b.mu.Unlock()
				if !slices.Contains(got, want) {
					t.Errorf("told %q", got)
				}
			})
		})
	}
}
