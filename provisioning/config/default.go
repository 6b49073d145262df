package config

import (
	_ "embed"
	"time"
)

// Default is the config of an empty file.
func Default() *Config {
	return &Config{
		Device: Device{Name: "sidetone", Fleet: "default", StateDir: "/var/lib/sidetone"},
		Line: Line{
			URL:          "wss://rtc.telnyx.com",
			Dialect:      "telnyx",
			SecondCall:   "busy",
			DTMF:         "rfc4733",
			RingTimeout:  Duration(45 * time.Second),
			SetupTimeout: Duration(60 * time.Second),
		},
		Assistant: Assistant{TargetType: "ai_assistant"},
		Quiet:     Quiet{Action: QuietSilent, RingVolume: 20, Lamp: true},
		Audio: Audio{
			Capture:    "auto",
			Playback:   "auto",
			Processing: "auto",
			Canceller:  "auto",
			AutoGain:   true,
			RingVolume: 100, TalkVolume: 100, PromptVolume: 100,
			Bitrate:    32000,
			Complexity: -1,
			FEC:        true,
			Codecs:     []string{"opus", "pcmu", "pcma"},

			AmplifierLead: Duration(20 * time.Millisecond),
			AmplifierHold: Duration(5 * time.Second),
		},
		Tones: Tones{Country: "us"},
		ICE:   ICE{Policy: "auto"},
		Board: Board{Profile: "sim", WatchdogTimeout: Duration(15 * time.Second)},
		Door: Door{
			Tries: 3, Lockout: Duration(time.Minute), TamperBlock: Duration(10 * time.Minute), OpenTooLong: Duration(time.Minute),
			FleetOpens: true,
		},
		Update: Update{
			RootFile: "/usr/share/sidetone/root.json", Boot: BootAuto, BootDir: "/boot", Window: "02:00-05:00",
			Interval: Duration(6 * time.Hour), Spread: Duration(30 * time.Minute), Probation: Duration(time.Minute), HawkBit: HawkBit{Tenant: "DEFAULT"},
		},
		Control: Control{Socket: "/run/sidetone/control.sock"},
		Report:  Report{Interval: Duration(5 * time.Second), FlushInterval: Duration(3 * time.Minute), Debug: DebugOff},
		Log:     Log{Level: "info"},
	}
}

// Reference is default.toml: every key with its default, and a comment that says what it means.
//
//go:embed default.toml
var Reference string
