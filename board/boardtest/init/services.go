//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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

// play plays s16 samples under that name, over and over.
func (s *services) play(name, path string, data []byte) error {
	samples := make([]int16, len(data)/2)
	if _, err := binary.Decode(data, binary.LittleEndian, samples); err != nil {
		return err
	}
	pcm, err := openPCM(path, os.O_WRONLY)
	if err != nil {
		return err
	}
	v := &service{done: make(chan struct{})}
	s.mu.Lock()
	s.running[name] = v
	s.mu.Unlock()
	stopped := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return v.stopped
	}
	go func() {
		defer close(v.done)
		defer pcm.Close()
		for !stopped() {
			if err := transfer(pcm, ioctlWriteI, samples); err != nil {
				fmt.Printf("init: playing %s: %v\n", name, err)
				return
			}
		}
	}()
	return nil
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
		a.At, a.Late, err = drive(q.Steps)
	case steer.Mkdir:
		err = os.MkdirAll(q.Path, 0o755)
	case steer.Glob:
		a.Paths, err = filepath.Glob(q.Path)
	case steer.Play:
		err = s.play(q.Name, q.Path, q.Data)
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
			return monotonic()
		}
		if time.Now().After(end) {
			return 0, fmt.Errorf("%s does not hold %q after %s: %w", path, text, limit, err)
		}
	}
}

// monotonic is the time by the clock that the kernel stamps edges and traces with.
func monotonic() (time.Duration, error) {
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return time.Duration(now.Nano()), err
}

// drive does the steps in time, counted from the first, and says by how much the worst of them came late: what a step
// takes does not delay those after it, and nothing on the board comes before it. Short waits it spends awake: who sleeps
// on a board that is emulated waits for a busy machine to let the board go on.
func drive(steps []steer.Step) (at, late time.Duration, err error) {
	runtime.LockOSThread() // for good: the thread ends with the goroutine
	err = unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: 1}, 0)
	if err != nil {
		return 0, 0, fmt.Errorf("real-time priority: %w", err)
	}
	if at, err = monotonic(); err != nil {
		return 0, 0, err
	}
	const awake = 2 * time.Millisecond
	due := at
	for _, step := range steps {
		due += step.After
		if err := waitUntil(due, step.After <= awake); err != nil {
			return 0, 0, err
		}
		f, err := os.OpenFile(step.Path, os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return 0, 0, err
		}
		_, err = f.Write(step.Data)
		if err := errors.Join(err, f.Close()); err != nil {
			return 0, 0, err
		}
		now, err := monotonic()
		if err != nil {
			return 0, 0, err
		}
		late = max(late, now-due)
	}
	return at, late, nil
}

// waitUntil waits for a time by the monotonic clock, awake or asleep.
func waitUntil(due time.Duration, awake bool) error {
	for {
		now, err := monotonic()
		if err != nil || now >= due {
			return err
		}
		if !awake {
			until := unix.NsecToTimespec(int64(due))
			if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &until, nil); err != nil && err != unix.EINTR {
				return err
			}
		}
	}
}
