package slot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"strings"

	"sidetone/ota/disk"
)

// UBoot is boot control by U-Boot's redundant environment. Its boot script has to do this much:
//
//	bootlimit=1
//	bootcmd:    boot ${sidetone_slot}, or ${sidetone_try} where upgrade_available is 1
//	altbootcmd: setenv upgrade_available 0; saveenv; boot ${sidetone_slot}
//
// With upgrade_available=1 U-Boot itself counts boots, and runs altbootcmd beyond bootlimit. (U-Boot documentation,
// "Boot Count Limit".)
type UBoot struct {
	Copies  [2]EnvCopy
	Size    int                      // bytes of each copy: CONFIG_ENV_SIZE
	Running string                   // slot that runs, which the boot script told by the kernel's command line
	Slots   [2]string                // names of both
	Path    func(slot string) string // of a slot's device
	Reboot  func() error
	FS      disk.FS // disk.OS if nil
}

// EnvCopy is where one copy of the environment lies.
type EnvCopy struct {
	Path   string // of a device or a file
	Offset int64  // bytes
}

// Names of what U-Boot's environment says.
const (
	envSlot      = "sidetone_slot"
	envTry       = "sidetone_try"
	envAvailable = "upgrade_available"
	envCount     = "bootcount"
)

// Status compares what runs with what the environment boots.
func (c UBoot) Status() (Status, error) {
	e, err := c.read()
	if err != nil {
		return Status{}, err
	}
	return c.status(e)
}

func (c UBoot) status(e env) (Status, error) {
	i := slices.Index(c.Slots[:], c.Running)
	if i < 0 {
		return Status{}, fmt.Errorf("slot %q runs, which is none of %q", c.Running, c.Slots)
	}
	return Status{Running: c.Running, Other: c.Slots[1-i], Trial: e.get(envSlot) != c.Running}, nil
}

// Open opens the other slot.
func (c UBoot) Open() (Device, error) {
	s, err := c.Status()
	if err != nil {
		return nil, err
	}
	spare, err := s.spare()
	if err != nil {
		return nil, err
	}
	return disk.Or(c.FS).Open(c.Path(spare), os.O_RDWR, 0)
}

// OpenRunning opens the slot that runs.
func (c UBoot) OpenRunning() (Device, error) {
	return disk.Or(c.FS).Open(c.Path(c.Running), os.O_RDONLY, 0)
}

// Try has U-Boot boot the other slot once.
func (c UBoot) Try() error {
	return c.change(false, func(e env, s Status) env {
		return e.set(envTry, s.Other).set(envCount, "0").set(envAvailable, "1")
	}, true)
}

// Commit makes the running slot the one that boots.
func (c UBoot) Commit() error {
	return c.change(true, func(e env, s Status) env {
		return e.set(envSlot, s.Running).set(envAvailable, "0").set(envCount, "0")
	}, false)
}

// Revert boots the other slot.
func (c UBoot) Revert() error {
	return c.change(true, func(e env, _ Status) env { return e.set(envAvailable, "0").set(envCount, "0") }, true)
}

func (c UBoot) change(trial bool, change func(env, Status) env, reboot bool) error {
	e, err := c.read()
	if err != nil {
		return err
	}
	s, err := c.status(e)
	switch {
	case err != nil:
		return err
	case trial && !s.Trial:
		return ErrNoTrial
	case !trial && s.Trial:
		return ErrTrial
	}
	if err := c.write(change(e, s)); err != nil {
		return fmt.Errorf("U-Boot's environment: %w", err)
	}
	if !reboot {
		return nil
	}
	return c.Reboot()
}

// env is one copy of the environment: variables, as NAME=value, and what says which copy is newer.
type env struct {
	vars  []string
	flags byte
	copy  int // 0 or 1
}

func (e env) get(name string) string {
	for _, v := range e.vars {
		if value, is := strings.CutPrefix(v, name+"="); is {
			return value
		}
	}
	return ""
}

func (e env) set(name, value string) env {
	e.vars = slices.DeleteFunc(slices.Clone(e.vars), func(v string) bool { return strings.HasPrefix(v, name+"=") })
	e.vars = append(e.vars, name+"="+value)
	return e
}

// envHeader is CRC-32 of all that follows flags, little endian on every board we know, and the flags.
const envHeader = 4 + 1

func parseEnv(b []byte) (env, error) {
	if len(b) <= envHeader || crc32.ChecksumIEEE(b[envHeader:]) != binary.LittleEndian.Uint32(b) {
		return env{}, errors.New("its CRC is wrong")
	}
	e := env{flags: b[4]}
	for v := range bytes.SplitSeq(b[envHeader:], []byte{0}) {
		if len(v) == 0 {
			break // an empty one ends the list
		}
		e.vars = append(e.vars, string(v))
	}
	return e, nil
}

func (e env) bytes(size int) ([]byte, error) {
	b := make([]byte, envHeader, size)
	b[4] = e.flags
	for _, v := range e.vars {
		b = append(append(b, v...), 0)
	}
	if len(b) >= size {
		return nil, fmt.Errorf("%d bytes have no place in %d", len(b), size)
	}
	b = b[:size] // zero to its end
	binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE(b[envHeader:]))
	return b, nil
}

// newer says whether the flags of copy 1 are newer than those of copy 0: a counter of 8 bits that wraps at 255 only.
// (U-Boot, env_check_redund.)
func newer(zero, one byte) bool {
	switch {
	case zero == 255 && one == 0:
		return true
	case zero == 0 && one == 255:
		return false
	}
	return one > zero
}

// read takes the newer of the copies that are whole.
func (c UBoot) read() (env, error) {
	var copies [2]env
	var errs [2]error
	for i, where := range c.Copies {
		b := make([]byte, c.Size)
		f, err := disk.Or(c.FS).Open(where.Path, os.O_RDONLY, 0)
		if err == nil {
			_, err = f.ReadAt(b, where.Offset)
			err = errors.Join(err, f.Close())
		}
		if err == nil {
			copies[i], err = parseEnv(b)
		}
		copies[i].copy, errs[i] = i, err
	}
	switch {
	case errs[0] != nil && errs[1] != nil:
		return env{}, fmt.Errorf("U-Boot's environment: %w, %w", errs[0], errs[1])
	case errs[0] != nil || errs[1] == nil && newer(copies[0].flags, copies[1].flags):
		return copies[1], nil
	}
	return copies[0], nil
}

// write puts a changed environment over the other copy, so that a cut leaves the one it was made of.
func (c UBoot) write(e env) error {
	e.flags++
	b, err := e.bytes(c.Size)
	if err != nil {
		return err
	}
	where := c.Copies[1-e.copy]
	f, err := disk.Or(c.FS).Open(where.Path, os.O_RDWR|os.O_SYNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, where.Offset)
	return errors.Join(err, f.Sync(), f.Close())
}
