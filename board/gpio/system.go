package gpio

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// System is the boundary to the kernel; gpiofake has another one for tests.
type System interface {
	// Chips lists the paths of all chips. Links are left out: they would make one chip two.
	Chips() ([]string, error)
	// Open opens the chip at path.
	Open(path string) (File, error)
	// Line makes a File of the descriptor that a chip's GetLine gave.
	Line(fd int32, name string) (File, error)
	// Monotonic is the clock of events: CLOCK_MONOTONIC.
	Monotonic() time.Duration
}

// File is a chip, or a line that is held until Close.
type File interface {
	io.ReadCloser
	SetReadDeadline(time.Time) error
	Ioctl(request uint, arg unsafe.Pointer) error
}

// Kernel is the System of this machine.
type Kernel struct{}

// Chips implements System.
func (Kernel) Chips() ([]string, error) {
	all, err := filepath.Glob("/dev/gpiochip*")
	if err != nil {
		return nil, err
	}
	var chips []string
	for _, path := range all {
		if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeCharDevice != 0 {
			chips = append(chips, path)
		}
	}
	return chips, nil
}

// Open implements System.
func (Kernel) Open(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	return file{f}, err
}

// Line implements System.
func (Kernel) Line(fd int32, name string) (File, error) {
	// The runtime polls only files that do not block.
	if err := unix.SetNonblock(int(fd), true); err != nil {
		unix.Close(int(fd))
		return nil, err
	}
	return file{os.NewFile(uintptr(fd), name)}, nil
}

// Monotonic implements System.
func (Kernel) Monotonic() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err) // every Linux has this clock
	}
	return time.Duration(now.Nano())
}

type file struct{ *os.File }

// Ioctl implements File.
func (f file) Ioctl(request uint, arg unsafe.Pointer) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	errno := unix.EINTR
	if err := raw.Control(func(fd uintptr) {
		for errno == unix.EINTR {
			_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, uintptr(request), uintptr(arg))
		}
	}); err != nil {
		return err
	}
	if errno != 0 {
		return errno
	}
	return nil
}
