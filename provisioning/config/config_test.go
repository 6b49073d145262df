package config

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// write puts a config file into a directory of its own and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	cleanEnv(t)
	path := filepath.Join(t.TempDir(), "door1.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const relay = "[[door.relays]]\nname = 'door'\nline = 'GPIO5'\n"

const credentials = "[line]\ntoken_file = 'door1.jwt'\n"

func TestFileIsReadAndPathsAreRelativeToIt(t *testing.T) {
	path := write(t, `
[device]
name = "door1"
[line]
token_file = "secrets/door1.jwt"
ca_file = "/etc/ca.pem"
auto_answer = true
ring_timeout = "1m30s"
[[buttons]]
name = "call"
key = "c"
target = "concierge"
[[buttons]]
name = "office"
target = "door2"
[audio]
capture = "wav:in.wav"
playback = "wav:/tmp/out.wav"
complexity = 0
[ice]
policy = "relay"
[[ice.servers]]
urls = ["turn:127.0.0.1:3478?transport=udp"]
username = "door1"
credential_file = "turn.secret"
[control]
socket = "door1.sock"
`)
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	want := Default()
	want.Device.Name = "door1"
	want.Line.TokenFile = filepath.Join(dir, "secrets/door1.jwt")
	want.Line.CAFile = "/etc/ca.pem"
	want.Line.AutoAnswer = true
	want.Line.RingTimeout = Duration(90 * time.Second)
	want.Buttons = []Button{{Name: "call", Key: "c", Target: "concierge"}, {Name: "office", Target: "door2"}}
	want.Audio.Capture = "wav:" + filepath.Join(dir, "in.wav")
	want.Audio.Playback = "wav:/tmp/out.wav"
	want.Audio.Complexity = 0
	want.ICE.Policy = "relay"
	want.ICE.Servers = []ICEServer{{URLs: []string{"turn:127.0.0.1:3478?transport=udp"}, Username: "door1", CredentialFile: filepath.Join(dir, "turn.secret")}}
	want.Control.Socket = filepath.Join(dir, "door1.sock")
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestTheWholeLine(t *testing.T) {
	path := write(t, `
[line]
region = "eu"
token_command = ["/usr/bin/door-token", "--json"]
client_cert_file = "door1.pem"
client_key_file = "/door1.key"
client_state = "lobby, left"
answer_delay = "2s"
allow_from = ["concierge", "+15550100"]
second_call = "hold"
muted = true
dtmf = "info"
headers = [{name = "X-Site", value = "lobby"}]
[[line.headers]]
name = "x-door"
`+"[quiet]\nfrom = '22:00'\nto = '07:30'\ndays = ['fri', 'sat']\naction = 'reject'\nring_volume = 5\nlamp = false\n"+`
[[buttons]]
name = "call"
targets = ["a", "b"]
mode = "first"
per_target = "20s"
rounds = 2
no_answer = "1m"
max_call = "10m"
after_door = "10s"
[assistant]
target_id = "concierge"
target_version_id = "v2"
conversation_id = "c-1"
params = [{name = "language", value = "de"}]
[audio]
codecs = ["pcma", "opus"]
bandwidth_kbps = 64
[ice]
policy = "all"
servers = []
prefetch = true
trickle = true
`)
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "not TOML") {
		t.Fatalf("headers in two ways: %v", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	path = write(t, strings.Replace(string(text), `headers = [{name = "X-Site", value = "lobby"}]`, "[[line.headers]]\nname = 'X-Site'\nvalue = 'lobby'", 1))
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	l := &want.Line
	l.Region, l.TokenCommand = "eu", []string{"/usr/bin/door-token", "--json"}
	l.ClientCertFile, l.ClientKeyFile = filepath.Join(filepath.Dir(path), "door1.pem"), "/door1.key"
	l.ClientState, l.AnswerDelay, l.AllowFrom = "lobby, left", Duration(2*time.Second), []string{"concierge", "+15550100"}
	l.SecondCall, l.Muted, l.DTMF = "hold", true, "info"
	l.Headers = []Header{{"X-Site", "lobby"}, {"x-door", ""}}
	want.Quiet = Quiet{From: "22:00", To: "07:30", Days: []string{"fri", "sat"}, Action: "reject", RingVolume: 5}
	want.Buttons = []Button{{Name: "call", Targets: []string{"a", "b"}, Mode: "first", PerTarget: Duration(20 * time.Second), Rounds: 2, NoAnswer: Duration(time.Minute), MaxCall: Duration(10 * time.Minute), AfterDoor: Duration(10 * time.Second)}}
	want.Assistant = Assistant{"ai_assistant", "concierge", "v2", "c-1", []Param{{"language", "de"}}}
	want.Audio.Codecs, want.Audio.BandwidthKbps = []string{"pcma", "opus"}, 64
	want.ICE.Policy, want.ICE.Prefetch, want.ICE.Trickle = "all", true, true
	want.ICE.Servers = []ICEServer{} // none, not those of others
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	encoded, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if c, err = Load(write(t, string(encoded))); err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("encoded and back: %+v, %v from\n%s", c, err, encoded)
	}
}

func TestDoor(t *testing.T) {
	path := write(t, credentials+`[door]
allow_from = ["+1555*", "concierge"]
exit_line = "!GPIO6"
fleet_opens = false
[[door.relays]]
name = "door"
line = "file:relay"
lock = "fail-safe"
active_low = true
[[door.relays]]
name = "gate"
line = "GPIO5"
pulse = "40s"
delay = "2s"
[[door.codes]]
name = "cleaner"
relay = "gate"
code_file = "cleaner.code"
ways = ["keypad"]
from = "2026-11-22"
until = "2026-11-30"
days = ["mon", "sun"]
begin = "22:00"
end = "06:30"
`)
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := Default().Door
	want.AllowFrom, want.ExitLine, want.FleetOpens = []string{"+1555*", "concierge"}, "!GPIO6", false
	want.Relays = []DoorRelay{
		{Name: "door", Line: "file:" + filepath.Join(filepath.Dir(path), "relay"), Lock: LockSafe, ActiveLow: true},
		{Name: "gate", Line: "GPIO5", Pulse: Duration(40 * time.Second), Delay: Duration(2 * time.Second)},
	}
	want.Codes = []DoorCode{{
		Name: "cleaner", Relay: "gate", CodeFile: filepath.Join(filepath.Dir(path), "cleaner.code"), Ways: []string{WayKeypad},
		From: "2026-11-22", Until: "2026-11-30", Days: []string{"mon", "sun"}, Begin: "22:00", End: "06:30",
	}}
	if !reflect.DeepEqual(c.Door, want) {
		t.Errorf("got  %+v\nwant %+v", c.Door, want)
	}
	for i, want := range [][3]time.Duration{{3 * time.Second, 0, 30 * time.Second}, {40 * time.Second, 2 * time.Second, 40 * time.Second}} {
		if pulse, delay, on := c.Door.Relays[i].Times(); [3]time.Duration{pulse, delay, on} != want {
			t.Errorf("relay %d: %s, %s, %s; want %v", i, pulse, delay, on, want)
		}
	}
	day := func(d int) time.Time { return time.Date(2026, 11, d, 0, 0, 0, 0, time.Local) }
	hours := DoorHours{day(22), day(31), []time.Weekday{time.Monday, time.Sunday}, 22 * time.Hour, 6*time.Hour + 30*time.Minute}
	if got := c.Door.Codes[0].Hours(); !reflect.DeepEqual(got, hours) {
		t.Errorf("got %+v, want %+v", got, hours)
	}
	moment := DoorCode{From: "2026-11-22T08:00:00Z", Until: "2026-11-22T10:00:00+01:00"}.Hours()
	if moment.From.Unix() != 1795334400 || moment.Until.Sub(moment.From) != time.Hour {
		t.Errorf("%+v", moment)
	}
	if got := (DoorCode{}).Hours(); !reflect.DeepEqual(got, DoorHours{}) {
		t.Errorf("no limits: %+v", got)
	}
}

func TestPlanOfAButton(t *testing.T) {
	for _, test := range []struct {
		button Button
		want   Plan
	}{
		{Button{Target: "a"}, Plan{Targets: []string{"a"}, Mode: ModeSequence, Rounds: 1}},
		{
			Button{Targets: []string{"a", "b"}, Mode: ModeFirst, PerTarget: Duration(time.Second), Rounds: 3, NoAnswer: Duration(2 * time.Minute), MaxCall: Duration(time.Minute), AfterDoor: Duration(9 * time.Second)},
			Plan{Targets: []string{"a", "b"}, Mode: ModeFirst, PerTarget: time.Second, Rounds: 3, NoAnswer: 2 * time.Minute, MaxCall: time.Minute, AfterDoor: 9 * time.Second},
		},
	} {
		if got := test.button.Plan(); !reflect.DeepEqual(got, test.want) {
			t.Errorf("got %+v, want %+v", got, test.want)
		}
	}
}

// The reference has every key with the default that the code has, and no other.
func TestReferenceIsTheCode(t *testing.T) {
	l := newLoader("default.toml", "/")
	l.parse([]byte(Reference))
	if err := l.problems.err(); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(l.config, Default()) {
		t.Errorf("default.toml says %+v\nDefault()    says %+v", l.config, Default())
	}

	// With its examples switched on it holds each key of each table, and is valid but for the credentials.
	example := regexp.MustCompile(`(?m)^#(\[|\w)`).ReplaceAll([]byte(Reference), []byte("$1"))
	l = newLoader("default.toml", "/")
	l.parse(example)
	if err := l.problems.err(); err != nil {
		t.Fatal(err)
	}
	l.config.Line.TokenFile = "/t"
	if err := l.config.Check(); err != nil {
		t.Error(err)
	}
	var check func(path string, v reflect.Value)
	check = func(path string, v reflect.Value) {
		for _, f := range fields(v) {
			at := join(path, f.key)
			if _, ok := l.places[at]; !ok {
				t.Errorf("default.toml lacks %s", at)
				continue
			}
			line := bytes.Split(example, []byte("\n"))[l.places[at].line-2:][0]
			if !bytes.HasPrefix(line, []byte("#")) && f.key != "password_file" && f.key != "client_key_file" && f.key != "caller_number" && f.key != "credential_file" && !isTables(f.Value) {
				if f.Kind() != reflect.Struct {
					t.Errorf("default.toml has no comment on %s", at)
				}
			}
			switch {
			case f.Kind() == reflect.Struct:
				check(at, f.Value)
			case isTables(f.Value):
				if f.Len() == 0 {
					t.Errorf("default.toml has no example of %s", at)
					continue
				}
				check(index(at, 0), f.Index(0))
			}
		}
	}
	check("", reflect.ValueOf(l.config).Elem())
}

func TestEncodeLoadsBackEqual(t *testing.T) {
	c := Default()
	c.Device.Name = "door1"
	c.Line.URL = "ws://127.0.0.1:8080"
	c.Line.Login = `a"b'c`
	c.Line.PasswordFile = "/x/y"
	c.Line.CallerName = "Tür\n1"
	c.Line.RingTimeout = Duration(1500 * time.Millisecond)
	c.Buttons = []Button{{Name: "call", Key: "c", Target: "echo"}, {Name: "b", Target: "x"}}
	c.Audio.Complexity = 0
	c.Audio.FEC = false
	c.ICE.Loopback = true
	c.ICE.Servers = []ICEServer{{URLs: []string{"stun:a", "stun:b"}}, {URLs: []string{"turns:c:443"}, Username: "u", CredentialFile: "/c"}}
	c.Control.Socket = "/tmp/x.sock"
	text, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Load(write(t, string(text)))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if !reflect.DeepEqual(got, c) {
		t.Errorf("got  %+v\nwant %+v\nfrom\n%s", got, c, text)
	}
	if bytes.Contains(text, []byte("dialect")) || bytes.Contains(text, []byte("[log]")) {
		t.Errorf("it wrote defaults too:\n%s", text)
	}
	if text, err := Default().Encode(); err != nil || len(text) != 0 {
		t.Errorf("the default is written as %q, %v; want nothing", text, err)
	}

	// Whoever marshals the whole struct gets a good file too.
	text, err = toml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if got, err = Load(write(t, string(text))); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("go-toml's own: %+v, %v", got, err)
	}
}

func TestRoots(t *testing.T) {
	if pool, err := Roots(""); pool != nil || err != nil {
		t.Errorf("no file: %v, %v", pool, err)
	}
	if _, err := Roots(write(t, "no PEM")); err == nil || !strings.Contains(err.Error(), "no certificate in it") {
		t.Errorf("no PEM: %v", err)
	}
	if _, err := Roots("/nonexistent"); err == nil || !strings.Contains(err.Error(), "ca_file: open /nonexistent") {
		t.Errorf("no such file: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(Reference))
	f.Add([]byte(credentials))
	f.Add([]byte("line.headers = [{name = 'X-A', value = 'b'}]\nline.token_command = ['/x']\nline.allow_from = []\n[quiet]\nfrom = '22:00'\nto = '7:00'\ndays = []\n[[buttons]]\nname = 'a'\ntargets = ['b']\nmax_call = '1h'\n"))
	f.Add([]byte("line = {url = 1, a.b = [[{}]]}\nbuttons = [1, {}]\n[[ice.servers]]\n[ice.servers.x]\n"))
	f.Add([]byte("a.b.c = 1\n[[x]]\n[[x.y]]\n[[x.y]]\nz = [\n# c\n1]\n'' = 2\n"))
	f.Add([]byte("[audio]\nbitrate = 0x7fffffffffffffff\ncomplexity = 1979-05-27\nfec = nan\n"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		if len(doc) > maxFile {
			return
		}
		l := newLoader("f.toml", "/etc")
		l.parse(doc)
		l.check()
		l.problems.sort()
		for _, p := range l.problems {
			if p.Message == "" || p.Line < 0 || p.Line > bytes.Count(doc, []byte("\n"))+2 || p.Line > 0 && p.Col < 1 {
				t.Errorf("bad problem %+v", p)
			}
		}
		if l.problems.err() != nil {
			return
		}
		if err := l.config.Check(); err != nil {
			t.Fatalf("Load accepts what Check refuses: %v", err)
		}
		text, err := l.config.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again := newLoader("f.toml", "/etc")
		again.parse(text)
		if err := again.problems.err(); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if !reflect.DeepEqual(l.config, again.config) {
			t.Fatalf("%+v came back as %+v", l.config, again.config)
		}
	})
}
