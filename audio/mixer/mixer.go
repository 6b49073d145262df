// Package mixer sets a sound card's controls: volumes, switches and routes. It speaks the kernel's own control interface in
// pure Go rather than by alsa-lib: three requests and a table of decibels are less than what cgo would need around
// them, it wants no configuration, and a test can stand in for the kernel.
package mixer

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/agnivade/levenshtein"
)

// Setting is what a control is to be. Value is "-6dB" or "80%" of a volume, "on" or "off", the name of one of a control's
// choices, or the control's bare number. All channels get it.
type Setting struct{ Control, Value string }

// Control is a control of a card, for people to read.
type Control struct {
	Name   string `json:"name"`
	Values string `json:"values"` // of each channel
	Range  string `json:"range"`  // what it can be
}

// control is one of a card's.
type control struct {
	info  elemInfo
	tlv   []uint32 // nil: it has none
	items []string // of an enum
}

func (c *control) name() string {
	if c.info.id.index > 0 {
		return fmt.Sprintf("%s,%d", c.info.id.String(), c.info.id.index)
	}
	return c.info.id.String()
}

// Apply makes the settings and gives what could not be done. What is so already is not written again: some codecs click.
func Apply(d Device, settings []Setting) error {
	if len(settings) == 0 {
		return nil
	}
	ids, err := list(d)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range settings {
		if err := apply(d, ids, s); err != nil {
			errs = append(errs, fmt.Errorf("mixer control %q = %q: %w", s.Control, s.Value, err))
		}
	}
	return errors.Join(errs...)
}

func apply(d Device, ids []elemID, s Setting) error {
	i := slices.IndexFunc(ids, func(id elemID) bool { return (&control{info: elemInfo{id: id}}).name() == s.Control })
	if i < 0 {
		return fmt.Errorf("the card has no such control; %s", near(ids, s.Control))
	}
	c, err := read(d, ids[i])
	if err != nil {
		return err
	}
	if c.info.access&accessWrite == 0 || c.info.access&accessInactive != 0 {
		return errors.New("the card does not let it be set")
	}
	number, err := c.number(s.Value)
	if err != nil {
		return err
	}
	v := elemValue{id: c.info.id}
	if err := d.Ioctl(requestRead, unsafe.Pointer(&v)); err != nil {
		return fmt.Errorf("it cannot be read: %w", err)
	}
	changed := false
	for ch := range min(int(c.info.count), len(v.value)) {
		if c.get(&v, ch) == number {
			continue
		}
		if changed = true; c.info.kind == kindEnum {
			*v.choice(ch) = uint32(number)
		} else {
			v.value[ch] = number
		}
	}
	if !changed {
		return nil
	}
	if err := d.Ioctl(requestWrite, unsafe.Pointer(&v)); err != nil {
		return fmt.Errorf("the card refuses it: %w", err)
	}
	return nil
}

// List reads all controls of a card.
func List(d Device) ([]Control, error) {
	ids, err := list(d)
	if err != nil {
		return nil, err
	}
	var all []Control
	for _, id := range ids {
		c, err := read(d, id)
		if err != nil {
			continue // it went away, or is not for everyone
		}
		v := elemValue{id: id}
		if err := d.Ioctl(requestRead, unsafe.Pointer(&v)); err != nil {
			continue
		}
		out := Control{Name: c.name(), Range: c.limits()}
		var values []string
		for ch := range min(int(c.info.count), len(v.value)) {
			values = append(values, c.text(c.get(&v, ch)))
		}
		out.Values = strings.Join(slices.Compact(values), ", ")
		all = append(all, out)
	}
	return all, nil
}

// list gives the ids of all controls.
func list(d Device) ([]elemID, error) {
	var l elemList
	if err := d.Ioctl(requestList, unsafe.Pointer(&l)); err != nil {
		return nil, fmt.Errorf("mixer: listing the controls: %w", err)
	}
	if l.count == 0 {
		return nil, nil
	}
	ids := make([]elemID, l.count)
	l = elemList{space: l.count, ids: &ids[0]}
	if err := d.Ioctl(requestList, unsafe.Pointer(&l)); err != nil {
		return nil, fmt.Errorf("mixer: listing the controls: %w", err)
	}
	return ids[:min(int(l.used), len(ids))], nil
}

// read gives all that the kernel says of a control.
func read(d Device, id elemID) (*control, error) {
	c := &control{info: elemInfo{id: id}}
	if err := d.Ioctl(requestInfo, unsafe.Pointer(&c.info)); err != nil {
		return nil, fmt.Errorf("the card says nothing of it: %w", err)
	}
	switch c.info.kind {
	case kindInteger:
		if c.info.access&accessTLVRead != 0 {
			t := elemTLV{numID: c.info.id.numID, length: 4 * tlvWords}
			if d.Ioctl(requestTLV, unsafe.Pointer(&t)) == nil {
				c.tlv = t.words[:]
			}
		}
	case kindEnum:
		for n := range *c.info.items() {
			i := elemInfo{id: id}
			*i.item() = n
			if err := d.Ioctl(requestInfo, unsafe.Pointer(&i)); err != nil {
				return nil, fmt.Errorf("the card does not name its choices: %w", err)
			}
			c.items = append(c.items, i.itemName())
		}
	}
	return c, nil
}

func (c *control) get(v *elemValue, channel int) int {
	if c.info.kind == kindEnum {
		return int(*v.choice(channel))
	}
	return v.value[channel]
}

// number is what the control's number must be for a value that a person wrote.
func (c *control) number(value string) (int, error) {
	switch c.info.kind {
	case kindSwitch:
		switch value {
		case "on":
			return 1, nil
		case "off":
			return 0, nil
		}
	case kindEnum:
		if i := slices.Index(c.items, value); i >= 0 {
			return i, nil
		}
	case kindInteger:
		if n, ok := c.level(value); ok {
			return n, nil
		}
	default:
		return 0, fmt.Errorf("controls of type %d cannot be set here", c.info.kind)
	}
	return 0, fmt.Errorf("it can be %s", c.limits())
}

func (c *control) level(value string) (int, bool) {
	least, most := c.info.long(0), c.info.long(1)
	if db, ok := strings.CutSuffix(value, "dB"); ok {
		want, err := strconv.ParseFloat(strings.TrimSpace(db), 64)
		if err != nil || math.IsNaN(want) || math.IsInf(want, 0) {
			return 0, false
		}
		return nearest(c.tlv, least, most, want)
	}
	if percent, ok := strings.CutSuffix(value, "%"); ok {
		p, err := strconv.Atoi(strings.TrimSpace(percent))
		return least + int(math.Round(float64(most-least)*float64(p)/100)), err == nil && p >= 0 && p <= 100
	}
	n, err := strconv.Atoi(value)
	return n, err == nil && n >= least && n <= most
}

// text is how a person reads the control's number.
func (c *control) text(n int) string {
	switch c.info.kind {
	case kindSwitch:
		return map[bool]string{true: "on", false: "off"}[n != 0]
	case kindEnum:
		if n >= 0 && n < len(c.items) {
			return c.items[n]
		}
	case kindInteger:
		if db, ok := decibels(c.tlv, c.info.long(0), c.info.long(1), n); ok {
			return fmt.Sprintf("%d (%.2fdB)", n, db)
		}
	}
	return strconv.Itoa(n)
}

// limits says what the control can be.
func (c *control) limits() string {
	switch c.info.kind {
	case kindSwitch:
		return "on or off"
	case kindEnum:
		return strings.Join(c.items, " or ")
	case kindInteger:
		least, most := c.info.long(0), c.info.long(1)
		text := fmt.Sprintf("a number from %d to %d, a percentage", least, most)
		if low, ok := decibels(c.tlv, least, most, least); ok {
			high, _ := decibels(c.tlv, least, most, most)
			text += fmt.Sprintf(", or a level from %.2fdB to %.2fdB", low, high)
		}
		return text
	}
	return fmt.Sprintf("nothing that can be set here (type %d)", c.info.kind)
}

// nearNames is how many names are told to who named a control that is not there.
const nearNames = 5

// near lists the names that come nearest.
func near(ids []elemID, name string) string {
	if len(ids) == 0 {
		return "it has none at all"
	}
	names := make([]string, len(ids))
	for i := range ids {
		names[i] = (&control{info: elemInfo{id: ids[i]}}).name()
	}
	slices.Sort(names)
	names = slices.Compact(names)
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Compare(levenshtein.ComputeDistance(name, a), levenshtein.ComputeDistance(name, b))
	})
	return "the nearest are " + strings.Join(names[:min(nearNames, len(names))], ", ")
}
