// Package disk is what updates do to files and block devices: few operations, each with what a power cut may leave of it
// in mind. OS is the real thing; ota/powercut has one that forgets and reorders what was not flushed.
package disk

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is a file system, and the block devices in it.
type FS interface {
	// Open takes the flags of os.OpenFile. With os.O_SYNC a write is on the disk when it returns.
	Open(path string, flag int, mode fs.FileMode) (File, error)
	ReadFile(path string) ([]byte, error)
	Readlink(path string) (string, error)
	Symlink(to, path string) error
	Rename(from, to string) error // replaces what to names, in one step
	Remove(path string) error
	Mkdir(path string, mode fs.FileMode) error
	SyncDir(path string) error       // the names in a directory are on the disk
	Free(path string) (int64, error) // bytes that are left where path lies
}

// File is an open file or block device.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error          // what was written is on the disk
	DropCache() error     // what is read from now on comes from the disk
	Size() (int64, error) // bytes
	Truncate(size int64) error
}

// Or gives the file system, or OS for nil.
func Or(f FS) FS { return cmp.Or[FS](f, OS) }

// Replace puts b into the file at path, in place of what it held: after a cut it holds one or the other. When Replace
// returns without an error b is on the disk. What a cut leaves beside it is taken by the next Replace.
func Replace(f FS, path string, b []byte, mode fs.FileMode) error {
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	file, err := f.Open(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(b, 0)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := f.Rename(temp, path); err != nil {
		return err
	}
	return f.SyncDir(filepath.Dir(path))
}

// Record is a small file that is replaced as a whole: an ota.Store.
type Record struct {
	FS   FS // OS if nil
	Path string
}

// Load gives what was saved last, nil where nothing was.
func (r Record) Load() ([]byte, error) {
	b, err := Or(r.FS).ReadFile(r.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// Save has b on the disk when it returns without an error. Only the file's owner may read it.
func (r Record) Save(b []byte) error { return Replace(Or(r.FS), r.Path, b, 0o600) }
