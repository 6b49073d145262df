package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

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
