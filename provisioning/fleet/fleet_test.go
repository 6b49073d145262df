package fleet

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	code := m.Run()
	// A connection that is lost while paho takes a message leaves one goroutine behind for the write timeout.
	err := goleak.Find()
	for deadline := time.Now().Add(2 * defaultTiming.write); code == 0 && err != nil && time.Now().Before(deadline); err = goleak.Find() {
		time.Sleep(50 * time.Millisecond)
	}
	if code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var errAlways = errors.New("always")

// logBuffer is a log that tests can read while it is written.
type logBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.String()
}

// device is an agent at work.
type device struct {
	*Agent
	t    *testing.T
	log  *logBuffer
	end  context.CancelFunc
	done chan struct{}
}

func config(address string) Config {
	return Config{URL: "mqtt://" + address, Fleet: "home", Device: "door1", Will: true}
}

// agent makes one that does not run yet; its pauses are short.
func agent(t *testing.T, c Config) *device {
	t.Helper()
	d := &device{t: t, log: &logBuffer{}, done: make(chan struct{})}
	c.Logger = slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if d.Agent, err = New(c); err != nil {
		t.Fatal(err)
	}
	d.timing.retry = 50 * time.Millisecond
	d.timing.retryMost = 200 * time.Millisecond
	d.timing.refused = 100 * time.Millisecond
	return d
}

func (d *device) run() *device {
	ctx, cancel := context.WithCancel(context.Background())
	d.end = cancel
	go func() {
		defer close(d.done)
		d.Agent.Run(ctx)
	}()
	d.t.Cleanup(d.stop)
	return d
}

func (d *device) stop() {
	d.t.Helper()
	d.end()
	select {
	case <-d.done:
	case <-time.After(patience):
		d.t.Error("Run does not end")
	}
}

func (d *device) flush() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := d.Flush(ctx); err != nil {
		d.t.Fatalf("%v\n%s", err, d.log)
	}
}

func (d *device) eventually(what string, ok func() bool) {
	d.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			d.t.Fatalf("never: %s\n%s", what, d.log)
		}
	}
}

func spooled(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "spool", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func strs(all []heard) []string {
	s := make([]string, len(all))
	for i, h := range all {
		s[i] = h.String()
	}
	return s
}

type callState struct {
	State string `json:"state"`
}

func TestBirthThenOnlineThenStatesThenOffline(t *testing.T) {
	withBrokers(t, func(t *testing.T, b broker) {
		o := observe(t, b)
		d := agent(t, config(b.address()))
		d.State("line", callState{"down"})
		d.State("line", callState{"registered"}) // before there is a connection only the last counts
		d.Birth(map[string]string{"board": "sim"})
		d.run()
		d.flush()
		if s := d.Status(); !s.Connected || s.Error != "" || s.Waiting != 0 {
			t.Errorf("status %+v", s)
		}
		for _, s := range []string{"requesting", "trying", "ringing", "active", "hangup"} {
			d.State("call", callState{s})
		}
		d.flush()
		d.stop()
		o.says(0, "up/status", "offline")
		want := []string{
			`up/birth {"board":"sim"}`,
			`up/status online`,
			`up/state/line {"state":"registered"}`,
			`up/state/call {"state":"requesting"}`,
			`up/state/call {"state":"trying"}`,
			`up/state/call {"state":"ringing"}`,
			`up/state/call {"state":"active"}`,
			`up/state/call {"state":"hangup"}`,
			`up/status offline`,
		}
		if got := strs(o.messages()); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("heard\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if s := d.Status(); s.Connected {
			t.Errorf("status %+v", s)
		}
		// All of it stays for those who come later.
		late := observe(t, b)
		for topic, payload := range map[string]string{"up/birth": `{"board":"sim"}`, "up/status": "offline", "up/state/line": `{"state":"registered"}`, "up/state/call": `{"state":"hangup"}`} {
			h, _ := late.until(0, topic, func(h heard) bool { return h.topic == topic })
			if h.payload != payload || !h.retained {
				t.Errorf("retained %s is %+v, want %s", topic, h, payload)
			}
		}
	})
}

func TestLastWillAndAllAnewAfterADrop(t *testing.T) {
	withBrokers(t, func(t *testing.T, b broker) {
		o := observe(t, b)
		p := newProxy(t, b.address())
		d := agent(t, config(p.address()))
		d.Birth(map[string]string{"board": "sim"})
		d.State("call", callState{"idle"})
		d.run()
		d.flush()
		p.setRefuse(true)
		p.cut()
		n := o.says(0, "up/status", "offline")
		d.eventually("the agent knows", func() bool { return !d.Status().Connected })
		d.State("call", callState{"requesting"})
		d.State("call", callState{"active"})
		p.setRefuse(false)
		n = o.says(n, "up/birth", `{"board":"sim"}`)
		n = o.says(n, "up/status", "online")
		n = o.says(n, "up/state/call", `{"state":"active"}`)
		d.flush()
		for _, h := range o.messages() {
			if strings.Contains(h.payload, "requesting") {
				t.Error("a state of the past was told")
			}
		}
		d.stop()
		o.says(n, "up/status", "offline")
	})
}

func TestLateWillIsContradicted(t *testing.T) {
	withBrokers(t, func(t *testing.T, b broker) {
		o := observe(t, b)
		d := agent(t, config(b.address())).run()
		o.says(0, "up/status", "online")
		d.flush()
		n := 0
		for range 3 {
			o.publish("up/status", "offline", true) // as the broker does for an older connection
			// The answer may come to us before the question: brokers order messages per sender only.
			n = o.says(n, "up/status", "online")
		}
		o.says(n, "up/status", "online")
		d.flush()
		late := observe(t, b)
		late.says(0, "up/status", "online")
		d.stop()
	})
}

// A device that was killed and comes back at once throws out its own old connection, whose last will must not have
// the last word. With mosquitto alone: mochi 2.7.9 has a data race of its own when a client takes over its session.
func TestNewConnectionOutlivesTheOldOnesWill(t *testing.T) {
	withMosquitto(t, func(t *testing.T, b broker) {
		o := observe(t, b)
		p := newProxy(t, b.address())
		killed := agent(t, config(p.address())).run()
		n := o.says(0, "up/status", "online")
		p.setRefuse(true)
		p.freeze(true)
		d := agent(t, config(b.address())).run()
		o.says(n, "up/status", "online")
		d.flush()
		stands := func() string {
			h, _ := observe(t, b).until(0, "the status", func(h heard) bool { return h.topic == "up/status" })
			return h.payload
		}
		d.eventually("it is online", func() bool { return stands() == "online" })
		time.Sleep(200 * time.Millisecond)
		if s := stands(); s != "online" {
			t.Errorf("it stands %s at the broker\n%v", s, o.messages())
		}
		d.stop()
		p.cut()
		p.freeze(false)
		killed.stop()
	})
}

func TestWithoutWillStatusIsNotTouched(t *testing.T) {
	withBrokers(t, func(t *testing.T, b broker) {
		o := observe(t, b)
		daemon := agent(t, config(b.address())).run()
		n := o.says(0, "up/status", "online")
		p := newProxy(t, b.address())
		c := config(p.address())
		c.Will = false
		one := agent(t, c)
		one.State("call", callState{"active"})
		one.run()
		one.flush()
		if err := one.CallReport("c1", map[string]int{"mos": 4}); err != nil {
			t.Fatal(err)
		}
		one.flush()
		p.cut()
		one.eventually("reconnected", func() bool { return strings.Count(one.log.String(), "connected to the broker") == 2 })
		o.publish("down/cmd/press", fmt.Sprintf(`{"id":"a","exp":%d}`, time.Now().Add(time.Minute).Unix()), false)
		if c := <-daemon.Commands(); c.ID != "a" {
			t.Errorf("%+v", c)
		}
		one.stop()
		select {
		case c, ok := <-one.Commands():
			if ok {
				t.Errorf("an agent without will takes command %+v", c)
			}
		default:
			t.Error("Commands is open after Run has ended")
		}
		o.publish("x", "end", false)
		end := o.says(n, "x", "end")
		for _, h := range o.messages()[n:end] {
			if h.topic == "up/status" {
				t.Errorf("heard %s in %+v\n%s\n%s", h, o.messages(), daemon.log, one.log)
			}
		}
		if !daemon.Status().Connected {
			t.Error("the daemon was thrown out")
		}
	})
}

func TestCommands(t *testing.T) {
	withBrokers(t, func(t *testing.T, b broker) {
		o := observe(t, b)
		soon := time.Now().Add(time.Minute)
		// Left by a mistake, before the device comes.
		o.publish("down/cmd/door.open", fmt.Sprintf(`{"id":"old","exp":%d}`, soon.Unix()), true)
		o.until(0, "it", func(h heard) bool { return h.topic == "down/cmd/door.open" }) // it is stored, and told to all who are there
		d := agent(t, config(b.address())).run()
		d.eventually("the retained command is dropped", func() bool { return strings.Contains(d.log.String(), "it is retained") })

		for _, payload := range []string{
			`not JSON`,
			`[]`,
			``,
			`{"id":"e1","exp":1}`,
			`{"id":"e2","exp":"2020-01-01T00:00:00Z"}`,
			`{"id":"e3"}`,
			`{"id":"e4","exp":null}`,
			`{"id":"e5","exp":"soon"}`,
			`{"id":"e6","exp":1e300}`,
			`{"id":"e7","exp":{}}`,
			fmt.Sprintf(`{"exp":%d}`, soon.Unix()),
			fmt.Sprintf(`{"id":"a/b","exp":%d}`, soon.Unix()),
			fmt.Sprintf(`{"id":"e8","exp":%d,"args":%q}`, soon.Unix(), strings.Repeat("x", maxCommand)),
			fmt.Sprintf(`{"id":"dial-1","exp":%d,"by":"ops","args":{"destination":"echo"}}`, soon.Unix()),
			fmt.Sprintf(`{"id":"dial-1","exp":%d,"by":"ops","args":{"destination":"echo"}}`, soon.Unix()),
		} {
			o.publish("down/cmd/dial", payload, false)
		}
		o.publish("down/cmd/door.open", fmt.Sprintf(`{"id":"open-1","exp":%q,"args":null}`, soon.Format(time.RFC3339)), false)
		for _, want := range []Command{
			{Name: "dial", ID: "dial-1", By: "ops", Args: json.RawMessage(`{"destination":"echo"}`)},
			{Name: "door.open", ID: "open-1"},
		} {
			select {
			case c := <-d.Commands():
				if c.Name != want.Name || c.ID != want.ID || c.By != want.By || string(c.Args) != string(want.Args) || c.Exp.Unix() != soon.Unix() {
					t.Errorf("got %+v, want %+v", c, want)
				}
			case <-time.After(patience):
				t.Fatal("no command")
			}
		}
		if n := strings.Count(d.log.String(), "command dropped"); n != 15 {
			t.Errorf("%d drops were logged, want 15:\n%s", n, d.log)
		}
		d.Reply("dial-1", Reply{OK: true, Result: map[string]string{"call_id": "c1"}})
		d.Reply("open-1", Reply{Code: 404, Error: "no door"})
		n := o.says(0, "up/reply/dial-1", `{"ok":true,"result":{"call_id":"c1"}}`)
		o.says(n, "up/reply/open-1", `{"ok":false,"code":404,"error":"no door"}`)

		// Nobody takes them: the rest is told so.
		for i := range cap(d.commands) + 1 {
			o.publish("down/cmd/mute", fmt.Sprintf(`{"id":"m%d","exp":%d}`, i, soon.Unix()), false)
		}
		h, _ := o.until(0, "busy", func(h heard) bool { return h.topic == fmt.Sprintf("up/reply/m%d", cap(d.commands)) })
		if !strings.Contains(h.payload, `"ok":false,"code":503`) {
			t.Error(h)
		}
		d.stop()
	})
}

// A command that is given while the device reconnects reaches it, as the broker keeps its session.
func TestCommandWaitsForTheDevice(t *testing.T) {
	withBrokers(t, func(t *testing.T, b broker) {
		o := observe(t, b)
		p := newProxy(t, b.address())
		d := agent(t, config(p.address())).run()
		n := o.says(0, "up/status", "online")
		p.setRefuse(true)
		p.cut()
		n = o.says(n, "up/status", "offline")
		o.publish("down/cmd/hangup", fmt.Sprintf(`{"id":"h","exp":%d}`, time.Now().Add(time.Minute).Unix()), false)
		p.setRefuse(false)
		select {
		case c := <-d.Commands():
			if c.ID != "h" {
				t.Errorf("%+v", c)
			}
		case <-time.After(patience):
			t.Fatalf("no command\n%s", d.log)
		}
		// The will that waited in the session is older than this connection.
		o.says(n, "up/status", "online")
		late := observe(t, b)
		late.says(0, "up/status", "online")
		d.stop()
	})
}

func TestReportSurvivesTheBrokersRestart(t *testing.T) {
	withBrokers(t, func(t *testing.T, b broker) {
		p := newProxy(t, b.address())
		c := config(p.address())
		c.Dir = t.TempDir()
		d := agent(t, c)
		d.Birth(map[string]string{"board": "sim"})
		d.State("call", callState{"idle"})
		d.run()
		d.flush()
		b.stop()
		d.eventually("the agent knows", func() bool { return !d.Status().Connected })
		if err := d.CallReport("c1", map[string]any{"summary": map[string]any{"duration_s": 10}}); err != nil {
			t.Fatal(err)
		}
		d.Event("call", map[string]string{"call_id": "c1"})
		files := spooled(t, c.Dir)
		if len(files) != 2 || d.Status().Waiting != 2 {
			t.Fatalf("spool holds %v, status %+v", files, d.Status())
		}
		for _, f := range files {
			info, err := os.Stat(f)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: mode %v, %v", f, info.Mode(), err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := d.Flush(ctx); err == nil || !strings.Contains(err.Error(), "2 of them in the spool") {
			t.Errorf("Flush without a broker: %v", err)
		}
		p.setRefuse(true) // the device comes back once somebody listens: reports are not retained
		b.start(t)
		o := observe(t, b)
		p.setRefuse(false)
		h, _ := o.until(0, "the report", func(h heard) bool { return h.topic == "up/stats/call" })
		var r struct {
			ID      string
			TS      time.Time
			CallID  string `json:"call_id"`
			Late    bool
			Summary struct {
				Duration int `json:"duration_s"`
			}
		}
		if err := json.Unmarshal([]byte(h.payload), &r); err != nil || r.ID == "" || time.Since(r.TS) > time.Hour || r.CallID != "c1" || r.Summary.Duration != 10 || r.Late {
			t.Errorf("%s: %+v, %v", h.payload, r, err)
		}
		h, _ = o.until(0, "the event", func(h heard) bool { return h.topic == "up/event/call" })
		if !strings.Contains(h.payload, `"event_type":"call"`) || !strings.Contains(h.payload, `"ts":`) {
			t.Error(h)
		}
		// The broker forgot what it had retained; the device says it anew.
		o.says(0, "up/birth", `{"board":"sim"}`)
		o.says(0, "up/state/call", `{"state":"idle"}`)
		d.flush()
		if files := spooled(t, c.Dir); len(files) != 0 {
			t.Errorf("spool holds %v", files)
		}
		d.stop()
	})
}

func TestReportSurvivesTheDevicesRestart(t *testing.T) {
	withBrokers(t, func(t *testing.T, b broker) {
		o := observe(t, b)
		c := config(freeAddress(t)) // nobody there
		c.Dir = t.TempDir()
		d := agent(t, c).run()
		for i := range 3 {
			if err := d.CallReport(fmt.Sprintf("c%d", i), map[string]int{"n": i}); err != nil {
				t.Fatal(err)
			}
		}
		d.stop()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := d.Flush(ctx); err == nil {
			t.Error("Flush after the end says that all is well")
		}
		// A crash and a power cut left these behind.
		for name, text := range map[string]string{"0000000000000000-cut.json": "", "9000000000000000-bad.json": `{"topic":"down/cmd/x"}`, "x.tmp": "{", "readme": "not ours"} {
			if err := os.WriteFile(filepath.Join(c.Dir, "spool", name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c.URL = "mqtt://" + b.address()
		d = agent(t, c)
		if err := d.CallReport("c3", nil); err != nil {
			t.Fatal(err)
		}
		d.run()
		d.flush()
		var reports []string
		o.until(0, "c3", func(h heard) bool { return strings.Contains(h.payload, `"c3"`) })
		for _, h := range o.messages() {
			if h.topic == "up/stats/call" {
				var r struct {
					CallID string `json:"call_id"`
					Late   bool
				}
				if err := json.Unmarshal([]byte(h.payload), &r); err != nil {
					t.Error(err)
				}
				reports = append(reports, fmt.Sprint(r.CallID, r.Late))
			}
		}
		if got := fmt.Sprint(reports); got != "[c0true c1true c2true c3false]" {
			t.Errorf("heard %s", got)
		}
		if files := spooled(t, c.Dir); len(files) != 2 { // x.tmp may be another process's, readme is
			t.Errorf("spool holds %v", files)
		}
		d.stop()
	})
}

// A path that swallows everything is left for a new connection, and what was under way is said again.
func TestNoProgressMakesANewConnection(t *testing.T) {
	withBrokers(t, func(t *testing.T, b broker) {
		o := observe(t, b)
		p := newProxy(t, b.address())
		c := config(p.address())
		c.Dir = t.TempDir()
		d := agent(t, c)
		d.timing.ack = 500 * time.Millisecond
		d.run()
		n := o.says(0, "up/status", "online")
		d.flush()
		p.freeze(true)
		d.State("call", callState{"active"})
		if err := d.CallReport("c1", map[string]int{}); err != nil {
			t.Fatal(err)
		}
		d.Reply("r1", Reply{OK: true})
		d.eventually("no progress is seen", func() bool { return strings.Contains(d.log.String(), errNoProgress.Error()) })
		p.cut()
		p.freeze(false)
		d.flush()
		n = o.says(n, "up/status", "online")
		o.says(n, "up/state/call", `{"state":"active"}`)
		o.says(0, "up/reply/r1", `{"ok":true}`)
		o.until(0, "the report", func(h heard) bool { return h.topic == "up/stats/call" })
		d.stop()
	})
}

func TestShutdownIsBoundedWhenThePathIsDead(t *testing.T) {
	withBrokers(t, func(t *testing.T, b broker) {
		o := observe(t, b)
		p := newProxy(t, b.address())
		d := agent(t, config(p.address())).run()
		n := o.says(0, "up/status", "online")
		d.flush()
		p.freeze(true)
		d.State("call", callState{"active"})
		began := time.Now()
		d.stop()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
		p.cut()
		p.freeze(false)
		o.says(n, "up/status", "offline") // by the last will
	})
}

// With a broker that takes the connection and says nothing, there is an end to waiting too.
func TestSilentBroker(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := agent(t, config(l.Addr().String()))
	d.timing.connect = 200 * time.Millisecond
	d.run()
	d.eventually("an error", func() bool { return d.Status().Error != "not connected yet" })
	d.timing.connect = time.Hour
	began := time.Now()
	d.stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	d.eventually("Commands is closed", func() bool {
		select {
		case _, ok := <-d.Commands():
			return !ok
		default:
			return false
		}
	})
}

func TestRefusedLogin(t *testing.T) {
	b := &mochiBroker{ledger: &auth.Ledger{Auth: auth.AuthRules{{Username: "door1", Password: "right", Allow: true}}}}
	b.start(t)
	t.Cleanup(b.stop)
	c := config(b.address())
	c.Username = "door1"
	password, mu := "canary-wrong", sync.Mutex{}
	c.Password = func() (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if password == "" {
			return "", errAlways
		}
		return password, nil
	}
	set := func(p string) {
		mu.Lock()
		defer mu.Unlock()
		password = p
	}
	d := agent(t, c).run()
	d.eventually("the refusal is told", func() bool {
		return strings.Contains(d.Status().Error, `refuses user "door1"`) && strings.Contains(d.Status().Error, "check mqtt.username and mqtt.password_file")
	})
	time.Sleep(500 * time.Millisecond) // several tries
	if n := strings.Count(d.log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, d.log)
	}
	set("")
	d.eventually("the password's error is told", func() bool { return strings.Contains(d.Status().Error, "password: always") })
	set("right")
	d.eventually("it is let in", func() bool { return d.Status().Connected })
	d.stop()
	if strings.Contains(d.log.String(), "canary") {
		t.Errorf("the password shows:\n%s", d.log)
	}
}

// certificate makes a CA and a server certificate of it for the given address.
func certificate(t *testing.T, host string) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.ParseIP(host)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestTLS(t *testing.T) {
	pool, cert := certificate(t, "127.0.0.1")
	wrongName, wrongCert := certificate(t, "127.0.0.2")
	for name, test := range map[string]struct {
		server *tls.Config
		roots  *x509.CertPool
		scheme string
		want   string // "" for a connection
	}{
		"good":         {&tls.Config{Certificates: []tls.Certificate{cert}}, pool, "mqtts", ""},
		"unknown CA":   {&tls.Config{Certificates: []tls.Certificate{cert}}, wrongName, "mqtts", "unknown authority"},
		"wrong name":   {&tls.Config{Certificates: []tls.Certificate{wrongCert}}, wrongName, "mqtts", "127.0.0.1"},
		"TLS 1.1 only": {&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11}, pool, "mqtts", "protocol version"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &mochiBroker{tls: test.server}
			b.start(t)
			t.Cleanup(b.stop)
			c := config(b.address())
			c.URL = test.scheme + "://" + b.address()
			c.RootCAs = test.roots
			d := agent(t, c).run()
			d.eventually("decided", func() bool { return d.Status().Connected || d.Status().Error != "not connected yet" })
			if s := d.Status(); s.Connected != (test.want == "") || !strings.Contains(s.Error, test.want) {
				t.Errorf("%+v, want %q", s, test.want)
			}
			d.stop()
		})
	}
	t.Run("plain broker", func(t *testing.T) {
		b := &mochiBroker{}
		b.start(t)
		t.Cleanup(b.stop)
		c := config(b.address())
		c.URL, c.RootCAs = "mqtts://"+b.address(), pool
		d := agent(t, c)
		d.timing.connect = 2 * time.Second
		d.run()
		d.eventually("decided", func() bool { return d.Status().Connected || d.Status().Error != "not connected yet" })
		if d.Status().Connected {
			t.Error("connected without TLS")
		}
		d.stop()
	})
}

func TestOfflineMemoryIsBounded(t *testing.T) {
	c := config(freeAddress(t))
	c.Dir = t.TempDir()
	d := agent(t, c)
	for i := range 2000 {
		d.State("call", callState{fmt.Sprint(i)})
		d.Reply(fmt.Sprint(i), Reply{OK: true})
		d.Live(callState{"x"})
		d.Event("button", map[string]int{"n": i})
	}
	if len(d.retained) != 1 || len(d.queue) != maxReplies || d.spool.len() != spoolCount || len(spooled(t, c.Dir)) != spoolCount {
		t.Errorf("%d states, %d messages, %d spooled", len(d.retained), len(d.queue), d.spool.len())
	}
	if !strings.Contains(d.log.String(), "dropped_in_all=1000") {
		t.Error("the drops are not told")
	}
	// The oldest went.
	e := d.spool.next()
	if _, payload, err := d.spool.load(e); err != nil || !strings.Contains(string(payload), `"n":1000`) {
		t.Errorf("%s, %v", payload, err)
	}
}

func TestSpoolBySize(t *testing.T) {
	log := &logBuffer{}
	for _, dir := range []string{t.TempDir(), ""} {
		s := openSpool(dir, slog.New(slog.NewTextHandler(log, nil)))
		big := []byte(`"` + strings.Repeat("x", 200<<10) + `"`)
		for range 60 {
			if err := s.add("up/stats/call", big, false); err != nil {
				t.Fatal(err)
			}
		}
		if s.bytes > s.maxBytes || s.len() != s.maxBytes/(200<<10+50) {
			t.Errorf("%d entries, %d bytes", s.len(), s.bytes)
		}
		if err := s.add("up/stats/call", append(big, big...), false); err == nil {
			t.Error("a huge entry is taken")
		}
	}
}

func TestSpoolWithoutADisk(t *testing.T) {
	b := &mochiBroker{}
	b.start(t)
	t.Cleanup(b.stop)
	o := observe(t, b)
	// A file where the directory should be: root cannot use that either.
	c := config(b.address())
	c.Dir = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(c.Dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := agent(t, c)
	if !strings.Contains(d.log.String(), "in memory only") {
		t.Errorf("not told:\n%s", d.log)
	}
	if err := d.CallReport("c1", nil); err != nil {
		t.Error(err)
	}
	// The directory goes away while the device runs.
	c.Dir = t.TempDir()
	gone := agent(t, c)
	if err := os.RemoveAll(filepath.Join(c.Dir, "spool")); err != nil {
		t.Fatal(err)
	}
	if err := gone.CallReport("c2", nil); err == nil || !strings.Contains(err.Error(), "c2 is kept in memory only") {
		t.Errorf("%v", err)
	}
	d.run()
	d.flush()
	d.stop()
	gone.run()
	gone.flush()
	gone.stop()
	for _, id := range []string{`"c1"`, `"c2"`} {
		o.until(0, id, func(h heard) bool { return h.topic == "up/stats/call" && strings.Contains(h.payload, id) })
	}
	if err := gone.CallReport("c3", []int{1}); err == nil {
		t.Error("a report that is no object is taken")
	}
}

func TestACLThatRefusesSubscriptionsIsWarnedOf(t *testing.T) {
	b := &mochiBroker{ledger: &auth.Ledger{
		Auth: auth.AuthRules{{Allow: true}},
		ACL:  auth.ACLRules{{Client: "door1", Filters: auth.Filters{"sidetone/v1/home/door1/up/#": auth.WriteOnly}}, {Filters: auth.Filters{"#": auth.ReadWrite}}},
	}}
	b.start(t)
	t.Cleanup(b.stop)
	o := observe(t, b)
	d := agent(t, config(b.address())).run()
	o.says(0, "up/status", "online")
	d.eventually("a warning", func() bool { return strings.Contains(d.log.String(), "ACL refuses a subscription") })
	d.stop()
}

func TestBadConfig(t *testing.T) {
	for _, c := range []Config{
		{URL: "tcp://x", Fleet: "f", Device: "d"}, {URL: "mqtt://", Fleet: "f", Device: "d"}, {Fleet: "f", Device: "d"},
		{URL: "mqtt://x", Fleet: "F", Device: "d"}, {URL: "mqtt://x", Fleet: "f", Device: "a/b"}, {URL: "mqtt://x", Fleet: "f"},
	} {
		if a, err := New(c); err == nil {
			t.Errorf("%+v makes %v", c, a)
		}
	}
	a, err := New(Config{URL: "mqtts://x", Fleet: "f", Device: "d"})
	if err != nil || a.address != "x:8883" || a.config.ClientID == "d" {
		t.Errorf("%+v, %v", a, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Run(ctx); err != nil {
		t.Error(err)
	}
	if err := a.Run(ctx); err == nil {
		t.Error("it runs twice")
	}
}

func TestPause(t *testing.T) {
	a := &Agent{timing: defaultTiming}
	for failures := range 100 {
		most := min(time.Minute, time.Second<<min(failures, 20))
		for range 20 {
			if d := a.pause(failures, errAlways); d < most/2 || d > most {
				t.Fatalf("pause %d is %v", failures, d)
			}
		}
		if d := a.pause(failures, fmt.Errorf("x: %w", &refusedError{errAlways})); d < 5*time.Second || d > 5*time.Minute {
			t.Fatalf("pause %d after a refusal is %v", failures, d)
		}
	}
}

func FuzzCommand(f *testing.F) {
	f.Add("dial", []byte(`{"id":"a","exp":2000000000,"by":"x","args":{}}`), false)
	f.Add("dial", []byte(`{"id":"a","exp":"2030-01-01T00:00:00Z"}`), true)
	f.Add("x/+", []byte(`{"id":"a","exp":-1e308}`), false)
	f.Add("", []byte(`null`), false)
	now := time.Unix(1700000000, 0)
	f.Fuzz(func(t *testing.T, name string, payload []byte, retained bool) {
		var g gate
		c, err := g.pass(name, payload, retained, now)
		if err != nil {
			return
		}
		if retained || !c.Exp.After(now) || strings.ContainsAny(c.ID, "/+#\x00") || c.ID == "" || !commandName.MatchString(c.Name) {
			t.Errorf("passed %+v", c)
		}
		if _, err := g.pass(name, payload, false, now); err == nil {
			t.Error("passed twice")
		}
	})
}

func TestGateForgetsTheOldestOnly(t *testing.T) {
	var g gate
	now := time.Now()
	say := func(i int) error {
		_, err := g.pass("x", fmt.Appendf(nil, `{"id":"%d","exp":%d}`, i, now.Unix()+60), false, now)
		return err
	}
	for i := range remembered + 1 {
		if err := say(i); err != nil {
			t.Fatal(err)
		}
	}
	if say(1) == nil || say(remembered) == nil || len(g.seen) != remembered {
		t.Error("it forgets too early")
	}
	if say(0) != nil {
		t.Error("it never forgets")
	}
}
