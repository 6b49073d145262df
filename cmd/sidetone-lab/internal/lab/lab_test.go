package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/cmd/sidetone-lab/internal/admin"
	"sidetone/provisioning/config"
	"sidetone/rtc/gateway/relay"
	"sidetone/rtc/verto"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/pion/turn/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what should take milliseconds.
const patience = 10 * time.Second

// start brings up a lab on free loopback ports, which ends with the test.
func start(t *testing.T, dir string) *Lab {
	t.Helper()
	l, err := Start(t.Context(), Config{Dir: dir, Listen: "127.0.0.1:0", Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// roots are those that trust the lab.
func roots(t *testing.T, l *Lab) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(l.Info().CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("no certificate in %s", pem)
	}
	return pool
}

// client trusts the lab's CA, and leaves no connection behind.
func client(t *testing.T, l *Lab) *http.Client {
	t.Helper()
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots(t, l)},
	}}
}

// request asks with a bearer token, and gives the status and the body.
func request(t *testing.T, c *http.Client, method, url, bearer, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+bearer)
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// login logs in at the gateway by a token, and gives the socket and the gateway's answer.
func login(t *testing.T, l *Lab, url, token string) (*websocket.Conn, *verto.Frame) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: client(t, l)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	conn.SetReadLimit(verto.MaxFrame)
	req, err := verto.Request("1", verto.Login, verto.LoginParams{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	if err := wsjson.Write(ctx, conn, req); err != nil {
		t.Fatal(err)
	}
	for {
		var f verto.Frame
		if err := wsjson.Read(ctx, conn, &f); err != nil {
			t.Fatal(err)
		}
		if string(f.ID) == `"1"` {
			return conn, &f
		}
	}
}

func TestInfoHasExactlyItsKeys(t *testing.T) {
	l := start(t, t.TempDir())
	b, err := json.Marshal(l.Info())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	want := []string{"api_key", "ca", "devices", "mqtt", "mqtt_admin", "mqtts", "token_api", "turn", "turn_password", "turn_user", "update", "web", "ws", "wss"}
	var keys []string
	for k, v := range got {
		keys = append(keys, k)
		if v == "" || v == nil {
			t.Errorf("%s is empty", k)
		}
	}
	slices.Sort(keys)
	if !slices.Equal(keys, want) {
		t.Errorf("keys %q\nwant %q", keys, want)
	}
	i := l.Info()
	for value, prefix := range map[string]string{
		i.WS: "ws://127.0.0.1:", i.WSS: "wss://127.0.0.1:", i.TokenAPI: "http://127.0.0.1:", i.MQTT: "mqtt://127.0.0.1:",
		i.MQTTS: "mqtts://127.0.0.1:", i.Web: "http://127.0.0.1:", i.CA: "/", i.APIKey: "KEY",
		i.TURN[0]: "turn:127.0.0.1:", i.TURN[1]: "turn:127.0.0.1:", i.TURN[2]: "turns:127.0.0.1:",
		i.Devices["door1"]: "/", i.Devices["door2"]: "/", i.Devices["kiosk1"]: "/",
	} {
		if !strings.HasPrefix(value, prefix) {
			t.Errorf("%q does not begin with %q", value, prefix)
		}
	}
	for n, suffix := range []string{"?transport=udp", "?transport=tcp", "?transport=tcp"} {
		if !strings.HasSuffix(i.TURN[n], suffix) {
			t.Errorf("%s does not end with %s", i.TURN[n], suffix)
		}
	}
}

func TestTokenAPIAnswers(t *testing.T) {
	l := start(t, t.TempDir())
	i := l.Info()
	for base, name := range map[string]string{i.TokenAPI: "plain", strings.TrimSuffix(strings.Replace(i.WSS, "wss", "https", 1), "/"): "tls"} {
		status, body := request(t, client(t, l), "POST", base+"/v2/telephony_credentials", i.APIKey, `{"name":"`+name+`"}`)
		if status != http.StatusCreated || !strings.Contains(body, `"record_type":"credential"`) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if status, _ := request(t, client(t, l), "GET", i.TokenAPI+"/v2/telephony_credentials", "KEYwrong", ""); status != http.StatusUnauthorized {
		t.Errorf("a wrong key got %d", status)
	}
}

func TestTokenLogsInAtTheGateway(t *testing.T) {
	l := start(t, t.TempDir())
	token, err := l.Token("visitor")
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{l.Info().WS, l.Info().WSS} {
		if _, f := login(t, l, url, token.Token); f.Error != nil || !strings.Contains(string(f.Result), "logged in") {
			t.Errorf("%s: %s %v", url, f.Result, f.Error)
		}
	}
	if _, f := login(t, l, l.Info().WS, token.Token+"x"); f.Error == nil || f.Error.Code != verto.CodeAuthenticationFailed {
		t.Errorf("a tampered token got %s %v", f.Result, f.Error)
	}
}

// TestDeletedCredentialIsOut: its socket closes, and its token gets -32001.
func TestDeletedCredentialIsOut(t *testing.T) {
	l := start(t, t.TempDir())
	i := l.Info()
	status, body := request(t, client(t, l), "POST", i.TokenAPI+"/v2/telephony_credentials", i.APIKey, `{"name":"visitor"}`)
	var made struct{ Data struct{ ID string } }
	if err := json.Unmarshal([]byte(body), &made); err != nil || status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	url := i.TokenAPI + "/v2/telephony_credentials/" + made.Data.ID
	_, token := request(t, client(t, l), "POST", url+"/token", i.APIKey, "")
	conn, f := login(t, l, i.WS, token)
	if f.Error != nil {
		t.Fatal(f.Error)
	}
	if status, body := request(t, client(t, l), "DELETE", url, i.APIKey, ""); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		if _, _, err := conn.Read(ctx); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				t.Error("the socket stays open")
			}
			break
		}
	}
	if _, f := login(t, l, i.WS, token); f.Error == nil || f.Error.Code != verto.CodeAuthenticationFailed {
		t.Errorf("the token got %s %v", f.Result, f.Error)
	}
}

func TestDeviceConfigs(t *testing.T) {
	l := start(t, t.TempDir())
	for _, m := range models {
		t.Run(m.name, func(t *testing.T) {
			c, err := config.Load(l.Info().Devices[m.name])
			if err != nil {
				t.Fatal(err)
			}
			if c.Device.Name != m.name || c.Device.Fleet != Fleet || c.Line.AutoAnswer != m.autoAnswer || c.ICE.Policy != "auto" || !c.ICE.Loopback {
				t.Errorf("config %+v", c)
			}
			if len(c.Buttons) != 1 || c.Buttons[0].Name != Button || c.Buttons[0].Target != m.target {
				t.Errorf("buttons %+v", c.Buttons)
			}
			for _, path := range []string{c.Line.TokenKeyFile, c.MQTT.PasswordFile} {
				if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s: %v, %v", path, info, err)
				}
			}
			for _, path := range []string{c.Device.StateDir, c.Line.CAFile, c.ICE.CAFile, c.MQTT.CAFile, c.Control.Socket} {
				if !filepath.IsAbs(path) {
					t.Errorf("%s is not absolute", path)
				}
			}

			status, body := request(t, client(t, l), "POST", c.Line.TokenURL, readSecret(c.Line.TokenKeyFile), "")
			var got struct {
				Token      string `json:"token"`
				ICEServers []struct {
					URLs []string `json:"urls"`
				} `json:"iceServers"`
			}
			if err := json.Unmarshal([]byte(body), &got); err != nil || status != http.StatusOK {
				t.Fatalf("token broker: %d %s", status, body)
			}
			if len(got.ICEServers) != 1 || !slices.Equal(got.ICEServers[0].URLs, l.Info().TURN) {
				t.Errorf("iceServers %+v", got.ICEServers)
			}
			if _, f := login(t, l, c.Line.URL, got.Token); f.Error != nil {
				t.Errorf("login: %v", f.Error)
			}
			if err := connect(t, l, c.MQTT.URL, m.name, readSecret(c.MQTT.PasswordFile)); err != nil {
				t.Errorf("MQTT: %v", err)
			}
		})
	}
}

// mqttClient connects to the lab's broker.
func mqttClient(t *testing.T, l *Lab, url, user, password string) (paho.Client, error) {
	t.Helper()
	c := paho.NewClient(paho.NewClientOptions().AddBroker(url).SetClientID(user).SetUsername(user).SetPassword(password).
		SetTLSConfig(&tls.Config{RootCAs: roots(t, l)}).SetAutoReconnect(false).SetConnectTimeout(patience).SetProtocolVersion(4))
	tok := c.Connect()
	if !tok.WaitTimeout(patience) {
		t.Fatal("no answer to CONNECT")
	}
	if tok.Error() == nil {
		t.Cleanup(func() { c.Disconnect(50) })
	}
	return c, tok.Error()
}

func connect(t *testing.T, l *Lab, url, user, password string) error {
	t.Helper()
	_, err := mqttClient(t, l, url, user, password)
	return err
}

func TestMQTTLogins(t *testing.T) {
	l := start(t, t.TempDir())
	i := l.Info()
	for _, c := range []struct {
		user, password string
		ok             bool
	}{
		{i.MQTTAdmin.User, i.MQTTAdmin.Password, true},
		{i.MQTTAdmin.User, "wrong", false},
		{"", "", false},
		{"door1", "", false},
		{"door1", i.MQTTAdmin.Password, false},
		{"door1", readSecret(mqttPasswordFile(l.deviceDir("door2"))), false},
		{"door1", readSecret(tokenKeyFile(l.deviceDir("door1"))), false},
	} {
		for _, url := range []string{i.MQTT, i.MQTTS} {
			if err := connect(t, l, url, c.user, c.password); (err == nil) != c.ok {
				t.Errorf("%s at %s: %v", c.user, url, err)
			}
		}
	}
}

// TestTURNAllocates by the credentials of the line, over each transport, and its relayed address is the lab's.
func TestTURNAllocates(t *testing.T) {
	l := start(t, t.TempDir())
	i := l.Info()
	for n, url := range i.TURN {
		t.Run(url, func(t *testing.T) {
			_, addr, _ := strings.Cut(strings.TrimSuffix(strings.Split(url, "?")[0], "/"), ":")
			var pc net.PacketConn
			switch n {
			case 0:
				udp, err := net.ListenPacket("udp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				pc = udp
			default:
				conn, err := net.DialTimeout("tcp", addr, patience)
				if err != nil {
					t.Fatal(err)
				}
				if n == 2 {
					conn = tls.Client(conn, &tls.Config{RootCAs: roots(t, l), ServerName: "127.0.0.1"})
				}
				pc = turn.NewSTUNConn(conn)
			}
			defer pc.Close()
			c, err := turn.NewClient(&turn.ClientConfig{TURNServerAddr: addr, Conn: pc, Username: i.TURNUser, Password: i.TURNPassword})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Listen(); err != nil {
				t.Fatal(err)
			}
			relayed, err := c.Allocate()
			if err != nil {
				t.Fatal(err)
			}
			defer relayed.Close()
			if !strings.HasPrefix(relayed.LocalAddr().String(), "127.0.0.1:") {
				t.Errorf("relayed address %s", relayed.LocalAddr())
			}
		})
	}
}

// TestStartAgain: another lab on the directory is refused while one runs; after it, clients that trusted it still do.
func TestStartAgain(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir)
	if _, err := Start(t.Context(), Config{Dir: dir, Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}); !errors.Is(err, admin.ErrRunning) || !strings.Contains(err.Error(), first.Info().Web) {
		t.Fatalf("error %v", err)
	}
	ca := roots(t, first)
	secret := readSecret(tokenKeyFile(first.deviceDir("door1")))
	token, err := first.Token("door1")
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	if _, err := admin.Open(dir); err == nil || !strings.Contains(err.Error(), "sidetone-lab up") {
		t.Errorf("with no lab running: %v", err)
	}

	second := start(t, dir)
	if !ca.Equal(roots(t, second)) {
		t.Error("the CA changed")
	}
	if first.Info().APIKey != second.Info().APIKey {
		t.Error("the API key changed")
	}
	if readSecret(tokenKeyFile(second.deviceDir("door1"))) != secret {
		t.Error("door1's secret changed")
	}
	if _, f := login(t, second, second.Info().WSS, token.Token); f.Error != nil {
		t.Errorf("an earlier token: %v", f.Error)
	}
}

func TestDamagedSecretIsReplaced(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir)
	key := tokenKeyFile(l.deviceDir("door1"))
	l.Close()
	if err := os.WriteFile(key, []byte("spoilt"), 0o600); err != nil {
		t.Fatal(err)
	}
	l = start(t, dir)
	c, err := config.Load(l.Info().Devices["door1"])
	if err != nil {
		t.Fatal(err)
	}
	if status, body := request(t, client(t, l), "POST", c.Line.TokenURL, readSecret(key), ""); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
}

// What a device's config says leads to the releases, over TLS.
func TestUpdates(t *testing.T) {
	l := start(t, t.TempDir())
	c, err := config.Load(l.Info().Devices["door1"])
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.ReadFile(c.Update.RootFile)
	if err != nil || c.Update.RootFile != l.Info().Update.RootFile || c.Update.URL != l.Info().Update.URL {
		t.Fatalf("%+v, %v", c.Update, err)
	}
	if status, body := request(t, client(t, l), "GET", c.Update.URL+"/metadata/1.root.json", "", ""); status != http.StatusOK || body != string(root) {
		t.Errorf("%d %s", status, body)
	}
}

func TestRingNobody(t *testing.T) {
	l := start(t, t.TempDir())
	_, err := l.Ring(t.Context(), "door1", "tone")
	if err == nil || !strings.Contains(err.Error(), "door1 is not registered") || !strings.Contains(err.Error(), l.Info().Devices["door1"]) {
		t.Errorf("error %v", err)
	}
}

func TestStatsNameEveryDevice(t *testing.T) {
	l := start(t, t.TempDir())
	b, err := json.Marshal(l.Stats())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "null") {
		t.Errorf("a list is null: %s", b)
	}
	for _, m := range models {
		c, ok := l.Stats().Clients[m.name]
		if !ok || len(c.TURN) != 3 || c.Registered {
			t.Errorf("%s: %+v", m.name, c)
		}
	}
}

func TestFaults(t *testing.T) {
	l := start(t, t.TempDir())
	if err := l.SetFault(admin.Fault{Name: "turn-tcp", Blackhole: true}); err != nil {
		t.Fatal(err)
	}
	if f := l.Faults(); len(f) != 5 || f[0].Blackhole || !f[1].Blackhole || f[2].Blackhole || f[3].String() != "good" || f[4].String() != "good" {
		t.Errorf("faults %+v", f)
	}
	answers := func() bool {
		conn, err := net.DialTimeout("tcp", l.relay.Addr(relay.TCP).String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		pc := turn.NewSTUNConn(conn)
		c, err := turn.NewClient(&turn.ClientConfig{
			TURNServerAddr: conn.RemoteAddr().String(), STUNServerAddr: conn.RemoteAddr().String(), Conn: pc,
			RTO: 100 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Listen(); err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() {
			_, err := c.SendBindingRequest()
			got <- err
		}()
		select {
		case err := <-got:
			return err == nil
		case <-time.After(500 * time.Millisecond):
			c.Close()
			<-got
			return false
		}
	}
	if answers() {
		t.Error("TURN over TCP answers in spite of the black hole")
	}
	if err := l.SetFault(admin.Fault{Name: "turn-tcp"}); err != nil {
		t.Fatal(err)
	}
	if !answers() {
		t.Error("TURN over TCP does not answer after the fault was mended")
	}
	for _, name := range []string{"", "turn", "turn-sctp", "gateway"} {
		if err := l.SetFault(admin.Fault{Name: name, Blackhole: true}); err == nil {
			t.Errorf("fault %q was made", name)
		}
	}
}

// TestClose with every kind of client hanging on, one of them without a word.
func TestClose(t *testing.T) {
	l := start(t, t.TempDir())
	token, err := l.Token("door1")
	if err != nil {
		t.Fatal(err)
	}
	login(t, l, l.Info().WSS, token.Token)
	if err := connect(t, l, l.Info().MQTTS, "door1", readSecret(mqttPasswordFile(l.deviceDir("door1")))); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", l.Info().Web+"api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := client(t, l).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	for _, s := range []net.Listener{l.sockets.web, l.sockets.wss, l.sockets.mqtt, l.sockets.mqtts, l.sockets.turnTCP, l.sockets.turnTLS} {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	begin := time.Now()
	l.Close()
	if took := time.Since(begin); took > 20*time.Second { // ten times of what is promised
		t.Errorf("Close took %v", took)
	} else {
		t.Logf("Close took %v", took)
	}
	if _, err := os.Stat(filepath.Join(l.dir, "lab.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("lab.json: %v", err)
	}
}

// TestStartThatFails leaves nothing open.
func TestStartThatFails(t *testing.T) {
	l := start(t, t.TempDir())
	_, port, _ := net.SplitHostPort(l.sockets.web.Addr().String())
	dir := t.TempDir()
	_, err := Start(t.Context(), Config{Dir: dir, Listen: "127.0.0.1:" + port, Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("error %v", err)
	}
	unlock, err := admin.Lock(dir)
	if err != nil {
		t.Fatalf("the directory is still claimed: %v", err)
	}
	unlock()
}
