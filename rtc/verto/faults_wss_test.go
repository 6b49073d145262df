package verto

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// ill is a platform on real sockets: each client, known by the path of its URL, is struck once by the fault that the
// path names, as soon as it is registered.
type ill struct {
	*httptest.Server
	t       *testing.T
	release chan struct{} // ends what is stuck
	wg      sync.WaitGroup

	mu      sync.Mutex
	clients map[string]*patient
}

type patient struct {
	dials  int
	open   int // connections that are logged in and alive
	struck time.Time
}

func newIll(t *testing.T) *ill {
	s := &ill{t: t, release: make(chan struct{}), clients: map[string]*patient{}}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	return s
}

func (s *ill) end() {
	close(s.release)
	s.CloseClientConnections()
	s.wg.Wait()
	s.Close()
}

// with changes or reads the state of a client.
func (s *ill) with(path string, do func(*patient)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[path] == nil {
		s.clients[path] = &patient{}
	}
	do(s.clients[path])
}

func (s *ill) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.wg.Add(1)
	defer s.wg.Done()
	kind := strings.Split(r.URL.Path, "/")[1]
	var n int
	s.with(r.URL.Path, func(p *patient) { p.dials++; n = p.dials })
	if kind == "refused-dial" && (n == 2 || n == 3) {
		http.Error(w, "later", http.StatusServiceUnavailable)
		return
	}
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer ws.CloseNow()
	say := func(f *Frame) {
		f.VoiceSDKID = "VSDK" + r.URL.Path
		b, _ := json.Marshal(f)
		_ = ws.Write(context.Background(), websocket.MessageText, b)
	}
	ask := func(method string, params any) {
		f, _ := Request(1, "telnyx_rtc."+method, params)
		say(f)
	}
	alive := false
	live := func(on bool) {
		if alive != on {
			alive = on
			s.with(r.URL.Path, func(p *patient) {
				if on {
					p.open++
				} else {
					p.open--
				}
			})
		}
	}
	defer live(false)
	for {
		_, b, err := ws.Read(context.Background())
		if err != nil {
			return
		}
		f, err := Parse(b)
		if err != nil {
			s.t.Error(err)
			return
		}
		switch f.Method {
		case Login:
			if kind == "late-answers" && n == 2 {
				select {
				case <-time.After(3 * time.Second):
				case <-s.release:
				}
			}
			live(true)
			reply, _ := Reply(f, LoginResult{SessID: "s1"})
			say(reply)
			ask(ClientReady, ClientReadyParams{})
		case "telnyx_rtc.gatewayState":
			reply, _ := Reply(f, GatewayStateResult{Params: GatewayStateParams{State: StateRegistered}})
			say(reply)
			if n > 1 {
				continue
			}
			s.with(r.URL.Path, func(p *patient) { p.struck = time.Now() })
			switch kind {
			case "half-dead":
				live(false)
				<-s.release
				return
			case "gateway-state":
				ask(GatewayState, GatewayStateParams{State: StateFailed})
			case "state-in-error":
				params, _ := json.Marshal(GatewayStateParams{State: StateFailWait})
				say(&Frame{JSONRPC: Version, ID: json.RawMessage(`"x"`), Error: &Error{Code: -32099, Message: "m", Params: params}})
			case "punt":
				ask(Punt, struct{}{})
			default: // cut, refused-dial, late-answers
				return
			}
		default:
			reply, _ := Reply(f, CallResult{Message: "PONG"})
			say(reply)
		}
	}
}

// Ten of each kind over real sockets, all at once, with the timers that devices have: it takes half a minute, which is
// what a punt and a swallowed connection take.
func TestFaultsOverWebSocket(t *testing.T) {
	s := newIll(t)
	defer s.end()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	ctx, cancel := context.WithCancel(t.Context())
	var running, waiting sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for _, kind := range []string{"cut", "half-dead", "refused-dial", "gateway-state", "state-in-error", "punt", "late-answers"} {
		for i := range 10 {
			path := fmt.Sprintf("/%s/%d", kind, i)
			c := NewClient(Config{
				URL: strings.Replace(s.URL, "https", "wss", 1) + path, Dialect: Telnyx, UserAgent: "Sidetone/test",
				TLS:         &tls.Config{RootCAs: roots},
				Credentials: func(context.Context) (Credentials, error) { return Credentials{Token: secretToken}, nil },
			})
			running.Go(func() {
				if err := c.Run(ctx); err != nil {
					t.Error(err)
				}
			})
			running.Go(func() {
				for range c.Events() {
				}
			})
			waiting.Go(func() {
				deadline := time.Now().Add(5 * time.Minute)
				for {
					var now patient
					s.with(path, func(p *patient) { now = *p })
					if now.dials > 1 && c.Status().State == Registered {
						if i == 0 {
							t.Logf("%s: back after %s, %d connections", kind, time.Since(now.struck).Round(100*time.Millisecond), now.dials)
						}
						return
					}
					if time.Now().After(deadline) {
						t.Errorf("%s: after %d connections the line is %s", path, now.dials, c.Status())
						return
					}
					time.Sleep(50 * time.Millisecond)
				}
			})
		}
	}
	waiting.Wait()
	for path := range s.clients { // no new ones come
		open := 0
		for range 100 { // until the platform has seen the old connection end
			s.with(path, func(p *patient) { open = p.open })
			if open == 1 {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if open != 1 {
			t.Errorf("%s: %d registrations at the end", path, open)
		}
	}
}
