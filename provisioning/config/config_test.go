package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// cleanEnv removes the variables that would override what a test writes.
func cleanEnv(t *testing.T) {
	t.Helper()
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, envPrefix) {
			t.Setenv(name, value) // so that it comes back
			os.Unsetenv(name)
		}
	}
}

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

// problemsOf loads text, which must be refused, and gives the lines of the error without the directory.
func problemsOf(t *testing.T, text string) []string {
	t.Helper()
	path := write(t, text)
	return refused(t, path)
}

func refused(t *testing.T, path string) []string {
	t.Helper()
	c, err := Load(path)
	var ps Problems
	if !errors.As(err, &ps) || c != nil {
		t.Fatalf("Load gave %v, %v; want Problems", c, err)
	}
	return strings.Split(strings.ReplaceAll(err.Error(), filepath.Dir(path)+"/", ""), "\n")
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

func TestEveryProblemIsToldAtOnceWithItsPlace(t *testing.T) {
	got := problemsOf(t, `[device]
name = "Door 1"
[line]
url = "http://rtc.example.net"
token_file = "t"
auto_anser = true
ring_timeout = "45"
setup_timeout = 60
[[buttons]]
name = "call"
target = "a"
[[buttons]]
name = "call"
targett = "b"
[audio]
bitrate = "32k"
complexity = 11
processing = "maybe"
capture = "mic"
[ice]
policy = "rely"
servers = [ {urls = ["turn:a"]}, {urls = "turn:b"} ]
[lines]
x = 1
[mqtt]
url = "mqtt://user:secret@host"
fec = true
`)
	want := []string{
		`door1.toml:2:1: device.name must be lower-case letters, digits and hyphens, not "Door 1"`,
		`door1.toml:4:1: line.url must be wss://HOST or ws://HOST, not "http://rtc.example.net"`,
		`door1.toml:6:1: unknown key line.auto_anser; did you mean line.auto_answer?`,
		`door1.toml:7:1: line.ring_timeout: "45" is no duration; write it with its units, as "45s" or "1m30s"`,
		`door1.toml:8:1: line.setup_timeout must be a duration, as "45s", not 60`,
		`door1.toml:13:1: buttons[1].name "call" is taken by another button`,
		`door1.toml:14:1: unknown key buttons[1].targett; did you mean buttons[1].target?`,
		`door1.toml:16:1: audio.bitrate must be a whole number, not "32k"`,
		`door1.toml:17:1: audio.complexity must be from -1 to 10, not 11`,
		`door1.toml:18:1: audio.processing must be auto or on or off, not "maybe"`,
		`door1.toml:19:1: audio.capture must be auto, null, card:NAME or wav:PATH, not "mic"`,
		`door1.toml:21:1: ice.policy must be auto or all or relay, not "rely"`,
		`door1.toml:22:14: ice.servers[0].urls has "turn:a", which needs username and credential_file`,
		`door1.toml:22:35: ice.servers[1].urls must be a list of strings, not "turn:b"`,
		`door1.toml:23:2: unknown key lines; did you mean line?`,
		`door1.toml:26:1: mqtt.url must hold no user or password; secrets stand in files of their own`,
		`door1.toml:27:1: unknown key mqtt.fec; did you mean audio.fec?`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestProblemsOneByOne(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"no credentials":      {"", "door1.toml: line.token_file is missing: set line.token_file, or line.token_command, or line.token_url with line.token_key_file, or line.login with line.password_file"},
		"broker without key":  {"line = {token_url = 'https://b/t'}", "door1.toml:1:1: line.token_key_file is missing: line.token_url needs the file with this device's secret at that broker, or line.client_cert_file with line.client_key_file"},
		"login alone":         {"line.login = 'a'", "door1.toml:1:1: line.password_file is missing: line.login needs the file with its password"},
		"not TOML":            {"[line]\nurl = wss://x\n", "door1.toml:2:7: not TOML: "},
		"key twice":           {"[line]\nlogin='a'\nlogin='b'\n", "door1.toml:3:1: not TOML: "},
		"bitrate":             {"audio.bitrate = 5999\n" + credentials, "door1.toml:1:7: audio.bitrate must be from 6000 to 510000 bit/s, not 5999"},
		"huge number":         {"audio.bitrate = 9223372036854775807\n" + credentials, "door1.toml:1:7: audio.bitrate must be "},
		"table for a string":  {credentials + "[line.url]", "door1.toml:3:7: line.url must be a string, not a table"},
		"string for a table":  {"line = 'x'", `door1.toml:1:1: line must be a table, not "x"`},
		"table for a list":    {credentials + "[buttons]", "door1.toml:3:2: buttons must be a list of tables: [[buttons]], not a table"},
		"number in a list":    {credentials + "[[ice.servers]]\nurls = ['stun:a', 3]", "door1.toml:4:1: ice.servers[0].urls[1] must be a string, not 3"},
		"string for a button": {"buttons = ['call']\n" + credentials, `door1.toml:1:1: buttons[0] must be a table, not "call"`},
		"dialect":             {credentials + "dialect = 'sip'", `door1.toml:3:1: line.dialect must be telnyx or freeswitch, not "sip"`},
		"level":               {"log.level = 'trace'\n" + credentials, "log.level must be debug or info or warn or error"},
		"button key":          {credentials + "[[buttons]]\nname='a'\ntarget='b'\nkey='cc'", `door1.toml:6:1: buttons[0].key must be one printable character, not "cc"`},
		"button key twice":    {credentials + "[[buttons]]\nname='a'\ntarget='b'\nkey='c'\n[[buttons]]\nname='b'\ntarget='b'\nkey='c'", `door1.toml:10:1: buttons[1].key "c" is taken by another button`},
		"no target":           {credentials + "[[buttons]]\nname='a'", "door1.toml:3:3: buttons[0].target must not be empty; set it, or targets for several"},
		"no shell":            {"line.token_command = ['door-token']", `door1.toml:1:6: line.token_command must begin with the absolute path of a program, as ["/usr/bin/door-token", "--json"], not "door-token"`},
		"zero byte":           {"line.token_command = ['/x', \"a\\u0000\"]", "line.token_command[1] must not hold a zero byte"},
		"cert without key":    {"line = {token_url = 'https://b/t', client_cert_file = 'x'}", "line.client_key_file is missing: line.client_cert_file needs the file with its key"},
		"key without cert":    {"line = {token_url = 'https://b/t', token_key_file = 'x', client_key_file = 'x'}", "line.client_cert_file is missing: line.client_key_file is set"},
		"cert in clear":       {"line = {token_url = 'http://b/t', client_cert_file = 'x', client_key_file = 'x'}", "door1.toml:1:9: line.token_url must be https://HOST: line.client_cert_file can only be shown by TLS"},
		"region":              {credentials + "region = 'mars'", "line.region must be auto or eu or us-central or us-east or us-west or ca-central or apac or south-asia, not \"mars\""},
		"region elsewhere":    {credentials + "region = 'eu'\ndialect = 'freeswitch'", "door1.toml:3:1: line.region is for the dialect telnyx only"},
		"second call":         {credentials + "second_call = 'drop'", `line.second_call must be busy or wait or hold, not "drop"`},
		"dtmf":                {credentials + "dtmf = 'inband'", `line.dtmf must be rfc4733 or info, not "inband"`},
		"answer delay":        {credentials + "answer_delay = '2m'", "line.answer_delay must be from 0s to 1m, not 2m0s"},
		"allowed nobody":      {credentials + "allow_from = ['']", "door1.toml:3:1: line.allow_from[0] must not be empty"},
		"client state":        {credentials + "client_state = '" + strings.Repeat("x", 3073) + "'", "line.client_state is 3073 bytes long; 3072 are allowed"},
		"header of SIP":       {credentials + "headers = [{name = 'Via', value = 'x'}]", `line.headers[0].name must be X- and then letters, digits, hyphens, dots and underscores, not "Via"`},
		"long header":         {credentials + "headers = [{name = 'X-A', value = '" + strings.Repeat("x", 1022) + "'}]", "line.headers[0].value is too long: with its name it has 1025 bytes; 1024 are allowed"},
		"many headers":        {credentials + "headers = [" + strings.Repeat("{name = 'X-A'},", 33) + "]", "door1.toml:3:1: line.headers are 33; 32 are allowed"},
		"header in two":       {credentials + `headers = [{name = 'X-A', value = "x\r\nVia: y"}]`, `line.headers[0].value must be one line of printable characters`},
		"quiet time":          {credentials + "[quiet]\nfrom = '22'\nto = '07:00'", `door1.toml:4:1: quiet.from must be a time of day, as "22:30", not "22"`},
		"quiet without end":   {credentials + "[quiet]\nfrom = '22:00'", "door1.toml:3:2: quiet.to is missing: quiet.from is set"},
		"quiet day":           {credentials + "[quiet]\ndays = ['Friday']", `quiet.days[0] must be sun or mon`},
		"quiet day twice":     {credentials + "[quiet]\ndays = ['fri', 'fri']", `quiet.days[1] is "fri" for the second time`},
		"quiet action":        {credentials + "[quiet]\naction = 'loud'", `quiet.action must be silent or soft or reject, not "loud"`},
		"quiet volume":        {credentials + "[quiet]\nring_volume = 101", "quiet.ring_volume must be from 0 to 100 %, not 101"},
		"ring volume":         {credentials + "[audio]\nring_volume = -1", "audio.ring_volume must be from 0 to 100 %, not -1"},
		"target and targets":  {credentials + "[[buttons]]\nname='a'\ntarget='b'\ntargets=['c']", "door1.toml:6:1: buttons[0].targets must be empty when target is set"},
		"an empty target":     {credentials + "[[buttons]]\nname='a'\ntargets=['b', '']", "door1.toml:5:1: buttons[0].targets[1] must not be empty"},
		"mode":                {credentials + "[[buttons]]\nname='a'\ntarget='b'\nmode='all'", `buttons[0].mode must be sequence or first, not "all"`},
		"per target":          {credentials + "[[buttons]]\nname='a'\ntarget='b'\nper_target='2h'", "buttons[0].per_target must be from 1s to 1h, not 2h0m0s"},
		"rounds":              {credentials + "[[buttons]]\nname='a'\ntarget='b'\nrounds=-1", "buttons[0].rounds must be from 0 to 100, not -1"},
		"max call":            {credentials + "[[buttons]]\nname='a'\ntarget='b'\nmax_call='25h'", "buttons[0].max_call must be from 1s to 24h, not 25h0m0s"},
		"no answer":           {credentials + "[[buttons]]\nname='a'\ntarget='b'\nno_answer='1ms'", "buttons[0].no_answer must be from 1s to 24h, not 1ms"},
		"after door":          {credentials + "[[buttons]]\nname='a'\ntarget='b'\nafter_door='-1s'", "buttons[0].after_door must be from 1s to 24h, not -1s"},
		"assistant's dialect": {"line.dialect = 'freeswitch'\nassistant.target_id = 'a'", "door1.toml:2:11: assistant.target_id is for the dialect telnyx only"},
		"assistant's kind":    {"[assistant]\ntarget_id = 'a'\ntarget_type = ''", "door1.toml:3:1: assistant.target_type must not be empty"},
		"assistant's params":  {"assistant = {target_id = 'a', params = [{name = 'conversation_id', value = 'x'}]}", `assistant.params[0].name "conversation_id" is set elsewhere too`},
		"codec":               {credentials + "[audio]\ncodecs = ['mp3']", `audio.codecs[0] must be opus or pcmu or pcma, not "mp3"`},
		"no codec":            {credentials + "[audio]\ncodecs = []", "door1.toml:4:1: audio.codecs must not be empty"},
		"bandwidth":           {credentials + "[audio]\nbandwidth_kbps = -1", "audio.bandwidth_kbps must be from 0 to 10000 kbit/s, not -1"},
		"timeout of nothing":  {credentials + "ring_timeout='0s'", "door1.toml:3:1: line.ring_timeout must be from 1s to 1h, not 0s"},
		"ice scheme":          {credentials + "[[ice.servers]]\nurls=['turn://a']\nusername='a'\ncredential_file='b'", `door1.toml:4:1: ice.servers[0].urls has "turn://a"; write stun:HOST`},
		"mqtt scheme":         {credentials + "[mqtt]\nurl='tcp://a'", `door1.toml:4:1: mqtt.url must be mqtts://HOST or mqtt://HOST, not "tcp://a"`},
		"relay without line":  {credentials + "[[door.relays]]\nname='a'", "door1.toml:3:8: door.relays[0].line must not be empty"},
		"relay twice":         {credentials + "[[door.relays]]\nname='a'\nline='x'\n[[door.relays]]\nname='a'\nline='y'", `door.relays[1].name "a" is taken by another relay`},
		"line twice":          {credentials + "[door]\nexit_line='!x'\n[[door.relays]]\nname='a'\nline='x'", `door1.toml:4:1: door.exit_line "x" is taken already`},
		"door without relay":  {credentials + "[[buttons]]\nname='out'\npress='door'", "door1.toml:5:1: buttons[0].press needs a relay: add one under [[door.relays]]"},
		"lock":                {credentials + "[[door.relays]]\nname='a'\nline='x'\nlock='strong'", `door.relays[0].lock must be fail-secure or fail-safe, not "strong"`},
		"pulse":               {credentials + "[[door.relays]]\nname='a'\nline='x'\npulse='1h'\nmax_on='1h'", "door.relays[0].pulse must be from 50ms to 10m, not 1h0m0s"},
		"max on":              {credentials + "[[door.relays]]\nname='a'\nline='x'\npulse='10s'\nmax_on='5s'", "door.relays[0].max_on must not be shorter than pulse, 10s"},
		"delay":               {credentials + "[[door.relays]]\nname='a'\nline='x'\ndelay='-1s'", "door.relays[0].delay must be from 0s to 1m, not -1s"},
		"everybody":           {credentials + "[door]\nallow_from=['*']", `door.allow_from[0] must be a number, or the beginning of one, as "+1555*"; "*" would be everybody`},
		"tries":               {credentials + "[door]\ntries=0", "door.tries must be from 1 to 10, not 0"},
		"lockout":             {credentials + "[door]\nlockout='0s'", "door.lockout must be from 1s to 1h, not 0s"},
		"tamper block":        {credentials + "[door]\ntamper_block='0s'", "door.tamper_block must be from 1s to 24h, not 0s"},
		"open too long":       {credentials + "[door]\nopen_too_long='2h'", "door.open_too_long must be from 1s to 1h, not 2h0m0s"},
		"contact alone":       {credentials + "[door]\ncontact_line='x'", "door.contact_line needs a relay: add one under [[door.relays]]"},
		"exit relay":          {credentials + "[door]\nexit_relay='x'", `door.exit_relay must be the name of one of door.relays, not "x"`},
		"code alone":          {credentials + "[[door.codes]]\nname='a'\ncode_file='c'", "door.codes[0].relay is missing: add one under [[door.relays]]"},
		"code's relay":        {credentials + relay + "[[door.codes]]\nname='a'\ncode_file='c'\nrelay='x'", `door.codes[0].relay must be the name of one of door.relays, not "x"`},
		"code's file":         {credentials + relay + "[[door.codes]]\nname='a'", "door.codes[0].code_file must not be empty"},
		"code twice":          {credentials + relay + "[[door.codes]]\nname='a'\ncode_file='c'\n[[door.codes]]\nname='a'\ncode_file='c'", `door.codes[1].name "a" is taken by another code`},
		"code's way":          {credentials + relay + "[[door.codes]]\nname='a'\ncode_file='c'\nways=['sms']", `door.codes[0].ways[0] must be dtmf or keypad, not "sms"`},
		"code's days":         {credentials + relay + "[[door.codes]]\nname='a'\ncode_file='c'\ndays=['x']", "door.codes[0].days[0] must be sun or mon"},
		"code's from":         {credentials + relay + "[[door.codes]]\nname='a'\ncode_file='c'\nfrom='x'", `door.codes[0].from must be a day`},
		"code's until":        {credentials + relay + "[[door.codes]]\nname='a'\ncode_file='c'\nuntil='x'", `door.codes[0].until must be a day`},
		"code never":          {credentials + relay + "[[door.codes]]\nname='a'\ncode_file='c'\nfrom='2026-11-23'\nuntil='2026-11-22'", "door.codes[0].until must come after from"},
		"code's begin":        {credentials + relay + "[[door.codes]]\nname='a'\ncode_file='c'\nend='08:00'", `door.codes[0].begin must be a time of day, as "22:30", not ""`},
		"code's end":          {credentials + relay + "[[door.codes]]\nname='a'\ncode_file='c'\nbegin='08:00'\nend='8h'", `door.codes[0].end must be a time of day, as "22:30", not "8h"`},
		"code all day":        {credentials + relay + "[[door.codes]]\nname='a'\ncode_file='c'\nbegin='08:00'\nend='08:00'", "door.codes[0].end must not be the same as begin"},
		"mqtt user":           {credentials + "[mqtt]\nurl='mqtt://a'\npassword_file='b'", "door1.toml:3:2: mqtt.username is missing: mqtt.password_file is set"},
	} {
		t.Run(name, func(t *testing.T) {
			got := problemsOf(t, test.text)
			if len(got) != 1 || !strings.Contains(got[0], test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestAFileThatCannotBeReadSaysWhatToDo(t *testing.T) {
	cleanEnv(t)
	missing := filepath.Join(t.TempDir(), "none.toml")
	for path, want := range map[string]string{
		missing:     "config file " + missing + " does not exist; name another with --config",
		"":          "no config file named; use --config FILE",
		t.TempDir(): "is a directory",
	} {
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%q): %v; want %q", path, err, want)
		}
	}
	if os.Getuid() != 0 { // root reads whatever its mode
		locked := write(t, credentials)
		if err := os.Chmod(locked, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(locked); err == nil || !strings.Contains(err.Error(), "may not be read by this user") {
			t.Errorf("Load of an unreadable file: %v", err)
		}
	}
	big := write(t, strings.Repeat("#\n", maxFile))
	if _, err := Load(big); err == nil || !strings.Contains(err.Error(), "larger than 256 KiB") {
		t.Errorf("Load of a huge file: %v", err)
	}
}

func TestEnvironmentOverridesTheFile(t *testing.T) {
	path := write(t, credentials+"auto_answer = false\n")
	t.Chdir(t.TempDir())
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"SIDETONE_LINE_AUTO_ANSWER":  "true",
		"SIDETONE_LINE_RING_TIMEOUT": "5s",
		"SIDETONE_LINE_TOKEN_FILE":   "other.jwt",
		"SIDETONE_AUDIO_CAPTURE":     "wav:x.wav",
		"SIDETONE_AUDIO_BITRATE":     "24000",
		"SIDETONE_DEVICE_STATE_DIR":  "/s",
		"SIDETONE_CI":                "1", // no section of ours
	} {
		t.Setenv(name, value)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Line.AutoAnswer = true
	want.Line.RingTimeout = Duration(5 * time.Second)
	want.Line.TokenFile = filepath.Join(wd, "other.jwt")
	want.Audio.Capture = "wav:" + filepath.Join(wd, "x.wav")
	want.Audio.Bitrate = 24000
	want.Device.StateDir = "/s"
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestProblemsOfTheEnvironmentNameTheVariable(t *testing.T) {
	path := write(t, credentials)
	for name, value := range map[string]string{
		"SIDETONE_LINE_AUTO_ANSER":   "true",
		"SIDETONE_LINE_AUTO_ANSWER":  "yes",
		"SIDETONE_LINE_RING_TIMEOUT": "soon",
		"SIDETONE_AUDIO_BITRATE":     "1",
		"SIDETONE_AUDIO_COMPLEXITY":  "high",
		"SIDETONE_BUTTONS_0_NAME":    "x",
		"SIDETONE_ICE_SERVERS":       "x",
	} {
		t.Setenv(name, value)
	}
	want := []string{
		`SIDETONE_AUDIO_BITRATE: audio.bitrate must be from 6000 to 510000 bit/s, not 1`,
		`SIDETONE_AUDIO_COMPLEXITY: audio.complexity: "high" is not a whole number`,
		`SIDETONE_BUTTONS_0_NAME: unknown variable; buttons is a list, which only the file can hold`,
		`SIDETONE_ICE_SERVERS: unknown variable; ice.servers is a list, which only the file can hold`,
		`SIDETONE_LINE_AUTO_ANSER: unknown variable; did you mean SIDETONE_LINE_AUTO_ANSWER?`,
		`SIDETONE_LINE_AUTO_ANSWER: line.auto_answer: "yes" is not true or false`,
		`SIDETONE_LINE_RING_TIMEOUT: line.ring_timeout: "soon" is no duration; write it with its units, as "45s" or "1m30s"`,
	}
	if got := refused(t, path); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
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
