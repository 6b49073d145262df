package boardtest

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"sidetone/board/boardtest/steer"
)

// machineType is what QEMU plays, which decides on the device tree that it makes.
var machineType = []string{"-M", "virt", "-cpu", "cortex-a53", "-m", "512", "-smp", "2"}

// emulator is a QEMU that plays an arm64 board with a network and a watchdog.
type emulator struct {
	Began time.Time // when QEMU was started

	t       testing.TB
	console string
	cmd     *exec.Cmd
	said    strings.Builder
	done    chan struct{} // closed when QEMU is gone
}

// power starts QEMU, with more arguments; console is the file for what the board's serial line says.
func power(t testing.TB, console string, args ...string) *emulator {
	t.Helper()
	e := &emulator{t: t, console: console, done: make(chan struct{})}
	e.cmd = exec.Command("qemu-system-aarch64", append(append(machineType[:len(machineType):len(machineType)],
		"-accel", "tcg,thread=multi", "-display", "none", "-nodefaults", "-serial", "file:"+console,
		"-netdev", "user,id=net,net="+steer.Network, "-device", "virtio-net-pci,netdev=net,romfile=",
		"-device", "i6300esb", "-action", "watchdog=reset"), args...)...)
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	e.cmd.Stdout, e.cmd.Stderr = &e.said, &e.said
	e.Began = time.Now()
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(e.done)
		e.cmd.Wait()
	}()
	return e
}

// dial connects to a socket of QEMU's, which may not be there yet.
func (e *emulator) dial(path string) net.Conn {
	e.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("unix", path)
		if err == nil {
			return c
		}
		select {
		case <-e.done:
			e.t.Fatal("QEMU has ended")
		default:
		}
		if time.Now().After(end) {
			e.t.Fatal(err)
		}
	}
}

// end has QEMU go in order, which closes its files.
func (e *emulator) end() {
	e.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-e.done:
	case <-time.After(10 * time.Second):
		e.t.Error("QEMU does not end at SIGTERM")
		e.cmd.Process.Kill()
		<-e.done
	}
	if e.t.Failed() {
		e.t.Logf("QEMU says:\n%s\nconsole:\n%s", &e.said, e.Console())
	}
}

// Console is what the board wrote to its console so far.
func (e *emulator) Console() string {
	b, _ := os.ReadFile(e.console)
	return string(b)
}
