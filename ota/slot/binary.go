package slot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"sidetone/ota/disk"
)

// Binary is boot control where only our program is swapped, on somebody else's system:
//
//	DIR/a/sidetone, DIR/b/sidetone   the two versions
//	DIR/current                      a link to a or b: what is started
//	DIR/trial                        is there while current is on trial: which slot comes back, and the starts so far
//
// What starts it is Guard, in the program that the package installed and that no update touches: it goes back when a
// version on trial does not stay up.
type Binary struct {
	Dir     string
	Program string       // name of the program's file in its slot
	Started string       // slot that this program was started from, as StartedFrom has it; "": that of current
	Restart func() error // ends this program so that the service manager starts it again
	FS      disk.FS      // disk.OS if nil
}

// StartedFrom is the environment variable by which who starts a program tells it which slot it stands in. Where the disk
// takes no change of the link, another one may have to run, and that must not answer for the one on trial.
const StartedFrom = "SIDETONE_SLOT"

// MaxStarts of a version on trial, before Guard goes back.
const MaxStarts = 3

// ErrNoCurrent says that the link leads to no slot.
var ErrNoCurrent = errors.New("no slot is the current one")

type trial struct {
	Back   string `json:"back"`
	Starts int    `json:"starts"`
}

// Status reads the link, and whether there is a trial.
func (c Binary) Status() (Status, error) {
	s, t, err := c.read()
	s.Trial = t != nil
	return s, err
}

func (c Binary) read() (Status, *trial, error) {
	running, err := disk.Or(c.FS).Readlink(filepath.Join(c.Dir, "current"))
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("nothing was started from %s yet; what starts the device has to be: sidetone start --slots %s run (%w)", c.Dir, c.Dir, err)
	}
	if err != nil {
		return Status{}, nil, fmt.Errorf("%w: %w", ErrNoCurrent, err)
	}
	s := Status{Running: running, Other: "a"}
	switch running {
	case "a":
		s.Other = "b"
	case "b":
	default:
		return s, nil, fmt.Errorf("%w: %s/current leads to %s, which is neither a nor b", ErrNoCurrent, c.Dir, running)
	}
	if c.Started != "" && c.Started != running {
		return s, nil, fmt.Errorf("%s is the current slot, but the program of %s was started", running, c.Started)
	}
	b, err := disk.Or(c.FS).ReadFile(filepath.Join(c.Dir, "trial"))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil, nil
	}
	if err != nil {
		return s, nil, err
	}
	var t trial
	if json.Unmarshal(b, &t) != nil || t.Back != "a" && t.Back != "b" || t.Starts < 0 {
		t = trial{Back: s.Other, Starts: MaxStarts} // spoilt: it counts as used up
	}
	if t.Back == running {
		return s, nil, nil // the trial was noted, but a cut came before the link was changed
	}
	return s, &t, nil
}

// Open opens the program's file in the other slot. Its name is on the disk before anything is in it.
func (c Binary) Open() (Device, error) {
	s, err := c.Status()
	if err != nil {
		return nil, err
	}
	spare, err := s.spare()
	if err != nil {
		return nil, err
	}
	fsys, path := disk.Or(c.FS), c.path(spare)
	if err := fsys.Mkdir(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	f, err := fsys.Open(path, os.O_RDWR|os.O_CREATE, 0o755)
	if errors.Is(err, unix.ETXTBSY) { // somebody runs it still, and keeps what he has
		if err = fsys.Remove(path); err == nil {
			f, err = fsys.Open(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o755)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := errors.Join(fsys.SyncDir(filepath.Dir(path)), fsys.SyncDir(c.Dir)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return file{f, fsys, c.Dir}, nil
}

// OpenRunning opens the file of the program that runs.
func (c Binary) OpenRunning() (Device, error) {
	s, err := c.Status()
	if err != nil {
		return nil, err
	}
	return disk.Or(c.FS).Open(c.path(s.Running), os.O_RDONLY, 0)
}

func (c Binary) path(slot string) string { return filepath.Join(c.Dir, slot, c.Program) }

// file is a slot that is as long as what it holds, and has room for what the disk has room for.
type file struct {
	disk.File
	fs  disk.FS
	dir string
}

func (f file) Size() (int64, error) {
	has, err := f.File.Size()
	if err != nil {
		return 0, err
	}
	free, err := f.fs.Free(f.dir)
	return has + free, err
}

// Resize cuts off what an older, longer program would leave behind.
func (f file) Resize(size int64) error { return f.Truncate(size) }

// Try notes the trial, changes the link, and restarts.
func (c Binary) Try() error {
	s, t, err := c.read()
	if err != nil {
		return err
	}
	if t != nil {
		return ErrTrial
	}
	if err := c.note(trial{Back: s.Running}); err != nil {
		return err
	}
	if err := c.link(s.Other); err != nil {
		return err
	}
	return c.Restart()
}

// Install makes a program that somebody brought the current one, in the slot that does not run: in a if there is none yet.
// It ends a trial. Whoever runs what the slot held keeps it.
func (c Binary) Install(program io.Reader) error {
	to := "a"
	if s, err := c.Status(); err == nil {
		to = s.Other
	}
	fsys, path := disk.Or(c.FS), c.path(to)
	if err := fsys.Mkdir(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := fsys.Open(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.NewOffsetWriter(f, 0), program)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, fsys.Remove(path+".new")) // a disk that is full needs its room
	}
	if err := fsys.Rename(path+".new", path); err != nil {
		return err
	}
	if err := errors.Join(fsys.SyncDir(filepath.Dir(path)), fsys.SyncDir(c.Dir), c.link(to)); err != nil {
		return err
	}
	if err := c.forget(); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Commit ends the trial.
func (c Binary) Commit() error {
	_, t, err := c.read()
	if err != nil {
		return err
	}
	if t == nil {
		return ErrNoTrial
	}
	return c.forget()
}

// Revert changes the link back, and restarts.
func (c Binary) Revert() error {
	_, t, err := c.read()
	if err != nil {
		return err
	}
	if t == nil {
		return ErrNoTrial
	}
	if err := c.back(*t); err != nil {
		return err
	}
	return c.Restart()
}

// back ends a trial by the link. Only then the note goes: without it what the link leads to is there to stay.
func (c Binary) back(t trial) error {
	if err := c.link(t.Back); err != nil {
		return err
	}
	return c.forget()
}

// Guard says which program to start now. It counts the starts of a version on trial, and goes back when there were
// enough of them, or when they cannot be counted. With an error there may be a program besides.
func (c Binary) Guard() (program string, err error) {
	s, t, err := c.read()
	if err != nil {
		return "", err
	}
	if t == nil {
		return c.path(s.Running), nil
	}
	if t.Starts >= MaxStarts {
		return c.path(t.Back), c.back(*t)
	}
	t.Starts++
	if err := c.note(*t); err != nil {
		return c.path(t.Back), errors.Join(err, c.back(*t))
	}
	return c.path(s.Running), nil
}

func (c Binary) note(t trial) error {
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return disk.Replace(disk.Or(c.FS), filepath.Join(c.Dir, "trial"), b, 0o644)
}

func (c Binary) forget() error {
	return errors.Join(disk.Or(c.FS).Remove(filepath.Join(c.Dir, "trial")), disk.Or(c.FS).SyncDir(c.Dir))
}

// link changes current in one step.
func (c Binary) link(slot string) error {
	fsys, temp := disk.Or(c.FS), filepath.Join(c.Dir, ".current")
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := fsys.Symlink(slot, temp); err != nil {
		return err
	}
	return errors.Join(fsys.Rename(temp, filepath.Join(c.Dir, "current")), fsys.SyncDir(c.Dir))
}
