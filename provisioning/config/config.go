// Package config is the device's one config file: strict TOML with defaults and environment overrides. default.toml,
// embedded, is its reference, and a test holds it against this code.
package config

import (
	"fmt"
	"slices"
	"time"
)

// DefaultPath is where a device has its config file.
const DefaultPath = "/etc/sidetone/sidetone.toml"

// Duration is a time.Duration written as in Go: "30s", "1m30s".
type Duration time.Duration

// String gives the form that UnmarshalText reads.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the duration as in Go.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads "30s", "1m30s".
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is no duration; write it with its units, as \"45s\" or \"1m30s\"", b)
	}
	*d = Duration(v)
	return nil
}

// Config is the whole file. Every value has a default; see default.toml for what each means. The path tag marks
// what is relative to the file: "file" a path, "wav" the path in "wav:PATH", "line" that in "file:PATH".
type Config struct {
	Device    Device    `toml:"device"`
	Line      Line      `toml:"line"`
	Assistant Assistant `toml:"assistant"`
	Quiet     Quiet     `toml:"quiet"`
	Buttons   []Button  `toml:"buttons"`
	Audio     Audio     `toml:"audio"`
	Tones     Tones     `toml:"tones"`
	ICE       ICE       `toml:"ice"`
	MQTT      MQTT      `toml:"mqtt"`
	Board     Board     `toml:"board"`
	Door      Door      `toml:"door"`
	Update    Update    `toml:"update"`
	Control   Control   `toml:"control"`
	Report    Report    `toml:"report"`
	Log       Log       `toml:"log"`
}

// Device says who we are.
type Device struct {
	Name     string `toml:"name"`                  // [a-z0-9-]+; MQTT client id and the device's place in topics
	Fleet    string `toml:"fleet"`                 // [a-z0-9-]+
	StateDir string `toml:"state_dir" path:"file"` // where reports wait for their broker
}

// Line is the account on the voice platform. Of TokenFile, TokenCommand, TokenURL and Login the first that is set
// counts, unless there is an Assistant.
type Line struct {
	URL            string   `toml:"url"`                        // wss://… or ws://…
	CAFile         string   `toml:"ca_file" path:"file"`        // PEM; trusted besides the system's roots
	Dialect        string   `toml:"dialect"`                    // telnyx | freeswitch
	Region         string   `toml:"region"`                     // telnyx: goes before URL's host; "" or auto: nothing does
	TokenFile      string   `toml:"token_file" path:"file"`     // a file that holds a JWT
	TokenCommand   []string `toml:"token_command"`              // a program, by its absolute path, and its arguments; prints a JWT
	TokenURL       string   `toml:"token_url"`                  // a token broker
	TokenKeyFile   string   `toml:"token_key_file" path:"file"` // the device's own secret at that broker, sent as bearer
	ClientCertFile string   `toml:"client_cert_file" path:"file"`
	ClientKeyFile  string   `toml:"client_key_file" path:"file"`
	Login          string   `toml:"login"` // SIP user, with PasswordFile
	PasswordFile   string   `toml:"password_file" path:"file"`
	CallerName     string   `toml:"caller_name"`
	CallerNumber   string   `toml:"caller_number"`
	ClientState    string   `toml:"client_state"` // any text; the wire has it in base64
	AutoAnswer     bool     `toml:"auto_answer"`
	AnswerDelay    Duration `toml:"answer_delay"`  // rings so long before AutoAnswer
	AllowFrom      []string `toml:"allow_from"`    // whose calls AutoAnswer answers; empty: everybody's
	SecondCall     string   `toml:"second_call"`   // busy | wait | hold
	Muted          bool     `toml:"muted"`         // calls begin with the microphone off
	DTMF           string   `toml:"dtmf"`          // rfc4733 | info
	RingTimeout    Duration `toml:"ring_timeout"`  // an inbound call that nobody answers ends after this
	SetupTimeout   Duration `toml:"setup_timeout"` // an outbound call that nobody answers ends after this
	Headers        []Header `toml:"headers"`       // sent with each outbound call
}

// Header is one SIP header of our own.
type Header struct {
	Name  string `toml:"name"` // X-…
	Value string `toml:"value"`
}

// Assistant is an AI assistant to which the line logs in without credentials. An empty TargetID means that there is none.
type Assistant struct {
	TargetType      string  `toml:"target_type"`
	TargetID        string  `toml:"target_id"`
	TargetVersionID string  `toml:"target_version_id"` // "": its main one
	ConversationID  string  `toml:"conversation_id"`   // to go on with; "": a new one
	Params          []Param `toml:"params"`            // for the assistant itself
}

// Param is one of an assistant's own.
type Param struct {
	Name  string `toml:"name"`
	Value string `toml:"value"`
}

// Button is one button, what its gestures do, and whom it calls: Target alone, or Targets after one another.
type Button struct {
	Name      string   `toml:"name"`
	Key       string   `toml:"key"`        // of board profile sim: the key in the terminal
	Line      string   `toml:"line"`       // the GPIO line: its name, or CHIP:OFFSET
	ActiveLow bool     `toml:"active_low"` // pressed, the line is low
	Bias      string   `toml:"bias"`       // pull-up | pull-down | disabled; "": as it is
	Debounce  Duration `toml:"debounce"`   // 0: DefaultDebounce
	Press     string   `toml:"press"`      // one of the actions; "" is ActionCall
	Double    string   `toml:"double"`     // one of the actions; "": there is no such gesture; so Long and Hold
	Long      string   `toml:"long"`
	Hold      string   `toml:"hold"`       // ActionReset
	Target    string   `toml:"target"`     // destination
	Targets   []string `toml:"targets"`    // destinations
	Mode      string   `toml:"mode"`       // sequence | first; "" is sequence
	PerTarget Duration `toml:"per_target"` // no answer for so long ends one target's turn; 0: Line.SetupTimeout
	Rounds    int      `toml:"rounds"`     // how often the whole list is called; 0 is once
	NoAnswer  Duration `toml:"no_answer"`  // nobody has answered for so long: it gives up; 0: after the last round
	MaxCall   Duration `toml:"max_call"`   // an answered call ends after this; 0: never
	AfterDoor Duration `toml:"after_door"` // an answered call ends so long after the door was opened; 0: it goes on
}

// What a button's gesture does.
const (
	ActionCall   = "call"   // answers what rings; else ends what is under way; else calls the targets
	ActionAnswer = "answer" // answers what rings
	ActionHangup = "hangup" // ends the last call, or what a button calls
	ActionMute   = "mute"   // switches the microphone of all calls
	ActionDoor   = "door"   // opens Door.ExitRelay, as the exit button does
	ActionReset  = "reset"  // makes the device forget what it has learnt since it was set up
)

// DefaultDebounce is how long a button's contact must rest to count.
const DefaultDebounce = 10 * time.Millisecond

// Modes of a button.
const (
	ModeSequence = "sequence" // one after another
	ModeFirst    = "first"    // all at once; who answers first has the call
)

// Calls tells whether a gesture of the button calls its targets.
func (b Button) Calls() bool {
	return b.Press == "" || slices.Contains([]string{b.Press, b.Double, b.Long}, ActionCall)
}

// Plan is what a press does, with every default filled in.
type Plan struct {
	Targets   []string
	Mode      string        // ModeSequence or ModeFirst
	PerTarget time.Duration // 0: as long as the line's SetupTimeout
	Rounds    int           // 1 or more
	NoAnswer  time.Duration // 0: no end
	MaxCall   time.Duration // 0: no end
	AfterDoor time.Duration // 0: no end
}

// Plan gives what a press of the button does.
func (b Button) Plan() Plan {
	p := Plan{
		Targets: b.Targets, Mode: b.Mode, PerTarget: time.Duration(b.PerTarget), Rounds: max(1, b.Rounds),
		NoAnswer: time.Duration(b.NoAnswer), MaxCall: time.Duration(b.MaxCall), AfterDoor: time.Duration(b.AfterDoor),
	}
	if b.Target != "" {
		p.Targets = []string{b.Target}
	}
	if p.Mode == "" {
		p.Mode = ModeSequence
	}
	return p
}

// Audio says which sound device, and how it sounds.
type Audio struct {
	Capture    string `toml:"capture" path:"wav"`  // auto | null | card:NAME | wav:PATH
	Playback   string `toml:"playback" path:"wav"` // auto | null | card:NAME | wav:PATH
	Processing string `toml:"processing"`          // auto | on | off
	Canceller  string `toml:"echo_canceller"`      // auto | kalman | speexdsp | none
	AutoGain   bool   `toml:"auto_gain"`
	RingVolume int    `toml:"ring_volume"` // percent, as the next two
	// TalkVolume is that of the far side, PromptVolume that of what the device itself has to say.
	TalkVolume   int `toml:"talk_volume"`
	PromptVolume int `toml:"prompt_volume"`

	Bitrate    int  `toml:"bitrate"`    // bit/s
	Complexity int  `toml:"complexity"` // 0..10; -1: the board's
	FEC        bool `toml:"fec"`
	DTX        bool `toml:"dtx"`
	// Codecs offered, best first: opus, pcmu, pcma.
	Codecs        []string `toml:"codecs"`
	BandwidthKbps int      `toml:"bandwidth_kbps"` // said in our SDP (b=AS); 0: nothing is said

	AmplifierLine string   `toml:"amplifier_line"` // switches the loudspeaker's amplifier on; "!" before it: low is on
	AmplifierLead Duration `toml:"amplifier_lead"` // so long before sound
	AmplifierHold Duration `toml:"amplifier_hold"` // off so long after it
	Mixer         []Mixer  `toml:"mixer"`          // the sound card's controls
}

// Mixer is a control of the sound card, and what it is to be.
type Mixer struct {
	Control string `toml:"control"` // its name, as `sidetone sound` has it
	Value   string `toml:"value"`   // -6dB | 80% | on | off | one of its choices | its number
}

// Tones says what the device's own sounds are like. Each of the files is used in the place of the tone of its name.
type Tones struct {
	Country  string `toml:"country"` // one of Countries
	Ring     string `toml:"ring" path:"file"`
	Ringback string `toml:"ringback" path:"file"`
	Busy     string `toml:"busy" path:"file"`
	Error    string `toml:"error" path:"file"`
	Chime    string `toml:"chime" path:"file"`
}

// ICE says which way media may take.
type ICE struct {
	Policy string `toml:"policy"` // auto | all | relay
	// Servers are used instead of those of the token broker and of the platform: none, when empty but not nil.
	Servers []ICEServer `toml:"servers" empty:"kept"`
	CAFile  string      `toml:"ca_file" path:"file"` // PEM for turns:, besides the system's roots
	// Loopback lets media use the loopback interface: for labs on one machine only.
	Loopback bool `toml:"loopback"`
	Prefetch bool `toml:"prefetch"` // gather candidates before there is a call
	Trickle  bool `toml:"trickle"`  // send candidates as they come, after the SDP
}

// ICEServer is as RTCIceServer, but that the password stands in a file of its own.
type ICEServer struct {
	URLs           []string `toml:"urls"`
	Username       string   `toml:"username"`
	CredentialFile string   `toml:"credential_file" path:"file"`
}

// MQTT is the fleet's broker. An empty URL means that there is none.
type MQTT struct {
	URL          string `toml:"url"` // mqtt://host:1883 or mqtts://host:8883
	CAFile       string `toml:"ca_file" path:"file"`
	Username     string `toml:"username"`
	PasswordFile string `toml:"password_file" path:"file"`
	StatsLive    bool   `toml:"stats_live"`
}

// Board names the parts of the hardware that profiles describe, and what is wired otherwise.
type Board struct {
	Profile string `toml:"profile"` // a board
	Sound   string `toml:"sound"`   // what is plugged into it for sound; "": whatever there is
	LED     LED    `toml:"led"`
	// Watchdog is the kernel's watchdog, as "/dev/watchdog"; "": none is fed.
	Watchdog        string   `toml:"watchdog" path:"file"`
	WatchdogTimeout Duration `toml:"watchdog_timeout"` // so long after the last feeding the board resets
}

// LED is the lamp: one light, or an RGB one; or neither.
type LED struct {
	Line      string `toml:"line"`       // the GPIO line, or led:NAME for one of the kernel's LEDs
	ActiveLow bool   `toml:"active_low"` // the GPIO lines of all lights are low when lit
	RGB       RGB    `toml:"rgb"`
}

// RGB is a lamp of three lights; each as LED.Line.
type RGB struct {
	Red   string `toml:"red"`
	Green string `toml:"green"`
	Blue  string `toml:"blue"`
}

// Control is the local control socket.
type Control struct {
	Socket string `toml:"socket" path:"file"`
}

// Report says what is told of calls.
type Report struct {
	Interval      Duration `toml:"interval"`       // between two stats events
	FlushInterval Duration `toml:"flush_interval"` // between two parts of a long call's report; 0: by size alone
	Debug         string   `toml:"debug"`          // off | line | file
}

// Kinds of debug output.
const (
	DebugOff  = "off"
	DebugLine = "line" // debug_report frames to the platform
	DebugFile = "file" // lines of JSON below Device.StateDir
)

// Log says how much is logged, to stderr.
type Log struct {
	Level string `toml:"level"` // debug | info | warn | error
}
