package cli

import (
	"context"
	"errors"
	"fmt"
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
	if code, ok := subcommand.ParseFlags(e, set, args); !ok { // what follows the flags is not ours
		return code
	}
	self, err := os.Executable()
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	start := func(program, from string) {
		err := syscall.Exec(program, append([]string{"sidetone"}, set.Args()...), append(os.Environ(), slot.StartedFrom+"="+from))
		fmt.Fprintf(e.Err, "sidetone start: %s: %v\n", program, err)
	}
	for n := range slot.MaxStarts + 2 {
		program, err := current(*dir, self, n <= slot.MaxStarts)
		if err != nil {
			fmt.Fprintf(e.Err, "sidetone start: %v\n", err)
		}
		if program != "" {
			start(program, filepath.Base(filepath.Dir(program)))
		}
	}
	start(self, "none") // better the installed version than no device
	return subcommand.Failed
}

// current gives the program to start; with an error there may be one besides. What is installed goes into a slot at first, when
// it is another than it was then (somebody has installed it by hand), and where nothing else can be started: then asIs is false.
func current(dir, installed string, asIs bool) (string, error) {
	b := slot.Binary{Dir: dir, Program: slot.Program}
	noted, err := os.ReadFile(filepath.Join(dir, "installed"))
	_, has := b.Status()
	other := errors.Is(err, fs.ErrNotExist) || err == nil && string(noted) != Version // a note that cannot be read says nothing
	if asIs && !other && !errors.Is(has, slot.ErrNoCurrent) {
		return b.Guard()
	}
	if err := seed(dir, installed); err != nil {
		return "", err
	}
	return b.Guard()
}

// seed makes the installed program the current one.
func seed(dir, installed string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	in, err := os.Open(installed)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := (slot.Binary{Dir: dir, Program: slot.Program}).Install(in); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, "installed"), []byte(Version), 0o644)
}
