// Package device holds the sound devices: cards by ALSA, WAV files that stand in for them, and none at all. Each is an
// audio.Duplex that runs at its own clock.
package device

import (
	"fmt"
	"os"
	"strings"

	"sidetone/audio"
)

// Kind of a device.
type Kind string

// The kinds, named as in the config.
const (
	KindNull Kind = "null" // silence in, nothing out
	KindWAV  Kind = "wav"  // a file in, a file out
	KindCard Kind = "card" // sound that is heard, and heard again by the microphone
)

// KindOf tells what a config value for capture or playback stands for on this machine: "auto" is a card where there is
// one, else null. What needs a room, as echo cancelling does, has no use but with KindCard.
func KindOf(setting string) (Kind, error) {
	kind, arg, _ := strings.Cut(setting, ":")
	switch {
	case setting == "auto" && HasCard():
		return KindCard, nil
	case setting == "auto", setting == "null":
		return KindNull, nil
	case kind == "wav" && arg != "":
		return KindWAV, nil
	case kind == "card" && arg != "":
		return KindCard, nil
	}
	return "", fmt.Errorf("no sound device %q: say auto, null, wav:PATH or card:NAME", setting)
}

// kinds tells what both config values stand for. "auto" beside a file or null is null: what one side says of the clock,
// the other goes by.
func kinds(capture, playback string) (in, out Kind, err error) {
	if in, err = KindOf(capture); err != nil {
		return "", "", fmt.Errorf("capture: %w", err)
	}
	if out, err = KindOf(playback); err != nil {
		return "", "", fmt.Errorf("playback: %w", err)
	}
	if in == KindCard && out != KindCard && capture == "auto" {
		in = KindNull
	}
	if out == KindCard && in != KindCard && playback == "auto" {
		out = KindNull
	}
	if (in == KindCard) != (out == KindCard) {
		return "", "", fmt.Errorf("capture %q and playback %q do not go together: a sound card runs at its own clock, a file or null at the system's; use cards for both sides, or for neither", capture, playback)
	}
	return in, out, nil
}

// Open makes the device that the config values name: "auto", "null", "wav:PATH" or "card:NAME", where NAME is a card
// as find and namedPCM know it. Null and wav mix; a card must serve both sides, or two cards one each. A WAV file to be captured is
// looked at at once, everything else is opened by Run.
func Open(capture, playback string) (audio.Duplex, error) {
	in, out, err := kinds(capture, playback)
	if err != nil {
		return nil, err
	}
	if in == KindCard {
		return OpenCard(capture, playback)
	}
	if in == KindNull && out == KindNull {
		return Null{}, nil
	}
	w := &WAV{}
	if in == KindWAV {
		w.In = strings.TrimPrefix(capture, "wav:")
	}
	if out == KindWAV {
		w.Out = strings.TrimPrefix(playback, "wav:")
	}
	if w.In != "" {
		file, _, _, err := openSound(w.In)
		if err != nil {
			return nil, err
		}
		file.Close()
	}
	return w, nil
}

// Check tells whether what Open would give can be used, as far as that can be told without touching a sound card.
func Check(capture, playback string) error {
	if _, err := Open(capture, playback); err != nil {
		return err
	}
	path, ok := strings.CutPrefix(playback, "wav:")
	if !ok {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return fmt.Errorf("playback: %w", err)
	}
	return f.Close()
}

// OpenCard makes a Card of config values that are "auto" or "card:NAME", of the cards that there are now. Unlike Open it never
// takes silence for a card that is away.
func OpenCard(capture, playback string) (*Card, error) {
	cards, err := SoundCards()
	if err != nil {
		return nil, err
	}
	c := &Card{}
	if capture == "auto" || playback == "auto" {
		if c, err = autoCard(cards); err != nil {
			return nil, err
		}
	}
	if name, ok := strings.CutPrefix(capture, "card:"); ok {
		c.Capture = namedPCM(cards, name, capturing)
	}
	if name, ok := strings.CutPrefix(playback, "card:"); ok {
		c.Playback = namedPCM(cards, name, playing)
	}
	if c.Capture == "" || c.Playback == "" {
		return nil, fmt.Errorf("capture %q and playback %q do not name sound cards; say auto or card:NAME", capture, playback)
	}
	return c, nil
}

// IsCard reports whether Open would give a real sound card for these config values: then there is a room, and an echo
// in it. It is false where Open would fail.
func IsCard(capture, playback string) bool {
	in, _, err := kinds(capture, playback)
	return err == nil && in == KindCard
}
