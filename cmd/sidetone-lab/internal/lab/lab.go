// Package lab is the composition root of sidetone-lab: gateway, TURN, token service, MQTT broker, update server,
// page and the sub-commands' door in one process, started and ended in order.
package lab

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sidetone/cmd/sidetone-lab/internal/admin"
	"sidetone/cmd/sidetone-lab/internal/updates"
	"sidetone/cmd/sidetone-lab/internal/web"
	"sidetone/provisioning/broker"
	"sidetone/provisioning/broker/mqtt"
	"sidetone/rtc/gateway"
	"sidetone/rtc/gateway/relay"
	"sidetone/rtc/verto"
)

// Version is stamped by the build.
var Version = "dev"

// Config is what a lab is told.
type Config struct {
	Dir       string        // for its state; made if absent
	Listen    string        // HOST:PORT; port 0: free ones; "": DefaultListen, or what Advertise asks for
	Advertise string        // the address by which others reach the lab; "": what it listens on
	TokenLife time.Duration // of the tokens it gives out; 0: a day, which is also the most
	TURNS     int           // the port of TURN over TLS; 0: as Listen has it
	Logger    *slog.Logger
}

// Info says where everything is: full URLs and paths.
type Info struct {
	WS           string            `json:"ws"`
	WSS          string            `json:"wss"`
	CA           string            `json:"ca"`
	TokenAPI     string            `json:"token_api"` // base: /v2/telephony_credentials follows
	APIKey       string            `json:"api_key"`
	TURN         []string          `json:"turn"` // over UDP, TCP, TLS
	TURNUser     string            `json:"turn_user"`
	TURNPassword string            `json:"turn_password"`
	MQTT         string            `json:"mqtt"`
	MQTTS        string            `json:"mqtts"`
	MQTTAdmin    Login             `json:"mqtt_admin"`
	Update       Update            `json:"update"`
	Web          string            `json:"web"`
	Devices      map[string]string `json:"devices"` // config files
}

// Update is where devices update from, and what releases are made with.
type Update struct {
	URL      string `json:"url"`
	RootFile string `json:"root_file"`
	Repo     string `json:"repo"` // directory
	Keys     string `json:"keys"` // directory
}

// Login is a user and a password.
type Login struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

// Times of the lab.
const (
	turnLife   = 24 * time.Hour
	turnLogin  = "lab"       // of the TURN credentials that the lab hands to everybody
	closeGrace = time.Second // for calls to end and sockets to close
)

// assistant is the target_id of the AI assistant to which anybody may log in anonymously: the concierge.
const assistant = "concierge"

// mqttAdmin is the broker's user who may do everything.
const mqttAdmin = "admin"

// Lab is a running lab.
type Lab struct {
	cfg     Config
	dir     string // absolute
	at      address
	sockets sockets
	info    Info

	tokens  *broker.Service
	relay   *relay.Server
	gateway *gateway.Gateway
	mqtt    *mqtt.Broker
	feed    *feed
	updates *updates.Server
	admin   *admin.Server
	servers []*http.Server

	faultsMu sync.Mutex
	faults   map[string]bool // transports that are a black hole

	signalling admin.Fault // of the gateway, as it was last made
	doors      []*door     // of ws and wss

	tasks sync.WaitGroup
	undo  []func() // in the order of starting; Close runs them backwards
	once  sync.Once
}

// Start brings a lab up. It runs until Close.
func Start(ctx context.Context, cfg Config) (_ *Lab, err error) {
	l := &Lab{cfg: cfg, faults: map[string]bool{}, signalling: admin.Fault{Name: admin.Gateway}}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if l.dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, fmt.Errorf("the lab's directory: %w", err)
	}
	unlock, err := admin.Lock(l.dir)
	if err != nil {
		return nil, err
	}
	l.onClose(unlock)
	if l.at, err = resolve(ctx, cfg.Listen, cfg.Advertise); err != nil {
		return nil, err
	}
	tlsConfig, err := l.certificate()
	if err != nil {
		return nil, err
	}
	if l.sockets, err = listen(l.at, cfg.TURNS, lastPorts(l.dir)); err != nil {
		return nil, err
	}
	l.onClose(l.sockets.closeAll) // most are closed by their owners before; twice does no harm
	if err := l.sockets.remember(l.dir); err != nil {
		return nil, err
	}
	for _, s := range []*net.Listener{&l.sockets.web, &l.sockets.wss} {
		d := newDoor(*s)
		l.doors = append(l.doors, d)
		*s = d
		l.onClose(func() { _ = d.Close() })
	}
	if err := l.startServices(tlsConfig); err != nil {
		return nil, err
	}
	devices, err := l.writeDevices()
	if err != nil {
		return nil, err
	}
	l.describe(devices)
	l.serve(tlsConfig)
	if l.admin, err = admin.Serve(l.dir, l.info.Web, l, cfg.Logger); err != nil {
		return nil, err
	}
	l.onClose(l.admin.Close)
	return l, nil
}

func (l *Lab) certificate() (*tls.Config, error) {
	ca, err := openAuthority(l.dir)
	if err != nil {
		return nil, err
	}
	cert, err := ca.server(certificateHosts(l.at)...)
	if err != nil {
		return nil, fmt.Errorf("the lab's certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, nil
}

// startServices starts what devices talk to, but for the HTTP servers in front.
func (l *Lab) startServices(tlsConfig *tls.Config) (err error) {
	log := l.cfg.Logger
	if l.relay, err = relay.New(relay.Config{
		IP: l.at.ip, ListenIP: l.at.media,
		UDP: l.sockets.turnUDP, TCP: l.sockets.turnTCP, TLS: l.sockets.turnTLS, TLSConfig: tlsConfig,
		Logger: log.With("part", "turn"),
	}); err != nil {
		return err
	}
	l.onClose(func() { _ = l.relay.Close() })

	if l.tokens, err = broker.New(broker.Config{
		Dir: filepath.Join(l.dir, "tokens"), ICEServers: l.iceServers, Revoked: l.revoked, TokenLife: l.cfg.TokenLife,
		Logger: log.With("part", "tokens"),
	}); err != nil {
		return err
	}
	l.info.MQTTAdmin = Login{User: mqttAdmin, Password: rand.Text()}
	if l.mqtt, err = mqtt.New(mqtt.Config{
		TCP: l.sockets.mqtt, TLS: l.sockets.mqtts, TLSConfig: tlsConfig,
		Admin: mqttAdmin, Login: l.mqttLogin, IsUser: l.tokens.IsDevice, Logger: log.With("part", "mqtt"),
	}); err != nil {
		return err
	}
	l.onClose(l.mqtt.Close)
	l.feed = newFeed(l.mqtt.Publish)
	if _, err = l.mqtt.Subscribe(upFilter, l.feed.message); err != nil {
		return err
	}

	if l.gateway, err = gateway.New(gateway.Config{
		Authenticate: l.authenticate, Known: l.tokens.Known,
		Assistants: map[string]string{assistant: "concierge"},
		IP:         l.at.ip, ListenIP: l.at.media, ReportDir: filepath.Join(l.dir, ReportDir), Logger: log.With("part", "gateway"),
	}); err != nil {
		return err
	}
	l.onClose(l.closeGateway)
	if l.updates, err = updates.Open(l.dir, log.With("part", "updates")); err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(context.Background())
	l.tasks.Go(func() { _ = l.tokens.Run(ctx) })
	l.tasks.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-l.gateway.Changes():
				l.feed.touch()
			}
		}
	})
	l.onClose(func() { cancel(); l.tasks.Wait() })
	return nil
}

// Info says where everything is.
func (l *Lab) Info() Info { return l.info }

func (l *Lab) describe(devices map[string]string) {
	creds := l.relay.Credentials(turnLogin, turnLife)
	web := url("http", l.at.host, l.sockets.web)
	l.info = Info{
		WS:  url("ws", l.at.host, l.sockets.web) + "/",
		WSS: url("wss", l.at.host, l.sockets.wss) + "/",
		CA:  filepath.Join(l.dir, caFile), TokenAPI: web, APIKey: l.tokens.APIKey(),
		TURN: l.relay.URLs(l.at.host), TURNUser: creds.Username, TURNPassword: creds.Password,
		MQTT: url("mqtt", l.at.host, l.sockets.mqtt), MQTTS: url("mqtts", l.at.host, l.sockets.mqtts), MQTTAdmin: l.info.MQTTAdmin,
		Update: Update{URL: l.updatesURL(), RootFile: l.updates.RootFile(), Repo: l.updates.Dir(), Keys: l.updates.Keys()},
		Web:    web + "/", Devices: devices,
	}
}

// updatesPath is where releases are, on the ports of page and gateway.
const updatesPath = "/updates"

func (l *Lab) updatesURL() string { return url("https", l.at.host, l.sockets.wss) + updatesPath }

// serve puts page, token service, releases and gateway behind one HTTP server in clear and one over TLS.
func (l *Lab) serve(tlsConfig *tls.Config) {
	// Streams of events end with this context: http.Server would wait for them.
	streams, end := context.WithCancel(context.Background())
	page := web.New(l, certificateHosts(l.at))
	releases := http.StripPrefix(updatesPath, l.updates)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case strings.EqualFold(r.Header.Get("Upgrade"), "websocket"), path == "/call_report":
			l.gateway.ServeHTTP(w, r)
		case strings.HasPrefix(path, "/v1/"), strings.HasPrefix(path, "/v2/"):
			l.tokens.ServeHTTP(w, r)
		case strings.HasPrefix(path, updatesPath+"/"):
			releases.ServeHTTP(w, r)
		default:
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(streams, cancel)()
			page.ServeHTTP(w, r.WithContext(ctx))
		}
	})
	secure := tlsConfig.Clone()
	secure.NextProtos = []string{"http/1.1"} // WebSockets need it
	var running sync.WaitGroup
	for _, listener := range []net.Listener{l.sockets.web, tls.NewListener(l.sockets.wss, secure)} {
		s := &http.Server{
			Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
			ErrorLog: slog.NewLogLogger(l.cfg.Logger.Handler(), slog.LevelDebug),
		}
		l.servers = append(l.servers, s)
		running.Go(func() {
			if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				l.cfg.Logger.Error("the lab's HTTP server ended", "error", err)
			}
		})
	}
	l.onClose(func() {
		end()
		ctx, cancel := context.WithTimeout(context.Background(), closeGrace/4)
		defer cancel()
		for _, s := range l.servers {
			if s.Shutdown(ctx) != nil {
				_ = s.Close()
			}
		}
		running.Wait()
	})
}

func (l *Lab) authenticate(p verto.LoginParams) (gateway.Identity, error) {
	name, credential, err := l.tokens.Authenticate(p.Token, p.User, p.Password)
	return gateway.Identity{Name: name, Credential: credential}, err
}

func (l *Lab) revoked(credential string) { l.gateway.Kick(credential) }

func (l *Lab) mqttLogin(user, password string) bool {
	if user == mqttAdmin {
		return broker.SameSecret(password, l.info.MQTTAdmin.Password)
	}
	return l.tokens.CheckMQTT(user, password)
}

func (l *Lab) iceServers(name string) ([]broker.ICEServer, time.Time) {
	c := l.relay.Credentials(name, turnLife)
	return []broker.ICEServer{{URLs: l.relay.URLs(l.at.host), Username: c.Username, Credential: c.Password}}, c.Expires
}

func (l *Lab) closeGateway() {
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	if err := l.gateway.Close(ctx); err != nil {
		l.cfg.Logger.Warn("not every call ended in time", "error", err)
	}
}

// onClose notes what undoes a step of Start.
func (l *Lab) onClose(f func()) { l.undo = append(l.undo, f) }

// Close ends the lab in the reverse order of its start: first nobody comes in any more, then calls end, then broker and
// relay go. It takes less than two seconds.
func (l *Lab) Close() {
	l.once.Do(func() {
		for i := len(l.undo) - 1; i >= 0; i-- {
			l.undo[i]()
		}
	})
}
