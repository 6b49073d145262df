package gateway

import (
	"net"
	"testing"
	"time"

	"sidetone/rtc/gateway/relay"
	"sidetone/rtc/verto"

	"github.com/pion/webrtc/v4"
)

// A client that may only relay: both directions of signalling, over UDP and TCP.
func TestRelayOnly(t *testing.T) {
	r, err := relay.New(relay.Config{IP: net.IPv4(127, 0, 0, 1), Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	for i, transport := range []string{relay.UDP, relay.TCP} {
		t.Run(transport, func(t *testing.T) {
			name := "over-" + transport
			c := r.Credentials(name, time.Minute)
			conf := webrtc.Configuration{
				ICETransportPolicy: webrtc.ICETransportPolicyRelay,
				ICEServers:         []webrtc.ICEServer{{URLs: r.URLs("127.0.0.1")[i : i+1], Username: c.Username, Credential: c.Password}},
			}
			l := startLab(t)
			w := l.login(t, name)

			begin := time.Now()
			p := newPhoneVia(t, conf)
			w.call("echo", p)
			t.Logf("connected in %v", time.Since(begin))
			intact(t, p, p)

			if _, err := l.Ring(t.Context(), name, "echo"); err != nil {
				t.Fatal(err)
			}
			in := w.expect(verto.Invite)
			begin = time.Now()
			p = newPhoneVia(t, conf)
			w.ask(verto.Answer, verto.ClientCallParams{SDP: p.accept(in.SDP), Dialog: dialog(in.CallID, "")}, nil)
			p.wait()
			w.up(in.CallID)
			t.Logf("connected in %v", time.Since(begin))
			intact(t, p, p)

			for _, c := range l.Stats().Clients[name].Candidates {
				if c.Type != "relay" {
					t.Errorf("the gateway saw %s", c.Line)
				}
			}
			if n := r.Stats(nil)[name][transport]; n.Sent < 2000 || n.Received < 2000 || len(r.Stats(nil)[name]) != 1 {
				t.Errorf("TURN counted %+v", r.Stats(nil)[name])
			}
		})
	}
}
