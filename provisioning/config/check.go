package config

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of the numbers.
const (
	MinBitrate    = 6000   // bit/s, RFC 6716, section 2.1.1
	MaxBitrate    = 510000 // bit/s, the same
	MaxComplexity = 10     // libopus

	maxRounds    = 100
	maxBandwidth = 10000 // kbit/s
	maxState     = 3072  // bytes of line.client_state: 4096 in base64
	maxHeaders   = 32
	maxHeader    = 1024 // bytes of name and value: SIP proxies cut longer ones
	maxDelay     = time.Minute
	maxCall      = 24 * time.Hour
	maxDebounce  = 200 * time.Millisecond // a finger is not much slower
)

var (
	name   = regexp.MustCompile(`^[a-z0-9-]+$`)
	header = regexp.MustCompile(`^[Xx]-[A-Za-z0-9._-]+$`)
)

// What press, double and long may do. A reset wants a hold that is counted down.
var actions = []string{ActionCall, ActionAnswer, ActionHangup, ActionMute, ActionDoor}

// Codecs that audio.codecs may name.
var codecs = []string{"opus", "pcmu", "pcma"}

// Countries whose telephone tones there are.
var Countries = []string{"au", "de", "es", "fr", "gb", "it", "us"}

// Regions that the platform has (Telnyx; "auto" means none).
var regions = []string{"auto", "eu", "us-central", "us-east", "us-west", "ca-central", "apac", "south-asia"}

// Check holds every value against what is allowed. Its error is a Problems, without places.
func (c *Config) Check() error { return c.problems().err() }

func (c *Config) problems() Problems {
	var k checker
	k.name("device.name", c.Device.Name)
	k.name("device.fleet", c.Device.Fleet)
	k.required("device.state_dir", c.Device.StateDir)
	k.line(c.Line)
	k.assistant(c.Assistant, c.Line)
	k.quiet(c.Quiet)
	k.buttons(c.Buttons, len(c.Door.Relays))
	k.audio(c.Audio)
	k.oneOf("tones.country", c.Tones.Country, Countries...)
	k.oneOf("ice.policy", c.ICE.Policy, "auto", "all", "relay")
	for i, s := range c.ICE.Servers {
		k.iceServer(index("ice.servers", i), s)
	}
	k.mqtt(c.MQTT)
	k.name("board.profile", c.Board.Profile)
	if c.Board.Sound != "" {
		k.name("board.sound", c.Board.Sound)
	}
	if d := c.Board.WatchdogTimeout; time.Duration(d)%time.Second != 0 {
		k.add("board.watchdog_timeout", "must be whole seconds, not %s", d)
	}
	k.span("board.watchdog_timeout", c.Board.WatchdogTimeout, 2*time.Second, 5*time.Minute)
	k.led(c.Board.LED)
	k.door(c.Door)
	k.update(c.Update)
	k.required("control.socket", c.Control.Socket)
	k.span("report.interval", c.Report.Interval, time.Second, time.Minute)
	if c.Report.FlushInterval != 0 {
		k.timeout("report.flush_interval", c.Report.FlushInterval)
	}
	k.oneOf("report.debug", c.Report.Debug, DebugOff, DebugLine, DebugFile)
	k.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	return k.problems
}

// checker gathers problems.
type checker struct{ problems Problems }

// add notes a problem; the message follows the path.
func (k *checker) add(path, format string, args ...any) {
	k.problems = append(k.problems, Problem{Path: path, Message: path + " " + fmt.Sprintf(format, args...)})
}

func (k *checker) line(l Line) {
	k.url("line.url", l.URL, "wss", "ws")
	k.oneOf("line.dialect", l.Dialect, "telnyx", "freeswitch")
	if l.Region != "" {
		k.oneOf("line.region", l.Region, regions...)
		if l.Dialect != "telnyx" {
			k.add("line.region", "is for the dialect telnyx only; leave it out")
		}
	}
	if len(l.ClientState) > maxState {
		k.add("line.client_state", "is %d bytes long; %d are allowed", len(l.ClientState), maxState)
	}
	k.span("line.answer_delay", l.AnswerDelay, 0, maxDelay)
	for i, from := range l.AllowFrom {
		k.required(index("line.allow_from", i), from)
	}
	k.oneOf("line.second_call", l.SecondCall, "busy", "wait", "hold")
	k.oneOf("line.dtmf", l.DTMF, "rfc4733", "info")
	k.timeout("line.ring_timeout", l.RingTimeout)
	k.timeout("line.setup_timeout", l.SetupTimeout)
	if n := len(l.Headers); n > maxHeaders {
		k.add("line.headers", "are %d; %d are allowed", n, maxHeaders)
	}
	for i, h := range l.Headers {
		at := index("line.headers", i)
		if !header.MatchString(h.Name) {
			k.add(at+".name", "must be X- and then letters, digits, hyphens, dots and underscores, not %q", h.Name)
		}
		if strings.ContainsFunc(h.Value, func(r rune) bool { return !unicode.IsPrint(r) }) {
			k.add(at+".value", "must be one line of printable characters, not %q", h.Value)
		}
		if n := len(h.Name) + len(h.Value); n > maxHeader {
			k.add(at+".value", "is too long: with its name it has %d bytes; %d are allowed", n, maxHeader)
		}
	}
}

func (k *checker) assistant(a Assistant, l Line) {
	if a.TargetID == "" {
		k.credentials(l)
		return
	}
	k.required("assistant.target_type", a.TargetType)
	if l.Dialect != "telnyx" {
		k.add("assistant.target_id", "is for the dialect telnyx only; leave it out")
	}
	seen := map[string]bool{"conversation_id": true}
	for i, p := range a.Params {
		at := index("assistant.params", i) + ".name"
		k.required(at, p.Name)
		if seen[p.Name] {
			k.add(at, "%q is set elsewhere too", p.Name)
		}
		seen[p.Name] = true
	}
}

func (k *checker) credentials(l Line) {
	switch {
	case l.TokenFile != "":
	case len(l.TokenCommand) > 0:
		if !filepath.IsAbs(l.TokenCommand[0]) {
			k.add("line.token_command", `must begin with the absolute path of a program, as ["/usr/bin/door-token", "--json"], not %q`, l.TokenCommand[0])
		}
		if i := slices.IndexFunc(l.TokenCommand, func(arg string) bool { return strings.ContainsRune(arg, 0) }); i >= 0 {
			k.add(index("line.token_command", i), "must not hold a zero byte")
		}
	case l.TokenURL != "":
		k.url("line.token_url", l.TokenURL, "https", "http")
		if l.TokenKeyFile == "" && l.ClientCertFile == "" {
			k.add("line.token_key_file", "is missing: line.token_url needs the file with this device's secret at that broker, or line.client_cert_file with line.client_key_file")
		}
		if l.ClientCertFile != "" && l.ClientKeyFile == "" {
			k.add("line.client_key_file", "is missing: line.client_cert_file needs the file with its key")
		}
		if l.ClientKeyFile != "" && l.ClientCertFile == "" {
			k.add("line.client_cert_file", "is missing: line.client_key_file is set")
		}
		if l.ClientCertFile != "" && strings.HasPrefix(l.TokenURL, "http:") {
			k.add("line.token_url", "must be https://HOST: line.client_cert_file can only be shown by TLS")
		}
	case l.Login != "":
		if l.PasswordFile == "" {
			k.add("line.password_file", "is missing: line.login needs the file with its password")
		}
	default:
		k.add("line.token_file", "is missing: set line.token_file, or line.token_command, or line.token_url with line.token_key_file, or line.login with line.password_file")
	}
}

func (k *checker) quiet(q Quiet) {
	for _, at := range []struct{ path, value string }{{"quiet.from", q.From}, {"quiet.to", q.To}} {
		if _, err := time.Parse(clock, at.value); err != nil && at.value != "" {
			k.add(at.path, `must be a time of day, as "22:30", not %q`, at.value)
		}
	}
	if q.From == "" && q.To != "" {
		k.add("quiet.from", "is missing: quiet.to is set")
	}
	if q.To == "" && q.From != "" {
		k.add("quiet.to", "is missing: quiet.from is set")
	}
	k.each("quiet.days", q.Days, weekdays)
	k.oneOf("quiet.action", q.Action, QuietSilent, QuietSoft, QuietReject)
	k.between("quiet.ring_volume", q.RingVolume, 0, 100, " %")
}

func (k *checker) buttons(buttons []Button, relays int) {
	names, keys, lines := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i, b := range buttons {
		at := index("buttons", i)
		k.name(at+".name", b.Name)
		if names[b.Name] {
			k.add(at+".name", "%q is taken by another button", b.Name)
		}
		names[b.Name] = true
		if b.Key != "" {
			r, size := utf8.DecodeRuneInString(b.Key)
			if size != len(b.Key) || !unicode.IsPrint(r) {
				k.add(at+".key", "must be one printable character, not %q", b.Key)
			}
			if keys[b.Key] {
				k.add(at+".key", "%q is taken by another button", b.Key)
			}
			keys[b.Key] = true
		}
		if b.Line != "" && lines[b.Line] {
			k.add(at+".line", "%q is taken by another button", b.Line)
		}
		lines[b.Line] = true
		if b.Bias != "" {
			k.oneOf(at+".bias", b.Bias, "pull-up", "pull-down", "disabled")
		}
		if b.Debounce != 0 {
			k.span(at+".debounce", b.Debounce, time.Millisecond, maxDebounce)
		}
		for _, g := range []struct{ gesture, action string }{{"press", b.Press}, {"double", b.Double}, {"long", b.Long}} {
			if g.action != "" {
				k.oneOf(at+"."+g.gesture, g.action, actions...)
			}
			if g.action == ActionDoor && relays == 0 {
				k.add(at+"."+g.gesture, "needs a relay: add one under [[door.relays]]")
			}
		}
		if b.Hold != "" {
			k.oneOf(at+".hold", b.Hold, ActionReset)
		}
		if b.Calls() || b.Target != "" || len(b.Targets) > 0 {
			k.targets(at, b)
		}
	}
}

func (k *checker) led(l LED) {
	rgb := []struct{ key, line string }{{"red", l.RGB.Red}, {"green", l.RGB.Green}, {"blue", l.RGB.Blue}}
	if l.RGB == (RGB{}) {
		return
	}
	if l.Line != "" {
		k.add("board.led.line", "must be empty when board.led.rgb is set: a lamp has one light or three")
	}
	for _, c := range rgb {
		k.required("board.led.rgb."+c.key, c.line)
	}
}

func (k *checker) targets(at string, b Button) {
	switch {
	case b.Target != "" && len(b.Targets) > 0:
		k.add(at+".targets", "must be empty when target is set; move that into the list")
	case b.Target == "" && len(b.Targets) == 0:
		k.add(at+".target", "must not be empty; set it, or targets for several")
	}
	for i, target := range b.Targets {
		k.required(index(at+".targets", i), target)
	}
	if b.Mode != "" {
		k.oneOf(at+".mode", b.Mode, ModeSequence, ModeFirst)
	}
	if b.PerTarget != 0 {
		k.timeout(at+".per_target", b.PerTarget)
	}
	k.between(at+".rounds", b.Rounds, 0, maxRounds, "")
	for _, limit := range []struct {
		key string
		d   Duration
	}{{"no_answer", b.NoAnswer}, {"max_call", b.MaxCall}, {"after_door", b.AfterDoor}} {
		if limit.d != 0 {
			k.span(at+"."+limit.key, limit.d, time.Second, maxCall)
		}
	}
}

func (k *checker) audio(a Audio) {
	k.sound("audio.capture", a.Capture)
	k.sound("audio.playback", a.Playback)
	k.oneOf("audio.processing", a.Processing, "auto", "on", "off")
	k.oneOf("audio.echo_canceller", a.Canceller, "auto", "kalman", "speexdsp", "none")
	k.between("audio.ring_volume", a.RingVolume, 0, 100, " %")
	k.between("audio.talk_volume", a.TalkVolume, 0, 100, " %")
	k.between("audio.prompt_volume", a.PromptVolume, 0, 100, " %")
	k.between("audio.bitrate", a.Bitrate, MinBitrate, MaxBitrate, " bit/s")
	k.between("audio.complexity", a.Complexity, -1, MaxComplexity, "")
	if len(a.Codecs) == 0 {
		k.add("audio.codecs", `must not be empty; the default is ["opus", "pcmu", "pcma"]`)
	}
	k.each("audio.codecs", a.Codecs, codecs)
	k.between("audio.bandwidth_kbps", a.BandwidthKbps, 0, maxBandwidth, " kbit/s")
	k.span("audio.amplifier_lead", a.AmplifierLead, 0, 500*time.Millisecond)
	k.span("audio.amplifier_hold", a.AmplifierHold, 100*time.Millisecond, 10*time.Minute)
	for i, m := range a.Mixer {
		k.required(index("audio.mixer", i)+".control", m.Control)
		k.required(index("audio.mixer", i)+".value", m.Value)
	}
}

func (k *checker) iceServer(at string, s ICEServer) {
	if len(s.URLs) == 0 {
		k.add(at+".urls", `is missing: give a list, as ["turn:turn.example.net:3478"]`)
	}
	for _, u := range s.URLs {
		scheme, rest, _ := strings.Cut(u, ":")
		switch {
		case !slices.Contains([]string{"stun", "stuns", "turn", "turns"}, scheme) || strings.HasPrefix(rest, "/") || rest == "":
			k.add(at+".urls", "has %q; write stun:HOST, turn:HOST:PORT?transport=udp|tcp or turns:HOST:PORT", u)
		case strings.HasPrefix(scheme, "turn") && (s.Username == "" || s.CredentialFile == ""):
			// One TURN server without both makes pion gather no relay candidate from any.
			k.add(at+".urls", "has %q, which needs username and credential_file", u)
		}
	}
}

func (k *checker) mqtt(m MQTT) {
	if m.URL == "" {
		return
	}
	k.url("mqtt.url", m.URL, "mqtts", "mqtt")
	if m.PasswordFile != "" && m.Username == "" {
		k.add("mqtt.username", "is missing: mqtt.password_file is set")
	}
}

func (k *checker) name(path, value string) {
	if !name.MatchString(value) {
		k.add(path, "must be lower-case letters, digits and hyphens, not %q", value)
	}
}

func (k *checker) required(path, value string) {
	if value == "" {
		k.add(path, "must not be empty")
	}
}

func (k *checker) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		k.add(path, "must be %s, not %q", strings.Join(allowed, " or "), value)
	}
}

// each wants every value of a list to be an allowed one, and none twice.
func (k *checker) each(path string, values, allowed []string) {
	for i, v := range values {
		k.oneOf(index(path, i), v, allowed...)
		if slices.Contains(values[:i], v) {
			k.add(index(path, i), "is %q for the second time", v)
		}
	}
}

func (k *checker) between(path string, value, least, most int, unit string) {
	if value < least || value > most {
		k.add(path, "must be from %d to %d%s, not %d", least, most, unit, value)
	}
}

func (k *checker) timeout(path string, d Duration) { k.span(path, d, time.Second, time.Hour) }

func (k *checker) span(path string, d Duration, least, most time.Duration) {
	if v := time.Duration(d); v < least || v > most {
		k.add(path, "must be from %s to %s, not %s", short(least), short(most), d)
	}
}

// short is "1h" where Duration.String has "1h0m0s".
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (k *checker) url(path, value string, schemes ...string) {
	u, err := url.Parse(value)
	switch {
	case err != nil || !slices.Contains(schemes, u.Scheme) || u.Hostname() == "":
		k.add(path, "must be %s://HOST, not %q", strings.Join(schemes, "://HOST or "), value)
	case u.User != nil:
		// Not shown: it may hold a password.
		k.add(path, "must hold no user or password; secrets stand in files of their own")
	}
}

func (k *checker) sound(path, value string) {
	kind, rest, _ := strings.Cut(value, ":")
	if value == "auto" || value == "null" || (kind == "card" || kind == "wav") && rest != "" {
		return
	}
	k.add(path, "must be auto, null, card:NAME or wav:PATH, not %q", value)
}
