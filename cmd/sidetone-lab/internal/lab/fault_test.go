package lab

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"sidetone/cmd/sidetone-lab/internal/admin"
	"sidetone/rtc/gateway"
	"sidetone/rtc/verto"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// fault makes a fault of the gateway and tells how it is listed.
func (l *Lab) fault(t *testing.T, f admin.Fault) string {
	t.Helper()
	f.Name = admin.Gateway
	if err := l.SetFault(f); err != nil {
		t.Fatal(err)
	}
	for _, is := range l.Faults() {
		if is.Name == f.Name {
			return is.String()
		}
	}
	t.Fatal("it is not listed")
	return ""
}

// dropped waits until the socket is gone.
func dropped(t *testing.T, conn *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		if _, _, err := conn.Read(ctx); err != nil {
			if ctx.Err() != nil {
				t.Fatal("the socket was not dropped")
			}
			return
		}
	}
}

func TestSocketsCutAndPortClosed(t *testing.T) {
	l := start(t, t.TempDir())
	token, err := l.Token("door1")
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{l.Info().WS, l.Info().WSS} {
		conn, _ := login(t, l, url, token.Token)
		if got := l.fault(t, admin.Fault{PortClosed: time.Minute}); got != "port-closed" {
			t.Errorf("listed as %s", got)
		}
		for _, d := range l.doors {
			if c, err := net.DialTimeout("tcp", d.Addr().String(), patience); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("at the closed port: %v, %v", c, err)
			}
		}
		// What is there goes on.
		req, err := verto.Request("2", verto.Telnyx.Method(verto.Ping), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := wsjson.Write(t.Context(), conn, req); err != nil {
			t.Fatal(err)
		}
		for f := (verto.Frame{}); string(f.ID) != `"2"`; {
			f = verto.Frame{}
			if err := wsjson.Read(t.Context(), conn, &f); err != nil {
				t.Fatal(err)
			}
		}
		if got := l.fault(t, admin.Fault{Cut: true}); got != "port-closed" {
			t.Errorf("listed as %s", got)
		}
		dropped(t, conn)
		if got := l.fault(t, admin.Fault{}); got != "good" {
			t.Errorf("listed as %s", got)
		}
		login(t, l, url, token.Token)
	}
	// It opens by itself as well.
	l.fault(t, admin.Fault{PortClosed: 50 * time.Millisecond})
	limit := time.Now().Add(patience)
	for l.doors[0].isShut() || l.doors[1].isShut() {
		if time.Now().After(limit) {
			t.Fatal("the port stays closed")
		}
		time.Sleep(5 * time.Millisecond)
	}
	login(t, l, l.Info().WSS, token.Token)
	l.fault(t, admin.Fault{PortClosed: time.Hour}) // and Close does not wait for it
}

func TestStatesOfTheGateway(t *testing.T) {
	l := start(t, t.TempDir())
	for _, bad := range []admin.Fault{{State: "ASLEEP"}, {PortClosed: -1}, {Blackhole: true}} {
		bad.Name = admin.Gateway
		if err := l.SetFault(bad); err == nil {
			t.Errorf("%+v was made", bad)
		}
	}
	if got := l.fault(t, admin.Fault{State: "FAILED", HalfDead: true}); got != "half-dead, state FAILED" {
		t.Errorf("listed as %s", got)
	}
	if err := l.Transfer(t.Context(), "c", "echo"); !errors.Is(err, gateway.ErrNoCall) {
		t.Errorf("transfer of no call: %v", err)
	}
}
