package watchdog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// File is the kernel's watchdog device, from linux/watchdog.h. A byte written to it is a feeding; opening it starts it.
type File interface {
	io.WriteCloser
	Ioctl(request uint, value *int32) error
}

// dev is a device that is open, and so counts.
type dev struct {
	file    File
	timeout time.Duration
	reset   string // why the board was reset before; "": an ordinary start, or not known
}

// openDev starts the device, with a time-out as near to want as it goes.
func openDev(open func(string) (File, error), path string, want time.Duration) (*dev, error) {
	f, err := open(path)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("%w: another program has it, as systemd with RuntimeWatchdogSec", err)
	}
	if err != nil {
		return nil, err
	}
	d := &dev{file: f}
	var status int32
	if f.Ioctl(unix.WDIOC_GETBOOTSTATUS, &status) == nil {
		d.reset = reason(status)
	}
	if d.timeout, err = setTimeout(f, want); err != nil {
		return nil, errors.Join(fmt.Errorf("%s says no time-out: %w", path, err), d.disarm())
	}
	return d, nil
}

// setTimeout tries want, then half of it and so on: a driver does not say what its range is. One that sets none has one of its own.
func setTimeout(f File, want time.Duration) (time.Duration, error) {
	for s := int32(want / time.Second); s > 0; s /= 2 {
		got := s
		if err := f.Ioctl(unix.WDIOC_SETTIMEOUT, &got); err == nil && got > 0 {
			return time.Duration(got) * time.Second, nil
		}
	}
	var has int32
	if err := f.Ioctl(unix.WDIOC_GETTIMEOUT, &has); err != nil {
		return 0, err
	}
	if has <= 0 {
		return 0, unix.EINVAL
	}
	return time.Duration(has) * time.Second, nil
}

// reason says in words what WDIOC_GETBOOTSTATUS does in bits.
func reason(status int32) string {
	var all []string
	for _, r := range []struct {
		bit  int32
		text string
	}{
		{unix.WDIOF_CARDRESET, "watchdog"}, {unix.WDIOF_OVERHEAT, "overheated"}, {unix.WDIOF_POWERUNDER, "under-voltage"},
		{unix.WDIOF_POWEROVER, "over-voltage"}, {unix.WDIOF_FANFAULT, "fan"}, {unix.WDIOF_EXTERN1, "external 1"}, {unix.WDIOF_EXTERN2, "external 2"},
	} {
		if status > 0 && status&r.bit != 0 {
			all = append(all, r.text)
		}
	}
	return strings.Join(all, ", ")
}

func (d *dev) feed() error {
	_, err := d.file.Write([]byte{0})
	return err
}

// disarm is what the kernel calls the magic close.
func (d *dev) disarm() error {
	_, err := d.file.Write([]byte{'V'})
	return errors.Join(err, d.file.Close())
}

// openKernel is the kernel's device.
func openKernel(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	return kernel{f}, nil
}

type kernel struct{ *os.File }

// Ioctl implements File.
func (k kernel) Ioctl(request uint, value *int32) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, k.Fd(), uintptr(request), uintptr(unsafe.Pointer(value)))
	if errno != 0 {
		return errno
	}
	return nil
}
