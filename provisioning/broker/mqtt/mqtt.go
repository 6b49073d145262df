// Package mqtt is the fleet's MQTT broker inside a process, for the lab and for tests: mochi-mqtt with a login and an
// access list per device. A device may publish only below sidetone/v1/{fleet}/{device}/up, and read only what goes
// down to it or to everybody, and its own status. Anonymous clients are refused.
package mqtt

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// maxPacket is the largest packet taken, in bytes: a call report of an hour is below 1 MiB.
const maxPacket = 4 << 20

// Config is what a Broker needs.
type Config struct {
	// TCP and TLS are where clients connect, both plain TCP listeners; TLSConfig is for the second. Either may be nil.
	// The broker closes them.
	TCP, TLS  net.Listener
	TLSConfig *tls.Config
	// Admin is the user who may do everything.
	Admin string
	// Login tells whether a user may come in; every user but Admin is a device, by its name.
	Login func(user, password string) bool
	// IsUser tells whether there is a user of that name, whose client id nobody else may take.
	IsUser func(name string) bool
	Logger *slog.Logger
}

// Message is one message published.
type Message struct {
	Topic    string
	Payload  []byte
	Retained bool
}

// Broker is a running MQTT broker.
type Broker struct {
	server  *mochi.Server
	tracked []*tracker
	once    sync.Once
	nextID  func() int
	log     *slog.Logger
}

// New starts a broker, which runs until Close.
func New(cfg Config) (*Broker, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	limits := mochi.NewDefaultServerCapabilities()
	limits.MaximumPacketSize = maxPacket
	limits.TopicAliasMaximum = 0 // an alias would hide the topic from the access list
	limits.SharedSubAvailable = 0
	b := &Broker{
		server: mochi.New(&mochi.Options{
			Capabilities:           limits,
			InlineClient:           true,
			SysTopicResendInterval: 60,
			// mochi logs whole packets, passwords with them; the hook below logs what a person needs.
			Logger: slog.New(slog.DiscardHandler),
		}),
		nextID: counter(),
		log:    cfg.Logger,
	}
	if err := b.server.AddHook(&guard{cfg: cfg}, nil); err != nil {
		return nil, fmt.Errorf("MQTT broker: %w", err)
	}
	if cfg.TCP != nil {
		if err := b.server.AddListener(listeners.NewNet("tcp", b.track(cfg.TCP))); err != nil {
			return nil, fmt.Errorf("MQTT broker: %w", err)
		}
	}
	if cfg.TLS != nil {
		l := tls.NewListener(b.track(cfg.TLS), cfg.TLSConfig)
		if err := b.server.AddListener(listeners.NewNet("tls", l)); err != nil {
			return nil, fmt.Errorf("MQTT broker: %w", err)
		}
	}
	if err := b.server.Serve(); err != nil {
		return nil, fmt.Errorf("MQTT broker: %w", err)
	}
	return b, nil
}

func (b *Broker) track(l net.Listener) *tracker {
	t := &tracker{Listener: l, conns: map[*trackedConn]struct{}{}}
	b.tracked = append(b.tracked, t)
	return t
}

// Publish sends a message to all who subscribed, with QoS 1 at most.
func (b *Broker) Publish(topic string, payload []byte, retain bool) error {
	return b.server.Publish(topic, payload, retain, 1)
}

// Subscribe gives every message that matches filter to handle, the retained ones first, until the returned function is
// called. handle runs in the publisher's goroutine: it must not block, nor publish.
func (b *Broker) Subscribe(filter string, handle func(Message)) (cancel func(), err error) {
	id := b.nextID()
	err = b.server.Subscribe(filter, id, func(_ *mochi.Client, _ packets.Subscription, pk packets.Packet) {
		handle(Message{Topic: pk.TopicName, Payload: bytes.Clone(pk.Payload), Retained: pk.FixedHeader.Retain})
	})
	if err != nil {
		return nil, fmt.Errorf("subscribing to %s: %w", filter, err)
	}
	return func() { _ = b.server.Unsubscribe(filter, id) }, nil
}

// Close disconnects everybody and stops, within a second.
func (b *Broker) Close() {
	b.once.Do(func() {
		// MQTT 3.1.1 has no goodbye of a server's. Closing the connections first, and letting their clients go, keeps clear
		// of two faults in mochi 2.7.9: its Close waits for clients while one may just begin, and lists them under a read
		// lock taken twice, which one just leaving gets in between.
		for _, t := range b.tracked {
			_ = t.Close()
		}
		for end := time.Now().Add(closeGrace); b.leaving() && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = b.server.Close()
		}()
		select {
		case <-done:
		case <-time.After(closeGrace):
			b.log.Warn("the MQTT broker does not stop; it is left behind")
		}
	})
}

// closeGrace bounds each of the two steps of Close.
const closeGrace = 500 * time.Millisecond

// leaving tells whether a connection is still served, or a client without a session is still there.
func (b *Broker) leaving() bool {
	if slices.ContainsFunc(b.tracked, (*tracker).busy) {
		return true
	}
	for _, c := range b.server.Clients.GetAll() {
		if c.Properties.Clean && !c.Net.Inline {
			return true
		}
	}
	return false
}

func counter() func() int {
	var mu sync.Mutex
	n := 0
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		n++
		return n
	}
}

// guard is the hook that lets clients in and checks what they do.
type guard struct {
	mochi.HookBase
	cfg Config
}

// ID names the hook.
func (g *guard) ID() string { return "guard" }

// Provides says which hooks are ours.
func (g *guard) Provides(b byte) bool {
	return bytes.Contains([]byte{mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnDisconnect}, []byte{b})
}

// OnConnectAuthenticate lets a client in by user and password. The will is checked here, because mochi publishes it
// past the access list.
func (g *guard) OnConnectAuthenticate(cl *mochi.Client, pk packets.Packet) bool {
	user, id := string(pk.Connect.Username), pk.Connect.ClientIdentifier
	refuse := func(why string) bool {
		g.cfg.Logger.Warn("MQTT client refused", "user", user, "client", id, "remote", cl.Net.Remote, "why", why)
		return false
	}
	switch {
	case user == "" || !g.cfg.Login(user, string(pk.Connect.Password)):
		return refuse("user name or password is wrong")
	case id == mochi.InlineClientId:
		return refuse("this client id is the broker's own")
	case user == g.cfg.Admin:
	case !mayTake(user, id, g.cfg.IsUser):
		return refuse("this client id belongs to another device")
	case pk.Connect.WillFlag && !mayPublish(user, pk.Connect.WillTopic):
		return refuse("its will goes to a topic that is not its own: " + pk.Connect.WillTopic)
	}
	g.cfg.Logger.Info("MQTT client connected", "user", user, "client", id, "remote", cl.Net.Remote)
	return true
}

// OnACLCheck checks a topic to publish to, a filter to subscribe to, and each topic before it is delivered.
func (g *guard) OnACLCheck(cl *mochi.Client, topic string, write bool) bool {
	user := string(cl.Properties.Username)
	allowed := user == g.cfg.Admin
	if !allowed && write {
		allowed = mayPublish(user, topic)
	} else if !allowed {
		allowed = maySubscribe(user, topic)
	}
	if !allowed {
		g.cfg.Logger.Warn("MQTT access refused", "user", user, "client", cl.ID, "topic", topic, "publish", write)
	}
	return allowed
}

// OnDisconnect logs.
func (g *guard) OnDisconnect(cl *mochi.Client, err error, _ bool) {
	g.cfg.Logger.Info("MQTT client gone", "user", string(cl.Properties.Username), "client", cl.ID, "error", err)
}
