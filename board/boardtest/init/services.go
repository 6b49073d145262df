//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"sidetone/board/boardtest/steer"

	"golang.org/x/sys/unix"
)

// restartDelay is how long a service that ended rests.
const restartDelay = 500 * time.Millisecond

// services are the programs that are kept running.
type services struct {
	mu      sync.Mutex
	running map[string]*service
}

type service struct {
	process *os.Process // nil while it rests
	stopped bool
	done    chan struct{} // closed when it is stopped and gone
}

// start keeps a program running under that name. What it writes goes to the console.
func (s *services) start(name string, argv []string) {
	v := &service{done: make(chan struct{})}
	s.mu.Lock()
	s.running[name] = v
	s.mu.Unlock()
	go func() {
		defer close(v.done)
		for {
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
			s.mu.Lock()
			if v.stopped {
				s.mu.Unlock()
				return
			}
			err := cmd.Start()
			v.process = cmd.Process
			s.mu.Unlock()
			if err == nil {
				err = cmd.Wait()
			}
			s.mu.Lock()
			v.process = nil
			s.mu.Unlock()
			fmt.Printf("init: %s ended: %v\n", name, err)
			time.Sleep(restartDelay)
		}
	}()
}

// signal sends a signal to the process of a service, and gives its number.
func (s *services) signal(name string, sig syscall.Signal) (pid int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.running[name]
	if v == nil || v.process == nil {
		return 0, fmt.Errorf("service %q does not run", name)
	}
	return v.process.Pid, v.process.Signal(sig)
}

// stop ends a service for good.
func (s *services) stop(name string) error {
	s.mu.Lock()
	v := s.running[name]
	if v == nil {
		s.mu.Unlock()
		return fmt.Errorf("no service %q", name)
	}
	delete(s.running, name)
	if v.stopped = true; v.process != nil {
		v.process.Signal(syscall.SIGTERM)
	}
	s.mu.Unlock()
	<-v.done
	return nil
}

// do does what a test asks for.
func (s *services) do(q steer.Request) (a steer.Answer, err error) {
	switch q.Op {
	case steer.Ping:
	case steer.Run:
		return run(q.Argv)
	case steer.Service:
		s.start(q.Name, q.Argv)
	case steer.Stop:
		err = s.stop(q.Name)
	case steer.Signal:
		a.Code, err = s.signal(q.Name, q.Signal)
	case steer.Kill:
		err = unix.Kill(q.PID, q.Signal)
	case steer.Await:
		a.At, err = await(q.Path, q.Data, q.For)
	case steer.Fifo:
		os.Remove(q.Path)
		err = unix.Mkfifo(q.Path, 0o600)
	case steer.PID:
		a.Code, err = s.signal(q.Name, 0)
	case steer.Read:
		a.Data, err = os.ReadFile(q.Path)
	case steer.Drive:
		err = drive(q.Steps)
	case steer.Mkdir:
		err = os.MkdirAll(q.Path, 0o755)
	case steer.Glob:
		a.Paths, err = filepath.Glob(q.Path)
	case steer.Play:
		err = play(q.Path, q.Data)
	case steer.Record:
		a.Data, err = record(q.Path, q.For)
	case steer.PowerOff:
		unix.Sync()
		err = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	default:
		err = fmt.Errorf("no op %q", q.Op)
	}
	return a, err
}

// run runs a program to its end.
func run(argv []string) (a steer.Answer, err error) {
	var out, errOut bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		err = nil
	}
	if err == nil {
		a.Code = cmd.ProcessState.ExitCode()
	}
	a.Stdout, a.Stderr = out.String(), errOut.String()
	return a, err
}

// await waits until a file holds a text, and gives the time.
func await(path string, text []byte, limit time.Duration) (time.Duration, error) {
	for end := time.Now().Add(limit); ; time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(path)
		if err == nil && bytes.Contains(b, text) {
			var now unix.Timespec
			err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
			return time.Duration(now.Nano()), err
		}
		if time.Now().After(end) {
			return 0, fmt.Errorf("%s does not hold %q after %s: %w", path, text, limit, err)
		}
	}
}

// drive does the steps in time, counted from the first: what a step takes does not delay those after it.
func drive(steps []steer.Step) error {
	at := time.Now()
	for _, step := range steps {
		at = at.Add(step.After)
		time.Sleep(time.Until(at))
		f, err := os.OpenFile(step.Path, os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		_, err = f.Write(step.Data)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}
