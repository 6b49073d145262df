package powercut

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sidetone/ota/slot"
)

// program is the name of what a slot holds: the device of a slot is /dev/SLOT/sidetone.
const program = "sidetone"

// board is what starts a system, written from the boot loaders' documentation and not with our own code. Its chips have
// no page cache, and its registers are lost with the power.
type board interface {
	// boot chooses a slot. trial is said by the loader where it knows.
	boot(m *machine) (chosen string, err error)
	// control is our boot control, as it runs in a slot.
	control(l *life, running string) slot.Control
	// slot is where a slot lies.
	slot(name string) string
}

// pi is a Raspberry Pi's firmware. ("autoboot.txt", and the tryboot flag.)
type pi struct{ tryboot bool }

const autoboot = "/boot/autoboot.txt"

func newPi(m *machine) board {
	m.put(autoboot, &node{medium: []byte("[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3\n")})
	return &pi{}
}

func (p *pi) slot(name string) string { return "/dev/" + name + "/" + program }

func (p *pi) boot(m *machine) (string, error) {
	section, chosen := "", map[string]string{}
	for line := range strings.Lines(string(m.names[autoboot].medium)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		} else if n, is := strings.CutPrefix(line, "boot_partition="); is {
			chosen[section] = n
		}
	}
	n := chosen["[all]"]
	if p.tryboot {
		n = chosen["[tryboot]"]
	}
	p.tryboot = false
	if n != "2" && n != "3" {
		return "", fmt.Errorf("autoboot.txt names partition %q", n)
	}
	m.put("/dt/partition", &node{medium: []byte{0, 0, 0, n[0] - '0'}})
	return n, nil
}

func (p *pi) control(l *life, _ string) slot.Control {
	return slot.Tryboot{
		Autoboot: autoboot, Bootloader: "/dt", Partition: p.slot, FS: l.machine,
		Remount: func(bool) error { return l.rest("remount") },
		Reboot: func(arg string) error {
			err := l.reboot()
			if err == nil {
				p.tryboot = arg == "0 tryboot"
			}
			return err
		},
	}
}

// uboot is U-Boot with a redundant environment of two sectors each, and the boot script that slot.UBoot asks for.
type uboot struct{}

const (
	envAt   = "/dev/env"
	envSize = 2 * sector
)

func newUboot(m *machine) board {
	m.put(envAt, &node{device: true, medium: append(envBytes(7, map[string]string{"sidetone_slot": "2"}), make([]byte, envSize)...)})
	return uboot{}
}

func envBytes(flags byte, vars map[string]string) []byte {
	b := append(make([]byte, 4), flags)
	for _, name := range []string{"sidetone_slot", "sidetone_try", "upgrade_available", "bootcount"} {
		if v, is := vars[name]; is {
			b = fmt.Appendf(b, "%s=%s\x00", name, v)
		}
	}
	b = append(b, make([]byte, envSize-len(b))...)
	binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE(b[5:]))
	return b
}

func (uboot) slot(name string) string { return "/dev/" + name + "/" + program }

func (uboot) boot(m *machine) (string, error) {
	chip, best := m.names[envAt].medium, -1
	for i := range 2 {
		c := chip[i*envSize : (i+1)*envSize]
		if crc32.ChecksumIEEE(c[5:]) == binary.LittleEndian.Uint32(c) && (best < 0 || int8(c[4]-chip[best*envSize+4]) > 0) {
			best = i
		}
	}
	if best < 0 {
		return "", errors.New("both copies of the environment are spoilt")
	}
	vars := map[string]string{}
	for v := range bytes.SplitSeq(chip[best*envSize+5:(best+1)*envSize], []byte{0}) {
		if name, value, is := strings.Cut(string(v), "="); is {
			vars[name] = value
		}
	}
	if vars["upgrade_available"] != "1" {
		return vars["sidetone_slot"], nil
	}
	chosen := vars["sidetone_try"]
	if vars["bootcount"] == "0" { // counted before it boots
		vars["bootcount"] = "1"
	} else { // beyond bootlimit=1: altbootcmd
		chosen, vars["upgrade_available"] = vars["sidetone_slot"], "0"
	}
	defer func(skip func(op, path string) bool) { m.skip = skip }(m.skip)
	m.skip = nothing
	f, err := m.Open(envAt, os.O_RDWR|os.O_SYNC, 0)
	if err == nil {
		_, err = f.WriteAt(envBytes(chip[best*envSize+4]+1, vars), int64((1-best)*envSize))
	}
	return chosen, err
}

func (u uboot) control(l *life, running string) slot.Control {
	return slot.UBoot{
		Copies: [2]slot.EnvCopy{{Path: envAt}, {Path: envAt, Offset: envSize}}, Size: envSize, FS: l.machine,
		Running: running, Slots: [2]string{"2", "3"}, Path: u.slot, Reboot: l.reboot,
	}
}

// service is a service manager that runs `sidetone start` again and again: it puts the program that was installed into a
// slot where there is none, and starts what Guard says.
type service struct{}

const slotsAt = "/var/lib/sidetone/slots"

func newService(m *machine) board {
	m.put(slotsAt, &node{directory: true})
	return service{}
}

func (service) slot(name string) string { return filepath.Join(slotsAt, name, program) }

func (service) boot(m *machine) (string, error) {
	b := slot.Binary{Dir: slotsAt, Program: program, FS: m}
	if _, err := b.Status(); errors.Is(err, fs.ErrNotExist) {
		if err := b.Install(bytes.NewReader(images[v1])); err != nil {
			return "", err
		}
	}
	path, err := b.Guard()
	return filepath.Base(filepath.Dir(path)), err
}

func (service) control(l *life, _ string) slot.Control {
	return slot.Binary{Dir: slotsAt, Program: program, FS: l.machine, Restart: l.restart}
}
