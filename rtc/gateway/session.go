package gateway

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sidetone/rtc/verto"

	"github.com/coder/websocket"
	"github.com/google/uuid"
)

const (
	closeGoingAway = websocket.StatusGoingAway
	closePolicy    = websocket.StatusPolicyViolation

	loginTimeout = 30 * time.Second // of a socket that does not log in
	writeTimeout = 10 * time.Second // of one frame
	closeTimeout = time.Second      // of the closing handshake
	outQueue     = 256              // frames to a client that does not read
	silentPings  = 4                // intervals without any frame after which a client counts as gone
)

// session is one client's socket. Its reader calls handle; its writer sends what send queued, and pings.
type session struct {
	g      *Gateway
	log    *slog.Logger
	id     string // voice_sdk_id
	remote string
	fs     bool // of the freeswitch personality

	out    chan []byte
	heard  atomic.Pointer[time.Time] // when the last frame came
	lastID atomic.Uint32             // of the requests we sent
	dead   atomic.Bool               // a fault: frames vanish both ways

	abort     context.CancelFunc // ends the socket without a word
	closing   chan struct{}
	closeOnce sync.Once
	closeCode websocket.StatusCode
	closeText string

	reportID string // call_report_id
	// The reader's.
	told      string // the gateway state last told
	assistant string // the built-in destination that all calls of an anonymous login go to; those share a name
	early     early  // candidates of calls to come

	// Written by the reader under Gateway.mu: the reader reads them freely, others under Gateway.mu.
	name, sessid, userAgent string
	credential              string // of the newest login; empty for an anonymous one
	since                   time.Time
	logins                  int // the first and its renewals
}

func (g *Gateway) newSession(remote string, fs bool) *session {
	s := &session{
		g: g, id: "VSDK" + uuid.NewString(), remote: remote, fs: fs, reportID: uuid.NewString(),
		log: g.log.With("remote", remote), out: make(chan []byte, outQueue), closing: make(chan struct{}),
	}
	s.hear()
	return s
}

func (s *session) dialect() verto.Dialect {
	if s.fs {
		return verto.FreeSWITCH
	}
	return verto.Telnyx
}

// serveSocket runs a session from its handshake to its end.
func (g *Gateway) serveSocket(w http.ResponseWriter, r *http.Request) {
	// Any page may connect: who it is, is said by login, not by a cookie.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		g.log.Debug("not a WebSocket", "remote", r.RemoteAddr, "err", err)
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(verto.MaxFrame)
	s := g.newSession(r.RemoteAddr, r.URL.Path == vertoPath)
	// Not the request's context: a hijacked connection outlives what net/http thinks of it.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.abort = cancel
	if err := g.connect(s); err != nil {
		_ = conn.Close(closeGoingAway, err.Error())
		return
	}
	defer g.sockets.Done()
	written := make(chan struct{})
	go func() {
		defer close(written)
		defer cancel() // ends the reader
		s.write(ctx, conn)
	}()
	s.read(ctx, conn)
	s.close(websocket.StatusNormalClosure, "")
	g.disconnect(s)
	<-written
}

// read handles frames until the socket ends.
func (s *session) read(ctx context.Context, conn *websocket.Conn) {
	login := time.AfterFunc(loginTimeout, func() { s.close(closePolicy, "no login came") })
	defer login.Stop()
	for {
		kind, data, err := conn.Read(ctx)
		if err != nil {
			s.log.Debug("socket ended", "err", err)
			return
		}
		if s.dead.Load() {
			continue
		}
		s.hear()
		if kind == websocket.MessageText {
			s.handle(data)
		}
		if s.name != "" {
			login.Stop()
		}
	}
}

// write sends what is queued and pings, until close; then it sends the rest and closes the socket.
func (s *session) write(ctx context.Context, conn *websocket.Conn) {
	interval, idle := s.g.cfg.PingInterval, time.Duration(0)
	if s.fs { // it pings who was silent
		interval, idle = s.g.cfg.IdlePing/4, s.g.cfg.IdlePing
	}
	ping := time.NewTicker(interval)
	defer ping.Stop()
	var pinged time.Time
	put := func(b []byte) bool {
		if s.dead.Load() {
			return true
		}
		ctx, cancel := context.WithTimeout(ctx, writeTimeout)
		defer cancel()
		return conn.Write(ctx, websocket.MessageText, b) == nil
	}
	for {
		select {
		case b := <-s.out:
			if !put(b) {
				return
			}
		case <-ping.C:
			silent := time.Since(*s.heard.Load())
			if silent > silentPings*max(interval, idle) {
				s.close(closePolicy, "nothing was heard from the client")
			}
			if silent < idle || time.Since(pinged) < idle {
				continue
			}
			pinged = time.Now()
			s.request(verto.Ping, map[string]any{"serno": s.lastID.Load() + 1})
		case <-s.closing:
			limit := time.AfterFunc(closeTimeout, func() { conn.CloseNow() })
			defer limit.Stop()
			for {
				select {
				case b := <-s.out:
					if put(b) {
						continue
					}
				default:
					_ = conn.Close(s.closeCode, s.closeText)
				}
				return
			}
		}
	}
}

// cut ends the session as a broken cable does, but at once.
func (s *session) cut() { s.abort() }

// close ends the session after what is queued was sent.
func (s *session) close(code websocket.StatusCode, text string) {
	s.closeOnce.Do(func() {
		s.closeCode, s.closeText = code, text
		close(s.closing)
	})
}

func (s *session) hear() {
	now := time.Now()
	s.heard.Store(&now)
}

// send queues a frame. A client that does not read what it is sent loses its socket.
func (s *session) send(f *verto.Frame) {
	if !s.fs {
		f.VoiceSDKID = s.id
	}
	b, err := json.Marshal(f)
	if err != nil {
		s.log.Error("frame cannot be sent", "method", f.Method, "err", err)
		return
	}
	s.queue(b)
}

func (s *session) queue(b []byte) {
	select {
	case s.out <- b:
	default:
		s.close(closePolicy, "the client does not read")
	}
}

// request sends a request of ours and returns its id.
func (s *session) request(method string, params any) uint32 {
	id := s.lastID.Add(1)
	f, err := verto.Request(id, s.dialect().Method(method), params)
	if err != nil {
		s.log.Error("request cannot be sent", "method", method, "err", err)
		return id
	}
	s.send(f)
	return id
}

// reply answers a request; a notification gets no answer.
func (s *session) reply(req *request, result any) {
	if req.ID == nil {
		return
	}
	if r, ok := result.(verto.CallResult); ok && s.fs {
		if r.SDP = disguise(r.SDP); req.batch != nil {
			r.SessID = "" // as it does
		}
		result = r
	}
	f, err := verto.Reply(req.Frame, result)
	if err != nil {
		s.log.Error("answer cannot be sent", "method", req.Method, "err", err)
		return
	}
	s.respond(req, f)
}

// respond sends an answer, with the others where the request came in a batch.
func (s *session) respond(req *request, f *verto.Frame) {
	if req.batch != nil {
		req.batch.add(f)
		return
	}
	s.send(f)
}

// refuse answers a request with an error.
func (s *session) refuse(req *request, code int, message string) {
	if req.ID != nil {
		s.respond(req, verto.Refuse(req.Frame, code, message))
	}
}
