package appliance

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Keyboard makes the keys of the controlling terminal the buttons of board profile sim. It hands each key to press
// until ctx ends, and leaves the terminal as it was. Without a terminal it returns an error at once.
func Keyboard(ctx context.Context, press func(key rune)) error {
	// Opened anew, the terminal can be closed to end the read without touching the shell's own.
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("no terminal to read keys from: %w", err)
	}
	defer tty.Close()
	raw, err := tty.SyscallConn()
	if err != nil {
		return err
	}
	var before *unix.Termios
	set := func(t *unix.Termios) (err error) {
		raw.Control(func(fd uintptr) { err = unix.IoctlSetTermios(int(fd), unix.TCSETS, t) })
		return err
	}
	if cerr := raw.Control(func(fd uintptr) { before, err = unix.IoctlGetTermios(int(fd), unix.TCGETS) }); cerr != nil || err != nil {
		return fmt.Errorf("no terminal to read keys from: %w", err)
	}
	// Keys come one by one and unseen; Ctrl-C stays a signal, and output stays cooked.
	keys := *before
	keys.Lflag &^= unix.ICANON | unix.ECHO
	keys.Cc[unix.VMIN], keys.Cc[unix.VTIME] = 1, 0
	if err := set(&keys); err != nil {
		return fmt.Errorf("terminal does not give single keys: %w", err)
	}
	defer set(before)
	stop := context.AfterFunc(ctx, func() { tty.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 16)
	for {
		n, err := tty.Read(buf)
		if err != nil {
			return nil
		}
		for _, k := range string(buf[:n]) {
			press(k)
		}
	}
}
