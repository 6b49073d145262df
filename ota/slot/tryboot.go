package slot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"sidetone/ota/disk"
)

// Tryboot is the boot control that the Raspberry Pi's own firmware has: autoboot.txt names the partition that boots, and
// a reboot with the argument "0 tryboot" boots the other one, once. (Raspberry Pi documentation, "autoboot.txt" and
// "Fail-safe OS updates".)
type Tryboot struct {
	Autoboot   string                 // path of autoboot.txt on the mounted boot partition
	Bootloader string                 // directory of the firmware's own words: /proc/device-tree/chosen/bootloader
	Partition  func(n string) string  // path of the device of partition n
	Remount    func(write bool) error // makes the boot partition writable, and read-only again
	Reboot     func(arg string) error // reboot(2): LINUX_REBOOT_CMD_RESTART2 with arg, an ordinary one where it is ""
	FS         disk.FS                // disk.OS if nil
}

// Status reads autoboot.txt and the partition that the firmware booted. A system that is not what [all] names is on
// trial, whoever booted it: the next boot is of the other one.
func (c Tryboot) Status() (Status, error) {
	_, s, err := c.read()
	return s, err
}

// Open opens the partition of the other system.
func (c Tryboot) Open() (Device, error) {
	s, err := c.Status()
	if err != nil {
		return nil, err
	}
	spare, err := s.spare()
	if err != nil {
		return nil, err
	}
	return disk.Or(c.FS).Open(c.Partition(spare), os.O_RDWR, 0)
}

// OpenRunning opens the partition of the system that runs.
func (c Tryboot) OpenRunning() (Device, error) {
	s, err := c.Status()
	if err != nil {
		return nil, err
	}
	return disk.Or(c.FS).Open(c.Partition(s.Running), os.O_RDONLY, 0)
}

// Try boots the other system once.
func (c Tryboot) Try() error {
	s, err := c.Status()
	if err != nil {
		return err
	}
	if s.Trial {
		return ErrTrial
	}
	return c.Reboot("0 tryboot")
}

// Commit exchanges the partitions in autoboot.txt: one sector, in place, so that a cut leaves the old or the new text.
func (c Tryboot) Commit() error {
	a, s, err := c.read()
	if err != nil {
		return err
	}
	if !s.Trial {
		return ErrNoTrial
	}
	if err := c.Remount(true); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	defer c.Remount(false) // what is written is what counts: where this fails it holds all the same
	f, err := disk.Or(c.FS).Open(c.Autoboot, os.O_RDWR|os.O_SYNC, 0)
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	_, err = f.WriteAt(a.swapped(), 0)
	return errors.Join(err, f.Sync(), f.Close())
}

// Revert boots the other system, which is what boots anyway.
func (c Tryboot) Revert() error {
	s, err := c.Status()
	if err != nil {
		return err
	}
	if !s.Trial {
		return ErrNoTrial
	}
	return c.Reboot("")
}

func (c Tryboot) read() (autoboot, Status, error) {
	text, err := disk.Or(c.FS).ReadFile(c.Autoboot)
	if err != nil {
		return autoboot{}, Status{}, err
	}
	a, err := parseAutoboot(text)
	if err != nil {
		return a, Status{}, err
	}
	word, err := disk.Or(c.FS).ReadFile(filepath.Join(c.Bootloader, "partition"))
	if err != nil || len(word) != 4 {
		return a, Status{}, fmt.Errorf("the firmware does not say which partition it booted: %v, %d bytes", err, len(word))
	}
	all, trial := strconv.Itoa(a.all.number), strconv.Itoa(a.trial.number)
	switch running := binary.BigEndian.Uint32(word); running {
	case uint32(a.all.number):
		return a, Status{Running: all, Other: trial}, nil
	case uint32(a.trial.number):
		return a, Status{Running: trial, Other: all, Trial: true}, nil
	default:
		return a, Status{}, fmt.Errorf("partition %d runs, but autoboot.txt names %s and %s: this card has no two systems", running, all, trial)
	}
}
