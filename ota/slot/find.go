package slot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// System says where boot control is to be looked for.
type System struct {
	Kind    string // auto, tryboot, uboot, binary or none; auto never is binary
	BootDir string // where the partition with autoboot.txt is mounted
	Disk    string // device of the disk that holds both systems; "": that of BootDir for tryboot, of / for uboot
	Dir     string // of Binary
	// Restart boots the system with an argument for the firmware, or starts the program again (Binary).
	Restart func(arg string) error
	// Root is put before /proc, /sys and /etc: for tests.
	Root string
}

// Program is the name of our program's file in a slot of Binary.
const Program = "sidetone"

// ErrNone says that this system has no boot control: it cannot be updated.
var ErrNone = errors.New("there is no boot control: neither tryboot (autoboot.txt, on a Raspberry Pi) nor U-Boot's (/etc/fw_env.config)")

// Slots that UBoot has: the numbers of two partitions, the second and the third as on every card of ours.
var ubootSlots = [2]string{"2", "3"}

const (
	bootloader = "/proc/device-tree/chosen/bootloader"
	fwEnv      = "/etc/fw_env.config"
)

// Find gives the boot control of this system, or ErrNone.
func (s System) Find() (Control, error) {
	kind := s.Kind
	if kind == "auto" {
		switch {
		case exists(s.Root+bootloader) && exists(filepath.Join(s.BootDir, "autoboot.txt")):
			kind = "tryboot"
		case exists(s.Root + fwEnv):
			kind = "uboot"
		}
	}
	switch kind {
	case "tryboot":
		return s.tryboot()
	case "uboot":
		return s.uboot()
	case "binary":
		return Binary{Dir: s.Dir, Program: Program, Started: os.Getenv(StartedFrom), Restart: func() error { return s.Restart("") }}, nil
	}
	return nil, ErrNone
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (s System) tryboot() (Control, error) {
	disk, err := s.disk(s.BootDir)
	if err != nil {
		return nil, err
	}
	return Tryboot{
		Autoboot: filepath.Join(s.BootDir, "autoboot.txt"), Bootloader: s.Root + bootloader,
		Partition: func(n string) string { return partitionOf(disk, n) },
		Remount:   func(write bool) error { return remount(s.BootDir, write) },
		Reboot:    s.Restart,
	}, nil
}

func (s System) uboot() (Control, error) {
	copies, size, err := fwEnvConfig(s.Root + fwEnv)
	if err != nil {
		return nil, err
	}
	line, err := os.ReadFile(s.Root + "/proc/cmdline")
	if err != nil {
		return nil, err
	}
	disk, err := s.disk("/")
	if err != nil {
		return nil, err
	}
	return UBoot{
		Copies: copies, Size: size, Running: slotOf(string(line)), Slots: ubootSlots,
		Path:   func(slot string) string { return partitionOf(disk, slot) },
		Reboot: func() error { return s.Restart("") },
	}, nil
}

// slotOf reads the kernel's command line for the slot that the boot script told: the last word that does.
func slotOf(cmdline string) (slot string) {
	for word := range strings.FieldsSeq(cmdline) {
		if value, is := strings.CutPrefix(word, "sidetone.slot="); is {
			slot = value
		}
	}
	return slot
}

func fwEnvConfig(path string) (copies [2]EnvCopy, size int, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return copies, 0, err
	}
	copies, size, err = parseFwEnv(string(b))
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return copies, size, err
}

// maxEnv is how large an environment is taken for one, in bytes.
const maxEnv = 16 << 20

// parseFwEnv reads where U-Boot's environment lies: a line for each copy, of device, offset and size. Offsets from the end of
// a device, which U-Boot's own tool writes as negative ones, are not taken. (U-Boot, tools/env/fw_env.config.)
func parseFwEnv(text string) (copies [2]EnvCopy, size int, err error) {
	n := 0
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if n == len(copies) || len(words) < 3 {
			return copies, 0, errors.New("want two lines of device, offset and size")
		}
		offset, err1 := strconv.ParseInt(words[1], 0, 64)
		bytes, err2 := strconv.ParseInt(words[2], 0, 32)
		if err := errors.Join(err1, err2); err != nil {
			return copies, 0, err
		}
		switch before := copies[0]; {
		case offset < 0 || bytes <= envHeader || bytes > maxEnv:
			return copies, 0, fmt.Errorf("%d bytes from %d on are no environment", bytes, offset)
		case n > 0 && int(bytes) != size:
			return copies, 0, fmt.Errorf("copies of %d and %d bytes", size, bytes)
		case n > 0 && words[0] == before.Path && max(offset, before.Offset)-min(offset, before.Offset) < bytes:
			return copies, 0, fmt.Errorf("both copies lie in the same bytes of %s", words[0])
		}
		copies[n], size = EnvCopy{Path: words[0], Offset: offset}, int(bytes)
		n++
	}
	if n != len(copies) {
		return copies, 0, errors.New("an environment of one copy does not outlive a power cut; two are needed")
	}
	return copies, size, nil
}

// disk gives the device of the disk that a mounted partition is on.
func (s System) disk(mountPoint string) (string, error) {
	if s.Disk != "" {
		return s.Disk, nil
	}
	b, err := os.ReadFile(s.Root + "/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	number := mounted(string(b), mountPoint)
	if number == "" {
		return "", fmt.Errorf("nothing is mounted on %s: which disk holds the systems?", mountPoint)
	}
	device, err := filepath.EvalSymlinks(s.Root + "/sys/dev/block/" + number)
	if err != nil || !exists(filepath.Join(device, "partition")) {
		return "", fmt.Errorf("%s is not on a partition of a disk (device %s): which disk holds the systems?", mountPoint, number)
	}
	return "/dev/" + filepath.Base(filepath.Dir(device)), nil
}

// mounted reads from /proc/self/mountinfo which device is mounted somewhere, as major:minor: the last one is on top.
func mounted(mountinfo, mountPoint string) (number string) {
	for line := range strings.Lines(mountinfo) {
		if words := strings.Fields(line); len(words) > 4 && words[4] == mountPoint {
			number = words[2]
		}
	}
	return number
}

// partitionOf names the device of a partition, as the kernel does: sda2, but mmcblk0p2.
func partitionOf(disk, n string) string {
	if last := disk[len(disk)-1]; last >= '0' && last <= '9' {
		return disk + "p" + n
	}
	return disk + n
}

func remount(dir string, write bool) error {
	flags := uintptr(unix.MS_REMOUNT)
	if !write {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount("", dir, "", flags, ""); err != nil {
		return fmt.Errorf("remounting %s: %w", dir, err)
	}
	return nil
}
