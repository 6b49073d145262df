package device

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// asound is where the kernel lists its sound cards.
var asound fs.FS = os.DirFS("/proc/asound")

// pcm is one device of a sound card.
type pcm struct {
	name              string // ALSA's, by the card's name, so that it holds when the number moves
	capture, playback bool
}

// pcms lists the devices of all sound cards. They come from the kernel, as ALSA's own list needs configuration files
// that an appliance does not have. An error means that there is no sound at all.
func pcms() ([]pcm, error) {
	names, err := cardNames()
	if err != nil {
		return nil, err
	}
	// Lines like "01-00: USB Audio : USB Audio : playback 1 : capture 1".
	b, err := fs.ReadFile(asound, "pcm")
	if err != nil {
		return nil, err
	}
	var list []pcm
	for line := range strings.Lines(string(b)) {
		address, what, ok := strings.Cut(line, ":")
		card, device, ok2 := strings.Cut(address, "-")
		if !ok || !ok2 {
			continue
		}
		cardNumber, err1 := strconv.Atoi(card)
		deviceNumber, err2 := strconv.Atoi(device)
		name, known := names[cardNumber]
		if err1 != nil || err2 != nil || !known {
			continue
		}
		p := pcm{name: pcmName(name, deviceNumber)}
		for part := range strings.SplitSeq(what, ":") {
			switch word, _, _ := strings.Cut(strings.TrimSpace(part), " "); word {
			case "capture":
				p.capture = true
			case "playback":
				p.playback = true
			}
		}
		list = append(list, p)
	}
	return list, nil
}

// cardNames reads the cards' short names by number, from lines like " 1 [Device         ]: USB-Audio - USB Audio Device".
func cardNames() (map[int]string, error) {
	f, err := asound.Open("cards")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names := map[int]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		number, rest, ok := strings.Cut(lines.Text(), "[")
		name, _, ok2 := strings.Cut(rest, "]")
		if n, err := strconv.Atoi(strings.TrimSpace(number)); ok && ok2 && err == nil {
			names[n] = strings.TrimSpace(name)
		}
	}
	return names, lines.Err()
}

// autoCard picks a card: the first device that does both, for it has one clock; else the first for each side.
func autoCard() (*Card, error) {
	list, err := pcms()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing sound cards: %w", err)
	}
	c := new(Card)
	for _, p := range list {
		if p.capture && p.playback {
			return &Card{Capture: p.name, Playback: p.name}, nil
		}
		if p.capture && c.Capture == "" {
			c.Capture = p.name
		}
		if p.playback && c.Playback == "" {
			c.Playback = p.name
		}
	}
	switch {
	case c.Capture == "" && c.Playback == "":
		return nil, errors.New("this machine has no sound card")
	case c.Capture == "":
		return nil, errors.New("no sound card of this machine has a microphone's side")
	case c.Playback == "":
		return nil, errors.New("no sound card of this machine has a loudspeaker's side")
	}
	return c, nil
}

// HasCard reports whether this machine can capture and play by sound cards.
func HasCard() bool {
	_, err := autoCard()
	return err == nil
}

// pcmName is ALSA's name of a card's device, by the card's name, as its number moves when it is plugged in again.
// "plughw" turns the card's format and channels into ours where they differ.
func pcmName(card string, device int) string {
	return fmt.Sprintf("plughw:CARD=%s,DEV=%d", card, device)
}

// presentCards says in words what cards there are, for who named one that is not.
func presentCards() string {
	names, err := cardNames()
	if err != nil || len(names) == 0 {
		return "this machine has no sound card"
	}
	return "this machine has " + strings.Join(slices.Sorted(maps.Values(names)), ", ")
}

// oneCard tells whether two of ALSA's names are of one card, whose sides share a clock. Names that do not say which card
// they are of are taken for one card's only when they are the same.
func oneCard(a, b string) bool {
	return a == b || cardOf(a) != "" && cardOf(a) == cardOf(b)
}

// cardOf is the card in a name as "plughw:CARD=Device,DEV=0" or "hw:Device,1"; empty when none is.
func cardOf(name string) string {
	_, args, ok := strings.Cut(name, ":")
	if !ok {
		return ""
	}
	first, _, _ := strings.Cut(args, ",")
	return strings.TrimPrefix(first, "CARD=")
}
