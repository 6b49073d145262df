package slot

import (
	"bytes"
	"errors"
	"fmt"
)

// autobootSize is the most that the Raspberry Pi's firmware reads of autoboot.txt: one sector.
const autobootSize = 512

// autoboot is the file with which a Raspberry Pi's firmware finds the partition to boot. Its text is kept as it is: only
// the two digits ever change, so that the file never grows, shrinks or moves.
type autoboot struct {
	text       []byte
	all, trial partition // of [all] and of [tryboot]
}

// partition is a number from 1 to 9, and where its digit stands.
type partition struct{ number, at int }

// parseAutoboot reads an autoboot.txt. It has to name one partition in [all], another in [tryboot], and tryboot_a_b=1:
// with anything else the firmware would not go back by itself.
func parseAutoboot(text []byte) (autoboot, error) {
	a := autoboot{text: text}
	if len(text) > autobootSize {
		return a, fmt.Errorf("autoboot.txt: more than the %d bytes that the firmware reads", autobootSize)
	}
	section, ab, at, n := "all", false, 0, 0 // what stands before any section holds for all
	for line := range bytes.Lines(text) {
		n++
		setting := bytes.TrimSpace(line)
		start := at + bytes.Index(line, setting)
		at += len(line)
		key, value, is := bytes.Cut(setting, []byte("="))
		switch {
		case len(setting) == 0 || setting[0] == '#':
		case setting[0] == '[' && setting[len(setting)-1] == ']':
			section = string(setting[1 : len(setting)-1])
		case !is:
			return a, fmt.Errorf("autoboot.txt: line %d is no setting: %q", n, setting)
		case string(key) == "tryboot_a_b" && section == "all":
			ab = string(value) == "1"
		case string(key) == "boot_partition":
			if len(value) != 1 || value[0] < '1' || value[0] > '9' {
				return a, fmt.Errorf("autoboot.txt: line %d: boot_partition is %q, want 1 to 9", n, value)
			}
			p := partition{int(value[0] - '0'), start + len(setting) - 1}
			switch section {
			case "all":
				a.all = p
			case "tryboot":
				a.trial = p
			default:
				return a, fmt.Errorf("autoboot.txt: line %d: boot_partition in [%s], which no update would change", n, section)
			}
		}
	}
	switch {
	case !ab:
		return a, errors.New("autoboot.txt: tryboot_a_b=1 is missing")
	case a.all.number == 0:
		return a, errors.New("autoboot.txt: boot_partition is missing in [all]")
	case a.trial.number == 0:
		return a, errors.New("autoboot.txt: boot_partition is missing in [tryboot]")
	case a.all.number == a.trial.number:
		return a, fmt.Errorf("autoboot.txt: [all] and [tryboot] both boot partition %d", a.all.number)
	}
	return a, nil
}

// swapped is the text with the two partitions exchanged. It is as long as before.
func (a autoboot) swapped() []byte {
	text := bytes.Clone(a.text)
	text[a.all.at], text[a.trial.at] = text[a.trial.at], text[a.all.at]
	return text
}
