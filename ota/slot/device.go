package slot

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// OpenDevice opens a partition, or a file in its place, for writing.
func OpenDevice(path string) (Device, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return device{f}, nil
}

type device struct{ *os.File }

// DropCache forgets what the page cache holds of the device. Only what is synced can be forgotten.
func (d device) DropCache() error {
	if err := unix.Fadvise(int(d.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("%s: dropping the cache: %w", d.Name(), err)
	}
	return nil
}

// Size is found by seeking, which serves block devices and files alike.
func (d device) Size() (int64, error) { return d.Seek(0, io.SeekEnd) }
