package fleet

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/uuid"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// broker is a real MQTT broker on loopback; stopping and starting it keeps its address and forgets everything.
type broker interface {
	address() string
	start(t *testing.T)
	stop()
}

// withBrokers runs a test against the broker of the lab and against mosquitto.
func withBrokers(t *testing.T, test func(t *testing.T, b broker)) {
	t.Run("mochi", func(t *testing.T) {
		b := &mochiBroker{}
		b.start(t)
		t.Cleanup(b.stop)
		test(t, b)
	})
	withMosquitto(t, test)
}

func withMosquitto(t *testing.T, test func(t *testing.T, b broker)) {
	t.Run("mosquitto", func(t *testing.T) {
		if mosquittoPath() == "" {
			t.Skip("skipped: there is no mosquitto on this machine; apt-get install mosquitto")
		}
		b := &mosquitto{}
		b.start(t)
		t.Cleanup(b.stop)
		test(t, b)
	})
}

// freeAddress gives a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

type mochiBroker struct {
	addr   string
	tls    *tls.Config
	ledger *auth.Ledger // nil: everyone may do everything
	server *mochi.Server
}

func (b *mochiBroker) address() string { return b.addr }

func (b *mochiBroker) start(t *testing.T) {
	t.Helper()
	if b.addr == "" {
		b.addr = freeAddress(t)
	}
	b.server = mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	hook, options := mochi.Hook(new(auth.AllowHook)), any(nil)
	if b.ledger != nil {
		hook, options = new(auth.Hook), &auth.Options{Ledger: b.ledger}
	}
	if err := b.server.AddHook(hook, options); err != nil {
		t.Fatal(err)
	}
	if err := b.server.AddListener(listeners.NewTCP(listeners.Config{ID: "t", Address: b.addr, TLSConfig: b.tls})); err != nil {
		t.Fatal(err)
	}
	if err := b.server.Serve(); err != nil {
		t.Fatal(err)
	}
}

func (b *mochiBroker) stop() {
	if b.server == nil {
		return
	}
	// mochi 2.7.9 deadlocks in Close when a client with a clean session is just leaving (its GetByListener takes a read
	// lock twice): let those who go be gone.
	for deadline := time.Now().Add(patience); b.leaving() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	b.server.Close()
	b.server = nil
}

func (b *mochiBroker) leaving() bool {
	for _, c := range b.server.Clients.GetAll() {
		if c.Properties.Clean && !c.Net.Inline {
			return true
		}
	}
	return false
}

type mosquitto struct {
	addr string
	cmd  *exec.Cmd
	done chan struct{}
}

func mosquittoPath() string {
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		// Debian puts it where ordinary users' PATH does not reach.
		if path = "/usr/sbin/mosquitto"; !exists(path) {
			return ""
		}
	}
	return path
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func (b *mosquitto) address() string { return b.addr }

func (b *mosquitto) start(t *testing.T) {
	t.Helper()
	if b.addr == "" {
		b.addr = freeAddress(t)
	}
	_, port, _ := net.SplitHostPort(b.addr)
	config := filepath.Join(t.TempDir(), "mosquitto.conf")
	text := "listener " + port + " 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest stderr\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	b.cmd = exec.Command(mosquittoPath(), "-c", config)
	stderr, err := b.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done, up := make(chan struct{}), make(chan struct{})
	b.done = done
	var said strings.Builder
	go func() {
		defer close(done)
		lines := bufio.NewScanner(stderr)
		running := false
		for lines.Scan() {
			fmt.Fprintln(&said, lines.Text())
			if !running && strings.Contains(lines.Text(), "running") {
				running = true
				close(up)
			}
		}
		b.cmd.Wait()
	}()
	select {
	case <-up:
	case <-done:
		t.Fatalf("mosquitto does not start:\n%s", said.String())
	case <-time.After(30 * time.Second):
		b.stop()
		t.Fatalf("mosquitto does not say that it runs:\n%s", said.String())
	}
}

func (b *mosquitto) stop() {
	if b.cmd != nil {
		b.cmd.Process.Kill()
		<-b.done
		b.cmd = nil
	}
}

// heard is one message that an observer got.
type heard struct {
	topic, payload string
	retained       bool
}

func (h heard) String() string { return h.topic + " " + h.payload }

// observer is a client that hears everything below one device's root, and may say things too.
type observer struct {
	t      *testing.T
	client mqtt.Client
	root   string
	id     string
	synced chan struct{} // closed when its own sync was heard

	mu   sync.Mutex
	all  []heard
	more chan struct{}
}

func observe(t *testing.T, b broker, edit ...func(*mqtt.ClientOptions)) *observer {
	t.Helper()
	o := &observer{t: t, root: "sidetone/v1/home/door1/", more: make(chan struct{}, 1), id: uuid.NewString(), synced: make(chan struct{})}
	opts := mqtt.NewClientOptions().AddBroker("tcp://" + b.address()).SetClientID(o.id).
		SetAutoReconnect(false).SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
		if strings.HasSuffix(m.Topic(), "/sync") {
			if string(m.Payload()) == o.id {
				close(o.synced)
			}
			return
		}
		o.mu.Lock()
		o.all = append(o.all, heard{strings.TrimPrefix(m.Topic(), o.root), string(m.Payload()), m.Retained()})
		o.mu.Unlock()
		select {
		case o.more <- struct{}{}:
		default:
		}
	})
	for _, e := range edit {
		e(opts)
	}
	o.client = mqtt.NewClient(opts)
	o.wait(o.client.Connect())
	o.wait(o.client.Subscribe(o.root+"#", 1, nil))
	// mochi answers a subscription before it sends what is retained: without this, what is said meanwhile may be
	// heard twice.
	o.publish("sync", o.id, false)
	select {
	case <-o.synced:
	case <-time.After(patience):
		t.Fatal("observer: never heard itself")
	}
	t.Cleanup(func() { o.client.Disconnect(100) })
	return o
}

func (o *observer) wait(token mqtt.Token) {
	o.t.Helper()
	if !token.WaitTimeout(patience) || token.Error() != nil {
		o.t.Fatalf("observer: %v", token.Error())
	}
}

// patience is how long anything may take on a machine that has much to do.
const patience = 30 * time.Second

func (o *observer) messages() []heard {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]heard(nil), o.all...)
}

// until waits for a message, counted from the given position, and gives the position after it.
func (o *observer) until(from int, what string, ok func(heard) bool) (heard, int) {
	o.t.Helper()
	deadline := time.After(patience)
	for {
		all := o.messages()
		for i := from; i < len(all); i++ {
			if ok(all[i]) {
				return all[i], i + 1
			}
		}
		select {
		case <-o.more:
		case <-deadline:
			o.t.Fatalf("never heard %s after message %d of %v", what, from, all)
		}
	}
}

func (o *observer) says(from int, topic, payload string) int {
	o.t.Helper()
	_, next := o.until(from, topic+" "+payload, func(h heard) bool { return h.topic == topic && h.payload == payload })
	return next
}

func (o *observer) publish(topic, payload string, retain bool) {
	o.t.Helper()
	o.wait(o.client.Publish(o.root+topic, 1, retain, payload))
}

// proxy stands between an agent and its broker, to do to the connection what networks do.
type proxy struct {
	listener net.Listener
	to       string
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  []*net.TCPConn
	frozen bool // bytes go nowhere, and nobody is told
	thaw   *sync.Cond
	refuse bool
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: to}
	p.thaw = sync.NewCond(&p.mu)
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.freeze(false)
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.to)
		p.mu.Lock()
		refuse := p.refuse // asked once there is a broker: a refusal holds from before it started
		p.mu.Unlock()
		if err != nil || refuse {
			in.Close()
			if out != nil {
				out.Close()
			}
			continue
		}
		a, b := in.(*net.TCPConn), out.(*net.TCPConn)
		p.mu.Lock()
		p.conns = append(p.conns, a, b)
		p.mu.Unlock()
		p.wg.Go(func() { p.pump(a, b) })
		p.wg.Go(func() { p.pump(b, a) })
	}
}

func (p *proxy) pump(from, to *net.TCPConn) {
	defer to.Close()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		for p.frozen {
			p.thaw.Wait()
		}
		p.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut resets every connection, as a killed process or a pulled plug does: no DISCONNECT is said.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.SetLinger(0)
		c.Close()
	}
	p.conns = nil
}

func (p *proxy) freeze(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = on
	p.thaw.Broadcast()
}

func (p *proxy) setRefuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
}
