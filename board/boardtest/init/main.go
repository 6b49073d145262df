//go:build linux

// Init is process 1 of an emulated board: it reaps orphans, and has a process of itself that mounts, loads modules, brings the network up, runs the services that it was
// given, and does what a test asks for on a serial port. There is no shell.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"sidetone/board/boardtest/steer"

	"golang.org/x/sys/unix"
)

func main() {
	if os.Getpid() == 1 {
		fmt.Println("init:", reap())
		time.Sleep(time.Second) // the console is slow
		unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	}
	fmt.Println("init:", boot())
}

// reap starts this program again, which does the work, and waits for all that end: as process 1, for orphans too. It
// returns when that which works has ended.
func reap() error {
	worker, err := os.StartProcess(os.Args[0], os.Args, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return err
	}
	for {
		switch pid, err := unix.Wait4(-1, nil, 0, nil); {
		case err != nil && !errors.Is(err, unix.EINTR):
			return err
		case pid == worker.Pid:
			return errors.New("it has ended")
		}
	}
}

func boot() error {
	if err := mount(); err != nil {
		return err
	}
	if err := loadModules("/modules"); err != nil {
		return err
	}
	if err := network("eth0"); err != nil {
		return err
	}
	if err := trace(); err != nil {
		return err
	}
	var lines []string
	if err := readJSON(steer.LinesFile, &lines); err != nil {
		return err
	}
	if err := simulate(lines); err != nil {
		return err
	}
	s := &services{running: map[string]*service{}}
	var first map[string][]string
	if err := readJSON(steer.ServicesFile, &first); err != nil {
		return err
	}
	for name, argv := range first {
		s.start(name, argv)
	}
	return serve(s)
}

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// simulate makes a GPIO chip with lines of these names.
func simulate(lines []string) error {
	bank := steer.ChipDir + "/bank0"
	files := [][2]string{{bank + "/label", steer.Chip}, {bank + "/num_lines", strconv.Itoa(len(lines))}}
	for i, name := range lines {
		files = append(files, [2]string{fmt.Sprintf("%s/line%d/name", bank, i), name})
	}
	for _, f := range append(files, [2]string{steer.ChipDir + "/live", "1"}) {
		if err := os.MkdirAll(filepath.Dir(f[0]), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(f[0], []byte(f[1]), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// mount makes the file systems that programs expect.
func mount() error {
	for _, m := range []struct{ kind, where string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/run"}, {"tracefs", steer.Tracing},
	} {
		if err := os.MkdirAll(m.where, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.where, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m.where, err)
		}
	}
	return nil
}

// trace has the kernel note each level that a GPIO line is given, with the monotonic time.
func trace() error {
	return errors.Join(
		os.WriteFile(steer.Tracing+"/trace_clock", []byte("mono"), 0),
		os.WriteFile(steer.Tracing+"/events/gpio/gpio_value/enable", []byte("1"), 0),
	)
}

// loadModules loads what the file order in dir names, a module and its parameters a line.
func loadModules(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "order"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		name, params, _ := strings.Cut(strings.TrimSpace(line), " ")
		f, err := os.Open(filepath.Join(dir, name+".ko"))
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), params, 0)
		f.Close()
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
	}
	const configfs = "/sys/kernel/config" // there once its module is
	if err := unix.Mount("configfs", configfs, "configfs", 0, ""); err != nil {
		return fmt.Errorf("mounting %s: %w", configfs, err)
	}
	return nil
}

// port waits for the serial port of the test.
func port() (*os.File, error) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
		for _, name := range names {
			if b, _ := os.ReadFile(name); strings.TrimSpace(string(b)) == steer.Port {
				return os.OpenFile(filepath.Join("/dev", filepath.Base(filepath.Dir(name))), os.O_RDWR, 0)
			}
		}
	}
	return nil, fmt.Errorf("there is no serial port %s", steer.Port)
}

// serve does what it is asked, each request in a goroutine of its own.
func serve(s *services) error {
	f, err := port()
	if err != nil {
		return err
	}
	var mu sync.Mutex
	out := json.NewEncoder(f)
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		if err != nil { // nobody is connected at the other end
			time.Sleep(50 * time.Millisecond)
			continue
		}
		var q steer.Request
		if err := json.Unmarshal(line, &q); err != nil {
			return fmt.Errorf("request %q: %w", line, err)
		}
		go func() {
			a, err := s.do(q)
			if a.ID = q.ID; err != nil {
				a.Err = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			if err := out.Encode(a); err != nil {
				fmt.Println("init: answering:", err)
			}
		}()
	}
}
