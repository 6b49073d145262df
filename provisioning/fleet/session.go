package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// session is one connection to the broker. Each has a paho client of its own, which never reconnects: paho's own
// reconnecting has a history of lost subscriptions and deadlocks, and nothing of it is needed, as the agent knows what
// to say anew. The connection underneath is ours, so that closing it ends whatever paho waits for.
type session struct {
	client mqtt.Client
	in     chan mqtt.Message // from the broker
	lost   chan struct{}     // closed when the connection has ended; then why says why
	why    error

	mu     sync.Mutex
	conn   net.Conn
	closed bool
}

// connect makes a session, or says why there is none, within the timing's limits and ctx.
func (a *Agent) connect(ctx context.Context) (*session, error) {
	password := ""
	if a.config.Password != nil {
		var err error
		if password, err = a.config.Password(); err != nil {
			return nil, fmt.Errorf("password: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, a.timing.connect)
	defer cancel()

	s := &session{in: make(chan mqtt.Message, 64), lost: make(chan struct{})}
	var dialErr error // paho wraps it beyond recognition
	opts := mqtt.NewClientOptions().
		AddBroker("tcp://" + a.address).
		SetClientID(a.config.ClientID).
		SetUsername(a.config.Username).
		SetPassword(password).
		SetProtocolVersion(4). // 3.1.1, and no second try with 3.1
		SetCleanSession(!a.config.Will).
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetConnectTimeout(a.timing.connect).
		SetKeepAlive(a.timing.keepAlive).
		SetPingTimeout(a.timing.ping).
		SetWriteTimeout(a.timing.write).
		SetOrderMatters(true).
		SetStore(mqtt.NewMemoryStore()).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
			// paho acknowledges only when this returns, and waits for it: never block.
			select {
			case s.in <- m:
			default:
				a.log.Warn("the broker sends faster than we take; dropped", "topic", clip(m.Topic()))
			}
		}).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) {
			if s.why = err; err == nil {
				s.why = errors.New("connection lost")
			}
			close(s.lost) // said once, as the client never reconnects
		}).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
			conn, err := a.dial(ctx)
			if dialErr = err; err != nil {
				return nil, err
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.closed {
				conn.Close()
				return nil, net.ErrClosed
			}
			s.conn = conn
			return conn, nil
		})
	if a.config.Will {
		opts.SetBinaryWill(a.root+statusTopic, []byte("offline"), 1, true)
	}
	s.client = mqtt.NewClient(opts)
	token := s.client.Connect()
	select {
	case <-token.Done():
	case <-ctx.Done():
		s.close(0)
		return nil, fmt.Errorf("no answer from %s: %w", a.address, ctx.Err())
	}
	err := token.Error()
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword), errors.Is(err, packets.ErrorRefusedNotAuthorised):
		err = &refusedError{fmt.Errorf("%s refuses user %q (%w); check mqtt.username and mqtt.password_file", a.address, a.config.Username, err)}
	case dialErr != nil:
		err = dialErr
	}
	s.close(0)
	return nil, err
}

// refusedError is a broker that knows us and does not want us: worth only slow tries.
type refusedError struct{ error }

func (e *refusedError) Unwrap() error { return e.error }

// dial opens TCP, and TLS upon it: at least 1.2, chain and name verified.
func (a *Agent) dial(ctx context.Context) (net.Conn, error) {
	dialer := &net.Dialer{KeepAlive: 30 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", a.address)
	if err != nil {
		return nil, err
	}
	// The kernel takes the whole window at once, so that a write that blocks means a dead path.
	if err := conn.(*net.TCPConn).SetWriteBuffer(writeBuffer); err != nil {
		a.log.Debug("send buffer", "err", err)
	}
	if !a.tls {
		return conn, nil
	}
	host, _, _ := net.SplitHostPort(a.address)
	secure := tls.Client(conn, &tls.Config{ServerName: host, RootCAs: a.config.RootCAs, MinVersion: tls.VersionTLS12, Time: a.config.Now})
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS with %s: %w", a.address, err)
	}
	return secure, nil
}

// hostPort adds MQTT's own port where the URL has none.
func hostPort(u *url.URL, secure bool) string {
	port := u.Port()
	switch {
	case port != "":
	case secure:
		port = "8883"
	default:
		port = "1883"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// subscribe asks for filters, all with QoS 1. A broker that refuses one by its ACL is only warned of: the rest works.
func (s *session) subscribe(ctx context.Context, limit time.Duration, filters ...string) (refused []string, err error) {
	ask := map[string]byte{}
	for _, f := range filters {
		ask[f] = 1
	}
	token, err := s.do(func() mqtt.Token { return s.client.SubscribeMultiple(ask, nil) })
	if err != nil {
		return nil, err
	}
	if err := s.wait(ctx, token, limit); err != nil {
		return nil, err
	}
	const failure = 0x80 // SUBACK's return code, MQTT 3.1.1, section 3.9.3
	for filter, code := range token.(*mqtt.SubscribeToken).Result() {
		if code == failure {
			refused = append(refused, filter)
		}
	}
	if len(refused) > 0 {
		return refused, nil
	}
	return nil, token.Error()
}

// publish hands a message to paho.
func (s *session) publish(topic string, qos byte, retain bool, payload []byte) (mqtt.Token, error) {
	return s.do(func() mqtt.Token { return s.client.Publish(topic, qos, retain, payload) })
}

// do calls into paho, which blocks up to the write timeout when the connection ends in that moment; nobody waits for
// that but the goroutine left behind.
func (s *session) do(call func() mqtt.Token) (mqtt.Token, error) {
	token := make(chan mqtt.Token, 1)
	go func() { token <- call() }()
	select {
	case t := <-token:
		return t, nil
	case <-s.lost:
		return nil, s.why
	}
}

// wait waits for a token, the end of the connection, the limit or ctx.
func (s *session) wait(ctx context.Context, token mqtt.Token, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-token.Done():
		return nil // the token has its own error
	case <-s.lost:
		return s.why
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errNoProgress
	}
}

// close says goodbye for at most the given time, 0 for not at all, and closes the connection.
func (s *session) close(goodbye time.Duration) {
	if goodbye == 0 {
		s.cut()
	}
	s.client.Disconnect(uint(goodbye.Milliseconds()))
	s.cut()
}

// cut closes the connection underneath.
func (s *session) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.conn != nil {
		s.conn.Close()
	}
}
