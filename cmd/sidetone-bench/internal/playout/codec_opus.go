//go:build cgo

package playout

import (
	"sidetone/audio/opus"
	"sidetone/audio/voice"
)

func init() {
	codecs["opus"] = codec{
		encoder: func(c Config) (encoder, error) {
			// FEC is turned on and off by the loss that is told: libopus makes none for 0 %.
			return opus.NewEncoder(opus.Config{Bitrate: c.Bitrate, Complexity: c.Complexity, FEC: c.FEC != "off", DTX: c.DTX})
		},
		decoder:   func() (voice.Decoder, error) { return opus.NewDecoder() },
		lookAhead: 312, // 6.5 ms (RFC 6716, section 2)
	}
}
