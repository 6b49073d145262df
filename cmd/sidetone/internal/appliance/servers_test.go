package appliance

import (
	"context"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"sidetone/provisioning/config"
	"sidetone/provisioning/identity"
	"sidetone/rtc/media"
)

// tokens is an identity whose every answer may be another.
type tokens struct{ servers func() []identity.ICEServer }

func (t tokens) Credentials(context.Context) (identity.Credentials, error) {
	return identity.Credentials{Token: identity.NewSecret("t"), ICEServers: t.servers()}, nil
}
func (tokens) Invalidate()                {}
func (tokens) Refreshed() <-chan struct{} { return nil }
func (tokens) Run(context.Context)        {}

// The order in which ICE servers are looked for: config, token broker, platform.
func TestICEServers(t *testing.T) {
	given := []identity.ICEServer{{URLs: []string{"turn:broker.example"}, Username: "1", Credential: identity.NewSecret("c")}}
	fromBroker := []media.ICEServer{{URLs: []string{"turn:broker.example"}, Username: "1", Credential: "c"}}
	own := []config.ICEServer{{URLs: []string{"stun:ours.example"}}}
	for _, c := range []struct {
		name   string
		config []config.ICEServer
		broker []identity.ICEServer
		url    string
		want   []media.ICEServer
	}{
		{"configured", own, given, "wss://rtc.telnyx.com", []media.ICEServer{{URLs: []string{"stun:ours.example"}}}},
		{"none, and that is meant", []config.ICEServer{}, given, "wss://rtc.telnyx.com", []media.ICEServer{}},
		{"of the broker", nil, given, "wss://rtc.telnyx.com", fromBroker},
		{"of the platform", nil, nil, "wss://rtc.telnyx.com", media.TelnyxServers()},
		{"of the platform, in a region", nil, nil, "wss://eu.rtc.telnyx.com:443/x", media.TelnyxServers()},
		{"of another platform", nil, nil, "wss://rtc.nottelnyx.com", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			servers, err := configuredServers(identity.NewSecretFiles(slog.New(slog.DiscardHandler)), c.config)
			if err != nil {
				t.Fatal(err)
			}
			a := &Appliance{
				cfg: &config.Config{Line: config.Line{URL: c.url}}, servers: servers, log: slog.New(slog.DiscardHandler),
				identity: tokens{func() []identity.ICEServer { return c.broker }},
			}
			if got := a.iceServers(t.Context()); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

// Each call gets the TURN credentials that are in force when it begins.
func TestICEServersAreFresh(t *testing.T) {
	now := time.Now()
	a := &Appliance{cfg: &config.Config{}, log: slog.New(slog.DiscardHandler), identity: tokens{func() []identity.ICEServer {
		return []identity.ICEServer{{URLs: []string{"turn:broker.example"}, Username: now.String(), Credential: identity.NewSecret("c")}}
	}}}
	first := a.iceServers(t.Context())[0].Username
	now = now.Add(time.Minute)
	if second := a.iceServers(t.Context())[0].Username; first == second || second != now.String() {
		t.Errorf("the second call has %s, the first had %s", second, first)
	}
}
