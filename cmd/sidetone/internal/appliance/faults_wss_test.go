package appliance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/control"
	"sidetone/rtc/call"
	"sidetone/rtc/verto"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

// exchanges are platforms on one real socket: each device has its own, by the path of its URL.
type exchanges struct {
	*httptest.Server
	t  *testing.T
	wg sync.WaitGroup
	of map[string]*exchange // written before the first device comes
}

func (s *exchanges) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.wg.Add(1)
	defer s.wg.Done()
	x := s.of[r.URL.Path]
	if !x.opens() {
		http.Error(w, "later", http.StatusServiceUnavailable)
		return
	}
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		s.t.Error(err)
		return
	}
	x.serve(wsConn{ws})
}

// wsConn is a WebSocket that goes without a word.
type wsConn struct{ *websocket.Conn }

func (c wsConn) Read(ctx context.Context) ([]byte, error) {
	_, b, err := c.Conn.Read(ctx)
	return b, err
}

func (c wsConn) Write(ctx context.Context, b []byte) error {
	return c.Conn.Write(ctx, websocket.MessageText, b)
}

func (c wsConn) Close(int, string) error { return c.CloseNow() }

// Ten of each kind over real sockets, all at once, in mid-call and with the timers that devices have: it takes the 40 s
// that a punt takes.
func TestFaultsOverWebSocket(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 40 s")
	}
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	const each = 10
	s := &exchanges{t: t, of: map[string]*exchange{}}
	for k := range faults {
		for i := range each {
			s.of[fmt.Sprintf("/%d/%d", k, i)] = newExchange(t)
		}
	}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	var all sync.WaitGroup
	for k, f := range faults {
		for i := range each {
			path := fmt.Sprintf("/%d/%d", k, i)
			all.Go(func() {
				x := s.of[path]
				d := newDoor(t, func(c *verto.Config) {
					c.URL = "wss" + s.URL[len("https"):] + path
					c.TLS = &tls.Config{RootCAs: roots}
				})
				defer x.wg.Wait()
				defer x.cut()
				defer d.end()
				strikeOnce(t, fmt.Sprintf("%s, %d", f.name, i), d, x, f, i%2 == 0)
			})
		}
	}
	all.Wait()
	s.wg.Wait()
}

// strikeOnce has a device call, or be called, and strikes.
func strikeOnce(t *testing.T, what string, d *station, x *exchange, f fault, outbound bool) {
	until := func(why string, holds func() bool) bool {
		for end := time.Now().Add(3 * time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("%s: it never comes that %s; the line is %s", what, why, d.Appliance.line.Status())
				return false
			}
		}
		return true
	}
	registered := func() bool {
		return d.Appliance.line.Status().State == verto.Registered && x.registrations() == 1
	}
	if !until("the line is registered", registered) {
		return
	}
	if outbound {
		if _, err := d.Appliance.calls.Dial(t.Context(), call.DialRequest{Destination: "house"}); err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
	} else {
		x.ring()
	}
	if !until("two parties talk", func() bool {
		for _, c := range d.live(t) {
			switch c.State {
			case call.Trying:
				x.pickUp(c.ID)
			case call.Ringing:
				_ = d.Answer(t.Context(), c.ID, nil)
			}
		}
		return len(x.answered()) == 1 && slices.Equal(answered(d.live(t)), x.answered())
	}) {
		return
	}
	id := x.answered()[0]
	before := x.dialed()
	struck := time.Now()
	f.strike(x, rand.New(rand.NewPCG(uint64(len(what)), 7)))
	if !until("the line is back", func() bool { return x.dialed() > before && registered() }) {
		return
	}
	t.Logf("%s: back after %s", what, time.Since(struck).Round(100*time.Millisecond))
	if !f.forgets {
		if !until("the call is back", func() bool {
			calls := d.live(t)
			return len(calls) == 1 && calls[0].ID == id && calls[0].State == call.Active
		}) {
			return
		}
		_ = d.Do(t.Context(), control.Hangup, "")
	}
	if !until("the call is over", func() bool { return d.causeCode(id) != 0 && len(d.live(t)) == 0 }) {
		return
	}
	want := 16
	if f.forgets {
		want = 41
	}
	if got := d.causeCode(id); got != want {
		t.Errorf("%s: the call ended by %d, not by %d", what, got, want)
	}
	if len(x.answered()) > 0 {
		t.Errorf("%s: the platform still has %v", what, x.answered())
	}
	until("the device is idle", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.lamp == "idle"
	})
	d.settled(t)
	if n := x.registrations(); n != 1 {
		t.Errorf("%s: %d registrations", what, n)
	}
}

func (x *exchange) dialed() (n int) {
	x.with(func() { n = x.dials })
	return n
}
