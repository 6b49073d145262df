package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"sidetone/cmd/internal/atomicfile"
	"sidetone/cmd/internal/subcommand"
	"sidetone/ota/slot"
)

// startCurrent is what the service manager runs where the program alone is updated. It is the program that was installed, which
// no update touches; it reads no config, which may have words of a newer version.
func startCurrent(_ context.Context, e subcommand.Env, args []string) int {
	set := subcommand.Flags(e, "sidetone start")
	dir := set.String("slots", "/var/lib/sidetone/slots", "the `directory` of the versions: slots in device.state_dir")
	if err := set.Parse(args); err != nil { // what follows the flags is not ours
		return subcommand.Usage
	}
	self, err := os.Executable()
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	program, err := current(*dir, self)
	if err != nil { // better the installed version than none
		fmt.Fprintf(e.Err, "sidetone start: %v; the installed version is started\n", err)
		program = self
	}
	err = syscall.Exec(program, append([]string{"sidetone"}, set.Args()...), os.Environ())
	return tool.Fail(e, subcommand.Failed, fmt.Errorf("%s: %w", program, err))
}

// current gives the program to start. What is installed goes into slot a at first, and again when it is another than it was
// then: somebody has installed it by hand.
func current(dir, installed string) (string, error) {
	b := slot.Binary{Dir: dir, Program: slot.Program}
	noted, err := os.ReadFile(filepath.Join(dir, "installed"))
	_, has := b.Status()
	if err == nil && string(noted) == Version && !errors.Is(has, fs.ErrNotExist) {
		return b.Guard()
	}
	if err := seed(dir, installed); err != nil {
		return "", err
	}
	return b.Guard()
}

// seed makes the installed program the current one, in the slot that does not run.
func seed(dir, installed string) error {
	to := "a"
	if s, err := (slot.Binary{Dir: dir, Program: slot.Program}).Status(); err == nil {
		to = s.Other
	}
	path := filepath.Join(dir, to, slot.Program)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := copyFile(installed, path); err != nil {
		return err
	}
	link := filepath.Join(dir, ".installed")
	if err := errors.Join(remove(filepath.Join(dir, "trial")), remove(link), os.Symlink(to, link), os.Rename(link, filepath.Join(dir, "current"))); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, "installed"), []byte(Version), 0o644)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// copyFile replaces the file at path: whoever runs the old one keeps it.
func copyFile(from, path string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
