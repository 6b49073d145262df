package e2e_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/uuid"
)

// clientStats is what `sidetone-lab stats --json` says of one device, as far as tests read it.
type clientStats struct {
	Registered bool `json:"registered"`
	TURN       map[string]struct {
		Sent     uint64 `json:"sent"`
		Received uint64 `json:"received"`
	} `json:"turn"`
	Candidates []struct {
		Type string `json:"type"`
	} `json:"candidates"`
	Reports  []json.RawMessage `json:"reports"`
	Sessions []struct {
		VoiceSDKID string `json:"voice_sdk_id"`
		Remote     string `json:"remote"`
		Logins     int    `json:"logins"`
	} `json:"sessions"`
	Tokens struct {
		Granted int         `json:"granted"`
		Refused []time.Time `json:"refused"`
	} `json:"tokens"`
}

type labStats struct {
	Clients       map[string]clientStats `json:"clients"`
	RefusedLogins []time.Time            `json:"refused_logins"`
}

func (l *lab) stats(t *testing.T) map[string]clientStats {
	t.Helper()
	return l.allStats(t).Clients
}

func (l *lab) allStats(t *testing.T) (s labStats) {
	t.Helper()
	out, code := l.tool(t, "stats", "--json")
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 {
		t.Fatalf("stats: exit %d, %v\n%s", code, err, out)
	}
	return s
}

// waitRegistered waits until the gateway knows the device.
func (l *lab) waitRegistered(t *testing.T, device string) {
	t.Helper()
	eventually(t, 20*time.Second, device+" is registered", func() bool { return l.stats(t)[device].Registered })
}

func eventually(t *testing.T, within time.Duration, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// watch is a subscriber on the lab's broker.
type watch struct {
	device string
	client mqtt.Client
	mu     sync.Mutex
	seen   []message
	news   chan struct{}
}

type message struct {
	topic    string // after the device's root
	payload  []byte
	retained bool
}

// subscribe follows all that a device says, as the broker's admin over TLS.
func (l *lab) subscribe(t *testing.T, device string) *watch {
	t.Helper()
	pem, err := os.ReadFile(l.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	u, err := url.Parse(l.MQTTS)
	if err != nil {
		t.Fatal(err)
	}
	return subscribe(t, device, mqtt.NewClientOptions().AddBroker("ssl://"+u.Host).
		SetUsername(l.MQTTAdmin.User).SetPassword(l.MQTTAdmin.Password).SetTLSConfig(&tls.Config{RootCAs: roots}))
}

// subscribe follows all that a device says to a broker.
func subscribe(t *testing.T, device string, at *mqtt.ClientOptions) *watch {
	t.Helper()
	w := &watch{device: device, news: make(chan struct{}, 1)}
	c := mqtt.NewClient(at.SetClientID("watch-" + uuid.NewString()))
	if tok := c.Connect(); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatal("broker: ", tok.Error())
	}
	t.Cleanup(func() { c.Disconnect(100) })
	w.client = c
	tok := c.Subscribe("sidetone/v1/+/"+device+"/#", 1, func(_ mqtt.Client, m mqtt.Message) {
		w.mu.Lock()
		defer w.mu.Unlock()
		_, topic, _ := strings.Cut(m.Topic(), "/"+device+"/")
		w.seen = append(w.seen, message{topic, m.Payload(), m.Retained()})
		select {
		case w.news <- struct{}{}:
		default:
		}
	})
	if !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatal("subscribe: ", tok.Error())
	}
	return w
}

// await gives the first payload on topic that is right (nil: any).
func (w *watch) await(t *testing.T, topic string, right func([]byte) bool) []byte {
	t.Helper()
	for timeout := time.After(20 * time.Second); ; {
		for _, m := range w.all(topic) {
			if right == nil || right(m.payload) {
				return m.payload
			}
		}
		select {
		case <-w.news:
		case <-timeout:
			t.Fatalf("nothing right on %s/%s; seen: %s", w.device, topic, w.all(""))
		}
	}
}

// all gives what came on topic so far, or on every one.
func (w *watch) all(topic string) (got []message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.seen {
		if topic == "" || m.topic == topic {
			got = append(got, m)
		}
	}
	return got
}

func (m message) String() string {
	const most = 120
	p := string(m.payload)
	if len(p) > most {
		p = p[:most] + "…"
	}
	return m.topic + " " + p
}
