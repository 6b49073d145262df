// Package gpio drives the pins of a board through the kernel's GPIO character devices, version 2 of their interface
// (Linux 5.10 and later). The kernel debounces inputs and stamps their edges; it gives each line to one user at a time,
// until that one closes it or ends.
//
// A line's address is the name that the board gave it ("GPIO17"), or chip and offset: "gpiochip0:17" by the chip's name,
// "pinctrl-rp1:17" by its label, which, other than the name, is the same after each boot. `sidetone gpio` lists them.
package gpio

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"sidetone/board/gpio/internal/uapi"

	"golang.org/x/sys/unix"
)

// Host is all GPIO chips of a system.
type Host struct{ system System }

// NewHost drives the chips of the system, which is Kernel{} but in tests.
func NewHost(system System) *Host { return &Host{system} }

// Chip is what the kernel says of one.
type Chip struct {
	Path  string // "/dev/gpiochip0"
	Name  string // "gpiochip0"; its number may be another after the next boot
	Label string // "pinctrl-bcm2835"
	Lines []Info
}

// Info is what the kernel says of a line.
type Info struct {
	Offset    uint32
	Name      string // "" when nobody gave it one
	Used      bool
	Consumer  string // who has it, when Used; may be ""
	Output    bool
	ActiveLow bool
}

// Chips lists the chips that can be opened, with all their lines. Where there are some, but none opens, that is an error.
func (h *Host) Chips() ([]Chip, error) {
	paths, err := h.system.Chips()
	if err != nil {
		return nil, err
	}
	var chips []Chip
	var failed error
	for _, path := range paths {
		c, err := h.chip(path)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		chips = append(chips, c)
	}
	if len(chips) == 0 {
		return nil, failed
	}
	return chips, nil
}

func (h *Host) chip(path string) (Chip, error) {
	f, err := h.open(path)
	if err != nil {
		return Chip{}, err
	}
	defer f.Close()
	var info uapi.ChipInfo
	if err := f.Ioctl(uapi.GetChipInfo, unsafe.Pointer(&info)); err != nil {
		return Chip{}, fmt.Errorf("%s is no GPIO chip: %w", path, err)
	}
	c := Chip{Path: path, Name: text(info.Name), Label: text(info.Label), Lines: make([]Info, info.Lines)}
	for i := range c.Lines {
		if c.Lines[i], err = lineInfo(f, uint32(i)); err != nil {
			return Chip{}, fmt.Errorf("line %d of %s: %w", i, path, err)
		}
	}
	return c, nil
}

func (h *Host) open(path string) (File, error) {
	f, err := h.system.Open(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: let this user into the group that owns it, mostly gpio (usermod -aG gpio USER)", err)
	case err != nil:
		return nil, err
	}
	return f, nil
}

func lineInfo(chip File, offset uint32) (Info, error) {
	raw := uapi.LineInfo{Offset: offset}
	err := chip.Ioctl(uapi.GetLineInfo, unsafe.Pointer(&raw))
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		err = fmt.Errorf("%w: this kernel does not know version 2 of the GPIO interface; it needs Linux 5.10", err)
	}
	return Info{
		Offset: offset, Name: text(raw.Name), Consumer: text(raw.Consumer), Used: raw.Flags&uapi.Used != 0,
		Output: raw.Flags&uapi.Output != 0, ActiveLow: raw.Flags&uapi.ActiveLow != 0,
	}, err
}

// find gives the path of the chip and the offset of the line that address means.
func (h *Host) find(address string) (path string, offset uint32, err error) {
	chips, err := h.Chips()
	if err != nil {
		return "", 0, fmt.Errorf("line %q: %w", address, err)
	}
	if len(chips) == 0 {
		return "", 0, fmt.Errorf("line %q: there is no GPIO chip: no /dev/gpiochip*; does the kernel have a driver for this board's?", address)
	}
	var found []string
	for _, c := range chips {
		for _, l := range c.Lines {
			if l.Name == address && address != "" {
				path, offset, found = c.Path, l.Offset, append(found, fmt.Sprintf("%s:%d", c.Name, l.Offset))
			}
		}
	}
	switch {
	case len(found) == 1:
		return path, offset, nil
	case len(found) > 1:
		return "", 0, fmt.Errorf("line %q: several have that name: take one of %s", address, strings.Join(found, ", "))
	}
	return findOffset(chips, address)
}

// findOffset understands "chip:offset".
func findOffset(chips []Chip, address string) (path string, offset uint32, err error) {
	colon := strings.LastIndexByte(address, ':')
	number, err := strconv.ParseUint(address[colon+1:], 10, 32)
	if colon < 0 || err != nil {
		return "", 0, fmt.Errorf("line %q: no line has that name; `sidetone gpio` lists those there are, and CHIP:OFFSET names one without a name", address)
	}
	chip := address[:colon]
	i := slices.IndexFunc(chips, func(c Chip) bool {
		return chip == c.Name || chip == c.Label || chip == c.Path || filepath.Join("/dev", chip) == c.Path
	})
	if i < 0 {
		names := make([]string, len(chips))
		for i, c := range chips {
			names[i] = fmt.Sprintf("%s (%s)", c.Name, c.Label)
		}
		return "", 0, fmt.Errorf("line %q: there is no chip %q, only %s", address, chip, strings.Join(names, ", "))
	}
	if n := len(chips[i].Lines); number >= uint64(n) {
		return "", 0, fmt.Errorf("line %q: %s has the lines 0 to %d", address, chips[i].Name, n-1)
	}
	return chips[i].Path, uint32(number), nil
}

// text is what a C string holds.
func text(b [uapi.NameSize]byte) string {
	s, _, _ := strings.Cut(string(b[:]), "\x00")
	return s
}
