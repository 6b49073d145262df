package identity

import (
	"testing"
	"time"
)

func FuzzReadLife(f *testing.F) {
	f.Add(token(f, time.Unix(1, 0), time.Unix(1<<40, 0)), int64(0))
	f.Add("a.b.c", int64(1))
	f.Add("eyJhbGciOiJub25lIn0.eyJleHAiOjFlMzA4LCJpYXQiOi0xfQ.", int64(-1))
	f.Add("eyJhbGciOiJYIn0.eyJleHAiOiIxIn0.x", int64(1700000000))
	f.Add(token(f, time.Unix(1700000000, 0), time.Unix(1700000060, 0)), int64(1700000030))
	f.Fuzz(func(t *testing.T, token string, clock int64) {
		now := time.Unix(clock%(1<<33), 0)
		l := readLife(token)
		for _, at := range []time.Time{l.issued, l.expires} {
			if !at.IsZero() && !sane(at) {
				t.Errorf("time %v", at)
			}
		}
		for _, plausible := range []bool{false, true} {
			m := measure(grant{Credentials: Credentials{Token: NewSecret(token)}, serversExpire: now.Add(time.Hour)}, now, plausible)
			switch {
			case m.known != (m.left > 0), m.servers < 0:
				t.Errorf("%+v of %+v", m, l)
			case m.known && !l.issued.IsZero() && m.left > l.expires.Sub(l.issued):
				t.Errorf("%+v lives longer than %+v", m, l)
			case m.expired > 0 && (!plausible || now.Before(l.expires) || now.Before(l.issued)):
				t.Errorf("%+v of %+v expired at %v", m, l, now)
			}
			if m.known {
				if after := refreshAfter(m.left); after <= 0 && m.left > time.Microsecond || after > m.left {
					t.Errorf("life %v, refreshed after %v", m.left, after)
				}
			}
			inWords(m.left)
		}
	})
}

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte(`{"token":"x","expires_at":"2026-01-01T00:00:00Z","iceServers":[{"urls":"a"},{"urls":["b"],"credential":"c"}]}`))
	f.Add([]byte(`{"token":"x","iceServers":[{}],"iceServers_expires_at":"0001-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		g, err := readAnswer(body)
		if err == nil && g.Token.IsZero() {
			t.Errorf("%+v", g)
		}
		m := measure(g, time.Unix(1700000000, 0), true)
		if m.left < 0 || m.servers < 0 {
			t.Errorf("%+v", m)
		}
	})
}

func FuzzReadKept(f *testing.F) {
	f.Add([]byte(`{"origin":"x","token":"t","expires":"2026-01-01T00:00:00Z","life_s":3600,"saved":"2025-12-31T23:00:00Z","ice_servers":[{"urls":["stun:a"]}],"ice_servers_expire":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"token":"t","expires":"2026-01-01T00:00:00Z","life_s":1e308}`))
	f.Add([]byte(`{"token":"t","expires":"9999-01-01T00:00:00Z","life_s":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := readKept(b)
		if err != nil {
			return
		}
		for _, now := range []time.Time{time.Unix(0, 0), c.Expires.Add(-time.Minute), c.Expires.Add(time.Hour)} {
			h, due := wake(c, now, NewClock(time.Time{}))
			if h != nil && (!h.dead.After(now) || due.Before(now.Add(refreshPause))) {
				t.Errorf("%+v at %v: %+v, due %v", c, now, h, due)
			}
		}
	})
}
