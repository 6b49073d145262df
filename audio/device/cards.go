package device

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// asound is where the kernel lists its sound cards.
var asound fs.FS = os.DirFS("/proc/asound")

// SoundCard is a sound card as the kernel lists it.
type SoundCard struct {
	Number   int    `json:"number"` // the kernel's, which moves when a card is plugged in again
	ID       string `json:"id"`     // ALSA's name of it, "Device"
	Driver   string `json:"driver"` // "USB-Audio"
	Name     string `json:"name"`   // in words, "USB Audio Device"
	LongName string `json:"long_name"`
	USB      string `json:"usb,omitempty"` // vendor and product as lsusb has them, "0d8c:0014"
	PCMs     []PCM  `json:"pcms"`
}

// PCM is a device of a sound card.
type PCM struct {
	Device   int    `json:"device"`
	Name     string `json:"name"`
	Capture  bool   `json:"capture"`
	Playback bool   `json:"playback"`
}

// SoundCards lists the machine's sound cards. They come from the kernel, as ALSA's own list needs configuration files
// that an appliance does not have. A kernel without sound has none.
func SoundCards() ([]SoundCard, error) {
	text, err := fs.ReadFile(asound, "cards")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing sound cards: %w", err)
	}
	pcm, err := fs.ReadFile(asound, "pcm")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing sound cards: %w", err)
	}
	cards := parseCards(string(text), string(pcm))
	for i := range cards {
		if id, err := fs.ReadFile(asound, fmt.Sprintf("card%d/usbid", cards[i].Number)); err == nil {
			cards[i].USB = strings.TrimSpace(string(id))
		}
	}
	return cards, nil
}

// cardLine is " 1 [Device         ]: USB-Audio - USB Audio Device"; the line after it is the card's long name.
var cardLine = regexp.MustCompile(`^\s*(\d+) \[([^\]]*)\]: (.*?) - (.*)$`)

// parseCards reads /proc/asound/cards and /proc/asound/pcm. What it does not understand it leaves out.
func parseCards(cards, pcm string) []SoundCard {
	var list []SoundCard
	lines := strings.Split(cards, "\n")
	for i, line := range lines {
		m := cardLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		number, err := strconv.Atoi(m[1])
		id := strings.TrimSpace(m[2])
		if err != nil || id == "" {
			continue
		}
		c := SoundCard{Number: number, ID: id, Driver: strings.TrimSpace(m[3]), Name: strings.TrimSpace(m[4])}
		if i+1 < len(lines) && cardLine.FindString(lines[i+1]) == "" {
			c.LongName = strings.TrimSpace(lines[i+1])
		}
		list = append(list, c)
	}
	// Lines like "01-00: USB Audio : USB Audio : playback 1 : capture 1".
	for line := range strings.Lines(pcm) {
		address, what, _ := strings.Cut(line, ":")
		card, device, _ := strings.Cut(address, "-")
		number, err1 := strconv.Atoi(card)
		deviceNumber, err2 := strconv.Atoi(device)
		at := slices.IndexFunc(list, func(c SoundCard) bool { return c.Number == number })
		if err1 != nil || err2 != nil || deviceNumber < 0 || at < 0 {
			continue
		}
		p := PCM{Device: deviceNumber}
		for i, part := range strings.Split(what, ":") {
			part = strings.TrimSpace(part)
			if i == 0 {
				p.Name = part
			}
			switch word, _, _ := strings.Cut(part, " "); {
			case i == 0:
			case word == "capture":
				p.Capture = true
			case word == "playback":
				p.Playback = true
			}
		}
		list[at].PCMs = append(list[at].PCMs, p)
	}
	return list
}

// find gives the card that a person means by a name: its id, also with the number that the kernel gave it when it was plugged in
// again before it was gone ("Device_1"); its name in words; "usb:VENDOR:PRODUCT"; or "usb" for the first USB card that
// captures and plays. Nil is none.
func find(cards []SoundCard, name string) *SoundCard {
	usb, isUSB := strings.CutPrefix(name, "usb:")
	for _, fits := range []func(SoundCard) bool{
		func(c SoundCard) bool { return c.ID == name },
		func(c SoundCard) bool {
			n, ok := strings.CutPrefix(c.ID, name+"_")
			_, err := strconv.Atoi(n)
			return ok && err == nil
		},
		func(c SoundCard) bool { return strings.EqualFold(c.Name, name) },
		func(c SoundCard) bool { return isUSB && strings.EqualFold(c.USB, usb) },
		func(c SoundCard) bool {
			return name == "usb" && c.USB != "" && c.device(capturing) >= 0 && c.device(playing) >= 0
		},
	} {
		if i := slices.IndexFunc(cards, fits); i >= 0 {
			return &cards[i]
		}
	}
	return nil
}

// side of a card.
type side func(PCM) bool

func capturing(p PCM) bool { return p.Capture }
func playing(p PCM) bool   { return p.Playback }

// device is the number of the card's first device that has the side; -1: none has.
func (c SoundCard) device(has side) int {
	if i := slices.IndexFunc(c.PCMs, has); i >= 0 {
		return c.PCMs[i].Device
	}
	return -1
}

// namedPCM makes ALSA's name of what a person named: a card as find knows it, with a device's number if it is not the first
// ("Device,1"), or one of ALSA's own names ("hw:Device,1", "default"). A card that is not there keeps its name, for it may yet come.
func namedPCM(cards []SoundCard, name string, has side) string {
	if name == "default" || strings.Contains(name, ":") && !strings.HasPrefix(name, "usb:") {
		return name
	}
	number := -1
	if card, device, ok := strings.Cut(name, ","); ok {
		if n, err := strconv.Atoi(device); err == nil {
			name, number = card, n
		}
	}
	if c := find(cards, name); c != nil {
		name = c.ID
		if number < 0 {
			number = c.device(has)
		}
	}
	return pcmName(name, max(0, number))
}

// autoCard picks a card: the first device that does both, for it has one clock; else the first for each side.
func autoCard(cards []SoundCard) (*Card, error) {
	var capture, playback string
	for _, c := range cards {
		for _, p := range c.PCMs {
			name := pcmName(c.ID, p.Device)
			if p.Capture && p.Playback {
				return &Card{Capture: name, Playback: name}, nil
			}
			if p.Capture {
				capture = cmp.Or(capture, name)
			}
			if p.Playback {
				playback = cmp.Or(playback, name)
			}
		}
	}
	switch {
	case capture == "" && playback == "":
		return nil, fmt.Errorf("this machine has no sound card (%w)", fs.ErrNotExist)
	case capture == "":
		return nil, errors.New("no sound card of this machine has a microphone's side")
	case playback == "":
		return nil, errors.New("no sound card of this machine has a loudspeaker's side")
	}
	return &Card{Capture: capture, Playback: playback}, nil
}

// HasCard reports whether this machine can capture and play by sound cards.
func HasCard() bool {
	cards, err := SoundCards()
	if err == nil {
		_, err = autoCard(cards)
	}
	return err == nil
}

// pcmName is ALSA's name of a card's device, by the card's id, as its number moves when it is plugged in again.
// "plughw" turns the card's format and channels into ours where they differ.
func pcmName(id string, device int) string {
	return fmt.Sprintf("plughw:CARD=%s,DEV=%d", id, device)
}

// presentCards says in words what cards there are, for who named one that is not.
func presentCards() string {
	cards, err := SoundCards()
	if err != nil || len(cards) == 0 {
		return "this machine has no sound card"
	}
	var ids []string
	for _, c := range cards {
		ids = append(ids, c.ID)
	}
	slices.Sort(ids)
	return "this machine has " + strings.Join(ids, ", ")
}

// Numbers gives the kernel's numbers of the cards that are there: capture's and, if it is another, playback's. They hold until
// a card is unplugged.
func (c *Card) Numbers() []int {
	cards, err := SoundCards()
	if err != nil {
		return nil
	}
	var numbers []int
	for _, name := range []string{c.Capture, c.Playback} {
		at := slices.IndexFunc(cards, func(s SoundCard) bool {
			id := cardOf(name)
			return s.ID == id || strconv.Itoa(s.Number) == id
		})
		if at >= 0 && !slices.Contains(numbers, cards[at].Number) {
			numbers = append(numbers, cards[at].Number)
		}
	}
	return numbers
}

// Gone tells whether a card that c names is not there any more. What does not say which card it is counts as there.
func (c *Card) Gone() bool {
	cards, err := SoundCards()
	if err != nil {
		return false
	}
	for _, name := range []string{c.Capture, c.Playback} {
		id := cardOf(name)
		if id != "" && !slices.ContainsFunc(cards, func(s SoundCard) bool { return s.ID == id || strconv.Itoa(s.Number) == id }) {
			return true
		}
	}
	return false
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
