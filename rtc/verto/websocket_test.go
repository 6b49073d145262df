package verto

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// wssServer is a small platform on a real loopback socket: it registers everybody, and takes call reports.
type wssServer struct {
	*httptest.Server
	closes  chan websocket.StatusCode
	deaf    atomic.Bool // stops reading once registered: a network that swallows everything
	posts   chan *http.Request
	failing atomic.Int32 // uploads still to be refused
}

func newWSSServer(t *testing.T) *wssServer {
	s := &wssServer{closes: make(chan websocket.StatusCode, 4), posts: make(chan *http.Request, 4)}
	release := make(chan struct{})
	var serving sync.WaitGroup
	mux := http.NewServeMux()
	mux.HandleFunc("POST /call_report", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if s.failing.Add(-1) >= 0 {
			http.Error(w, "later", http.StatusServiceUnavailable)
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		s.posts <- r
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		serving.Add(1)
		defer serving.Done()
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.CloseNow()
		say := func(f *Frame) {
			b, _ := json.Marshal(f)
			_ = ws.Write(context.Background(), websocket.MessageText, b)
		}
		for {
			_, b, err := ws.Read(context.Background())
			if err != nil {
				s.closes <- websocket.CloseStatus(err)
				return
			}
			f, err := Parse(b)
			if err != nil {
				t.Error(err)
				return
			}
			var reply *Frame
			switch f.Method {
			case Login:
				reply, _ = Reply(f, LoginResult{SessID: "s1"})
				reply.VoiceSDKID = "VSDK-9"
				say(reply)
				ready, _ := Request(1, "telnyx_rtc.clientReady", ClientReadyParams{})
				say(ready)
			default:
				reply, _ = Reply(f, GatewayStateResult{Params: GatewayStateParams{State: "REGED", CallReportID: "r1"}})
				say(reply)
				if s.deaf.Load() {
					<-release
					return
				}
			}
		}
	})
	s.Server = httptest.NewTLSServer(mux)
	t.Cleanup(func() {
		close(release)
		s.CloseClientConnections()
		serving.Wait()
		s.Server.Close()
	})
	return s
}

func (s *wssServer) config() Config {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return Config{
		URL: strings.Replace(s.URL, "https", "wss", 1), Dialect: Telnyx, UserAgent: "Sidetone/test",
		TLS:         &tls.Config{RootCAs: roots},
		Credentials: func(context.Context) (Credentials, error) { return Credentials{Token: secretToken}, nil },
	}
}

// waitFor reads events until the line is in a state.
func waitFor(t *testing.T, c *Client, want LineState) Status {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case e := <-c.Events():
			if e.Status != nil && e.Status.State == want {
				return *e.Status
			}
		case <-deadline:
			t.Fatalf("the line is %+v, want %s", c.Status(), want)
		}
	}
}

func run(t *testing.T, c *Client) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

func upload(c *Client, body string) Upload {
	s := c.Session()
	return Upload{CallID: "call-1", ReportID: s.CallReportID, VoiceSDKID: s.VoiceSDKID, Body: []byte(body)}
}

func TestWebSocket(t *testing.T) {
	s := newWSSServer(t)
	c := NewClient(s.config())
	stop := run(t, c)
	defer stop()
	waitFor(t, c, Registered)

	s.failing.Store(1)
	if err := c.UploadReport(t.Context(), upload(c, `{"stats":[]}`)); err != nil {
		t.Fatal(err)
	}
	post := <-s.posts
	body, _ := io.ReadAll(post.Body)
	for header, want := range map[string]string{
		"Content-Type": "application/json", "X-Call-Report-Id": "r1", "X-Call-Id": "call-1", "X-Voice-Sdk-Id": "VSDK-9",
	} {
		if got := post.Header.Get(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}
	if string(body) != `{"stats":[]}` {
		t.Errorf("body %s", body)
	}

	stop()
	if code := <-s.closes; code != websocket.StatusNormalClosure {
		t.Errorf("the platform saw close code %d", code)
	}
}

func TestUploadGivenUp(t *testing.T) {
	s := newWSSServer(t)
	c := NewClient(s.config())
	stop := run(t, c)
	defer stop()
	waitFor(t, c, Registered)
	s.failing.Store(1000)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // within the third pause, which ends after 3.5 s
	defer cancel()
	err := c.UploadReport(ctx, upload(c, "{}"))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "503") {
		t.Errorf("upload: %v", err)
	}
}

// A network that swallows everything must not hold up the end.
func TestStopOnDeadNetwork(t *testing.T) {
	s := newWSSServer(t)
	s.deaf.Store(true)
	c := NewClient(s.config())
	stop := run(t, c)
	waitFor(t, c, Registered)
	began := time.Now()
	stop()
	if took := time.Since(began); took > 10*closeTimeout {
		t.Errorf("the end took %s", took)
	}
}

func TestUntrustedCertificate(t *testing.T) {
	s := newWSSServer(t)
	s.Config.ErrorLog = nil
	cfg := s.config()
	cfg.TLS = nil
	c := NewClient(cfg)
	stop := run(t, c)
	defer stop()
	if status := waitFor(t, c, Down); status.Code != CodeConnectFailed || !strings.Contains(status.Message, "line.ca_file") {
		t.Errorf("status %+v", status)
	}
}

func TestNotAWebSocket(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	c := NewClient(Config{
		URL: strings.Replace(s.URL, "http", "ws", 1), Dialect: Telnyx,
		Credentials: func(context.Context) (Credentials, error) { return Credentials{Token: secretToken}, nil },
	})
	stop := run(t, c)
	defer stop()
	if status := waitFor(t, c, Down); !strings.Contains(status.Message, "404") || !strings.Contains(status.Message, "line.url") {
		t.Errorf("status %+v", status)
	}
}
