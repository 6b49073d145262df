// Package boardtest boots the firmware on a real arm64 kernel in QEMU: a board with buttons, LEDs and relays (gpio-sim), a
// loopback card and a USB loudspeaker, and a watchdog, steered by the test.
package boardtest

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/board/boardtest/steer"
)

// Program is where the firmware is on the board.
const Program = "/sidetone"

// Options say what a board boots with.
type Options struct {
	Kernel   string              // the directory that buildroot/board.sh made
	Firmware string              // the arm64 program, which is Program there
	Modules  []string            // kernel modules besides those of the machine itself, each with parameters after a space
	Lines    []string            // of the simulated GPIO chip, whose label is steer.Chip
	Files    map[string][]byte   // by their paths on the board
	Services map[string][]string // command lines to keep running from the start, by name
}

// basics are the modules without which the board cannot be reached.
var basics = []string{"virtio_pci", "virtio_net", "virtio_console", "configfs", "gpio-simulator"}

// Machine is a board that runs. It ends with its test.
type Machine struct {
	*emulator
	Sound string // the file with what the USB loudspeaker plays: a header of 44 bytes, s16 stereo at 48 kHz

	steer   net.Conn
	mu      sync.Mutex
	last    int
	answers map[int]chan steer.Answer

	*monitor
}

// Boot starts a board and waits until it answers.
func Boot(t testing.TB, o Options) *Machine {
	t.Helper()
	dir := t.TempDir()
	m := &Machine{Sound: filepath.Join(dir, "usb.wav"), answers: map[int]chan steer.Answer{}}
	initramfs := filepath.Join(dir, "initramfs")
	if err := os.WriteFile(initramfs, o.archive(t, dir), 0o644); err != nil {
		t.Fatal(err)
	}
	steerAt, qmpAt := filepath.Join(dir, "steer"), filepath.Join(dir, "qmp")
	m.emulator = power(t, filepath.Join(dir, "console"),
		"-kernel", filepath.Join(o.Kernel, "vmlinuz"), "-initrd", initramfs,
		"-append", "console=ttyAMA0 rdinit=/init panic=-1 loglevel=4", "-qmp", "unix:"+qmpAt+",server=on,wait=off",
		"-chardev", "socket,id=steer,server=on,wait=off,path="+steerAt,
		"-device", "virtio-serial-pci", "-device", "virtserialport,chardev=steer,name="+steer.Port,
		"-audiodev", "wav,id=speaker,out.frequency=48000,path="+m.Sound, "-device", "qemu-xhci,id=usb")
	t.Cleanup(func() {
		if m.monitor != nil {
			m.hasNotBarked("the test")
		}
		m.end()
		if m.steer != nil {
			m.steer.Close()
		}
		if m.monitor != nil {
			m.monitor.conn.Close()
		}
	})
	m.monitor = m.openMonitor(qmpAt)
	m.PlugUSB()
	m.steer = m.dial(steerAt)
	go m.listen()
	m.Do(2*time.Minute, steer.Request{Op: steer.Ping})
	return m
}

// archive makes the initramfs.
func (o Options) archive(t testing.TB, dir string) []byte {
	t.Helper()
	files, err := modules(filepath.Join(o.Kernel, "modules"), append(basics, o.Modules...))
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "init")
	build := exec.Command("go", "build", "-o", program, "sidetone/board/boardtest/init")
	build.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building init: %v\n%s", err, out)
	}
	for in, file := range map[string]string{"/init": program, Program: o.Firmware} {
		if files[in], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range o.Files {
		files[name] = data
	}
	for name, what := range map[string]any{steer.ServicesFile: o.Services, steer.LinesFile: o.Lines} {
		if files[name], err = json.Marshal(what); err != nil {
			t.Fatal(err)
		}
	}
	return archive(files)
}

// listen hands answers to who waits for them.
func (m *Machine) listen() {
	for d := json.NewDecoder(bufio.NewReader(m.steer)); ; {
		var a steer.Answer
		if d.Decode(&a) != nil {
			return
		}
		m.mu.Lock()
		c := m.answers[a.ID]
		delete(m.answers, a.ID)
		m.mu.Unlock()
		if c != nil {
			c <- a
		}
	}
}

// Ask sends a request; its answer comes by the channel.
func (m *Machine) Ask(q steer.Request) <-chan steer.Answer {
	m.t.Helper()
	c := make(chan steer.Answer, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	q.ID = m.last
	m.answers[q.ID] = c
	b, err := json.Marshal(q)
	if err == nil {
		_, err = m.steer.Write(append(b, '\n'))
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return c
}

// Do sends a request and gives its answer, which must be no error.
func (m *Machine) Do(limit time.Duration, q steer.Request) steer.Answer {
	m.t.Helper()
	return m.Await(limit, q.Op, m.Ask(q))
}

// Await gives the answer to an earlier request, which must be no error.
func (m *Machine) Await(limit time.Duration, what string, answer <-chan steer.Answer) steer.Answer {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), limit)
	defer cancel()
	select {
	case a := <-answer:
		if a.Err != "" {
			m.t.Fatalf("board: %s: %s", what, a.Err)
		}
		return a
	case <-m.done:
		m.t.Fatalf("board: %s: QEMU has ended", what)
	case <-m.barked:
		m.t.Fatalf("board: %s: %s", what, starved)
	case <-ctx.Done():
		m.t.Fatalf("board: no answer to %s within %s", what, limit)
	}
	return steer.Answer{}
}

// Run runs the firmware with these arguments to its end.
func (m *Machine) Run(limit time.Duration, args ...string) steer.Answer {
	m.t.Helper()
	return m.Do(limit, steer.Request{Op: steer.Run, Argv: append([]string{Program}, args...)})
}

// Must runs the firmware, which must not fail, and gives what it prints.
func (m *Machine) Must(limit time.Duration, args ...string) string {
	m.t.Helper()
	a := m.Run(limit, args...)
	if a.Code != 0 {
		m.t.Fatalf("board: %v: exit %d\n%s%s", args, a.Code, a.Stdout, a.Stderr)
	}
	return a.Stdout
}

// Read gives the text of a file on the board, without the newline at its end.
func (m *Machine) Read(path string) string {
	m.t.Helper()
	return strings.TrimSuffix(string(m.Do(time.Minute, steer.Request{Op: steer.Read, Path: path}).Data), "\n")
}

// Write writes text to a file on the board.
func (m *Machine) Write(path, text string) {
	m.t.Helper()
	m.Do(time.Minute, steer.Request{Op: steer.Drive, Steps: []steer.Step{{Path: path, Data: []byte(text)}}})
}

// Line is the directory in sysfs of a line of the simulated chip, by its number: its file "pull" drives an input
// ("pull-up", "pull-down"), its file "value" tells an output's level.
func (m *Machine) Line(number int) string {
	m.t.Helper()
	return fmt.Sprintf("/sys/devices/platform/%s/%s/sim_gpio%d",
		m.Read(steer.ChipDir+"/dev_name"), m.Read(steer.ChipDir+"/bank0/chip_name"), number)
}

// Resident is the resident memory of a service, in bytes.
func (m *Machine) Resident(service string) int {
	m.t.Helper()
	pid := m.Do(time.Minute, steer.Request{Op: steer.PID, Name: service}).Code
	for line := range strings.Lines(m.Read(fmt.Sprintf("/proc/%d/status", pid))) {
		var kB int
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kB); n == 1 {
			return kB << 10
		}
	}
	m.t.Fatalf("no VmRSS of %s", service)
	return 0
}

// Playback is what the USB loudspeaker played so far: its left side.
func (m *Machine) Playback() []int16 {
	m.t.Helper()
	b, err := os.ReadFile(m.Sound)
	if err != nil {
		m.t.Fatal(err)
	}
	const header, frame = 44, 4
	var pcm []int16
	for at := header; at+frame <= len(b); at += frame {
		pcm = append(pcm, int16(binary.LittleEndian.Uint16(b[at:])))
	}
	return pcm
}

// USBCard is QEMU's name of the USB loudspeaker, for its monitor.
const USBCard = "usbcard"

// PlugUSB plugs the USB loudspeaker in, which is plugged in from the start.
func (m *Machine) PlugUSB() {
	m.t.Helper()
	m.Monitor("device_add", map[string]any{"driver": "usb-audio", "id": USBCard, "audiodev": "speaker"})
}
