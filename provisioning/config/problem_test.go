package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

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
		"secret address":      {"[update]\nurl = 'https://store/updates?sig=secret'\n[line]\ntoken_file='t'", "door1.toml:2:1: update.url must hold nothing behind its path; a server that wants a signature there cannot be used"},
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
