package identity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	commandTimeout = 10 * time.Second
	commandGrace   = time.Second // until its pipes are closed by force
	commandPath    = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// commandRefused is the exit status for "permission denied" of sysexits.h, EX_NOPERM.
	commandRefused = 77
)

// command is a program that prints a token, or JSON as a broker answers. There is no shell between, and it inherits
// neither our environment nor our input.
type command struct {
	argv    []string
	timeout time.Duration
}

func (c *command) issue(ctx context.Context) (grant, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	out := &limited{most: maxAnswer}
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Env = []string{commandPath}
	cmd.Dir = "/"
	cmd.Stdout = out
	cmd.WaitDelay = commandGrace
	// A group of its own, so that what it started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	// What it wrote to stderr may hold anything, so nobody is shown that.
	var exit *exec.ExitError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return grant{}, fmt.Errorf("line.token_command %s did not end within %s", c.argv[0], c.timeout)
	case out.full:
		return grant{}, fmt.Errorf("line.token_command %s printed more than %d KiB", c.argv[0], maxAnswer>>10)
	case errors.As(err, &exit) && exit.ExitCode() == commandRefused:
		return grant{}, fmt.Errorf("%w: line.token_command %s ended with exit status %d", ErrRefused, c.argv[0], commandRefused)
	case err != nil:
		return grant{}, fmt.Errorf("line.token_command %s: %w; run it by hand to see why", c.argv[0], err)
	}
	text := strings.TrimSpace(out.taken.String())
	switch {
	case strings.HasPrefix(text, "{"):
		g, err := readAnswer([]byte(text))
		if err != nil {
			return grant{}, fmt.Errorf("what line.token_command %s printed %w", c.argv[0], err)
		}
		return g, nil
	case text == "":
		return grant{}, fmt.Errorf("line.token_command %s printed nothing", c.argv[0])
	case len(text) > maxSecret || strings.ContainsAny(text, " \r\n"):
		return grant{}, fmt.Errorf("line.token_command %s must print a token or JSON, and nothing else", c.argv[0])
	}
	return grant{Credentials: Credentials{Token: NewSecret(text)}}, nil
}

// limited is a buffer that takes no more than most bytes. It embeds none: io.Copy would go past Write.
type limited struct {
	taken bytes.Buffer
	most  int
	full  bool
}

func (l *limited) Write(b []byte) (int, error) {
	if l.taken.Len()+len(b) > l.most {
		l.full = true
		return 0, errors.New("too much")
	}
	return l.taken.Write(b)
}
