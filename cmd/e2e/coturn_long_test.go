//go:build long

package e2e_test

import (
	"testing"
	"time"
)

// TestCoturnLong holds a call of 15 minutes by UDP and one by TCP, in which coturn lets each nonce grow stale: the client
// has to take the new one, and nobody may hear it.
func TestCoturnLong(t *testing.T) {
	l := startLab(t)
	c := startCoturn(t, l)
	t.Run("calls", func(t *testing.T) {
		for _, w := range []struct{ device, url, protocol string }{{"door1", c.udp, "udp"}, {"door2", c.tcp, "tcp"}} {
			t.Run(w.protocol, func(t *testing.T) {
				t.Parallel()
				if err := c.talk(t, l, w.device, w.url, w.protocol, 15*time.Minute); err != nil {
					t.Error(err)
				}
			})
		}
	})
	if n := c.stale(t); n < 2 {
		t.Errorf("coturn found %d nonces stale, want one in each call at least", n)
	} else {
		t.Logf("coturn found %d nonces stale", n)
	}
}
