package verto

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"sidetone/rtc/quality"
)

// closeTimeout bounds the closing handshake: a door station that is told to stop does not wait for a dead network.
const closeTimeout = 250 * time.Millisecond

// dialWebSocket is the Dial of a Config that names none.
func dialWebSocket(tlsConfig *tls.Config, userAgent string) func(context.Context, string) (Conn, error) {
	return func(ctx context.Context, url string) (Conn, error) {
		// The TCP connection is kept hold of, because closing it is the one thing that ends a closing handshake early.
		var mu sync.Mutex
		var tcp net.Conn
		dialer := net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
		transport := &http.Transport{
			Proxy:           http.ProxyFromEnvironment,
			TLSClientConfig: tlsConfig.Clone(),
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := dialer.DialContext(ctx, network, addr)
				mu.Lock()
				tcp = c
				mu.Unlock()
				return c, err
			},
		}
		header := http.Header{}
		if userAgent != "" {
			header.Set("User-Agent", userAgent)
		}
		ws, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{
			HTTPClient: &http.Client{Transport: transport},
			HTTPHeader: header,
		})
		if err != nil {
			transport.CloseIdleConnections()
			return nil, explainDial(err, resp)
		}
		ws.SetReadLimit(MaxFrame)
		mu.Lock()
		defer mu.Unlock()
		return &wsConn{ws: ws, tcp: tcp}, nil
	}
}

// explainDial says what a person can do about a connection that did not come up.
func explainDial(err error, resp *http.Response) error {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("the platform's certificate is signed by nobody we trust (set line.ca_file to its CA): %w", err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("the platform's certificate is not valid at this device's time (check the clock): %w", err)
	case errors.As(err, &name):
		return fmt.Errorf("the platform's certificate is for another name (check line.url): %w", err)
	case resp != nil && resp.StatusCode != http.StatusSwitchingProtocols:
		return fmt.Errorf("the server answered %s instead of opening a WebSocket (check line.url): %w", resp.Status, err)
	}
	return err
}

// socketClose describes the end of a connection as call reports do. text is err for others to read.
func socketClose(err error, text string) *quality.SocketClose {
	var c websocket.CloseError
	if !errors.As(err, &c) {
		// RFC 6455, section 7.1.5: what a connection that ended without a close frame counts as.
		return &quality.SocketClose{Code: int(websocket.StatusAbnormalClosure), CodeName: "ABNORMAL_CLOSURE", Error: text}
	}
	return &quality.SocketClose{Code: int(c.Code), CodeName: closeNames[c.Code], Reason: c.Reason, WasClean: true}
}

// closeNames are those of RFC 6455, section 7.4.1.
var closeNames = map[websocket.StatusCode]string{
	websocket.StatusNormalClosure: "NORMAL_CLOSURE", websocket.StatusGoingAway: "GOING_AWAY",
	websocket.StatusProtocolError: "PROTOCOL_ERROR", websocket.StatusUnsupportedData: "UNSUPPORTED_DATA",
	websocket.StatusNoStatusRcvd: "NO_STATUS_RECEIVED", websocket.StatusInvalidFramePayloadData: "INVALID_PAYLOAD",
	websocket.StatusPolicyViolation: "POLICY_VIOLATION", websocket.StatusMessageTooBig: "MESSAGE_TOO_BIG",
	websocket.StatusInternalError: "INTERNAL_ERROR",
}

// wsConn is a WebSocket as Conn.
type wsConn struct {
	ws  *websocket.Conn
	tcp net.Conn
}

func (c *wsConn) Read(ctx context.Context) ([]byte, error) {
	for {
		kind, b, err := c.ws.Read(ctx)
		if err != nil || kind == websocket.MessageText {
			return b, err
		}
		// Verto has no binary messages: whatever came is not for us.
	}
}

func (c *wsConn) Write(ctx context.Context, frame []byte) error {
	return c.ws.Write(ctx, websocket.MessageText, frame)
}

// LocalAddr is our end of the TCP connection.
func (c *wsConn) LocalAddr() net.Addr { return c.tcp.LocalAddr() }

func (c *wsConn) Close(code int, reason string) error {
	t := time.AfterFunc(closeTimeout, func() { c.tcp.Close() })
	defer t.Stop()
	return c.ws.Close(websocket.StatusCode(code), reason)
}
