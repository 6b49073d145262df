package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// OS is this machine's own.
var OS FS = system{}

type system struct{}

func (system) ReadFile(path string) ([]byte, error)      { return os.ReadFile(path) }
func (system) Readlink(path string) (string, error)      { return os.Readlink(path) }
func (system) Symlink(to, path string) error             { return os.Symlink(to, path) }
func (system) Rename(from, to string) error              { return os.Rename(from, to) }
func (system) Remove(path string) error                  { return os.Remove(path) }
func (system) Mkdir(path string, mode fs.FileMode) error { return os.Mkdir(path, mode) }

func (system) Open(path string, flag int, mode fs.FileMode) (File, error) {
	f, err := os.OpenFile(path, flag, mode)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (system) SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (system) Free(path string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}

type file struct{ *os.File }

// DropCache forgets what the page cache holds of the file. Only what is synced can be forgotten.
func (f file) DropCache() error {
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("%s: dropping the cache: %w", f.Name(), err)
	}
	return nil
}

// Size is found by seeking, which serves block devices and files alike.
func (f file) Size() (int64, error) { return f.Seek(0, io.SeekEnd) }
