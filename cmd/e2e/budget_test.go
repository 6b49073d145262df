package e2e_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a device may take, in kB of /proc. The budget of a board is 25 MB; on this machine's processor a program has more
// code, and its C libraries are shared ones here.
const residentMost = 30_000

// TestResident holds how much memory a device takes in a call.
func TestResident(t *testing.T) {
	l := startLab(t)
	p := startEnv(t, nil, "sidetone", "call", "--config", l.Devices["door1"], "--in", speech, "--out", filepath.Join(t.TempDir(), "heard.wav"), "--json", "echo")
	for measured := 0; measured < 4; { // one a second
		if strings.Contains(p.line(t, 30*time.Second), `"event":"stats"`) {
			measured++
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Skip("this system tells nothing of a program's memory: ", err)
	}
	for _, part := range []string{"RssAnon", "RssFile", "VmHWM"} {
		kB := number(t, string(status), part+":")
		t.Logf("%s %d kB", part, kB)
		if part == "VmHWM" && (kB == 0 || kB > residentMost) {
			t.Errorf("at most %d kB were resident, want no more than %d", kB, residentMost)
		}
	}
}

// number is the one behind key in a file of /proc.
func number(t *testing.T, text, key string) int {
	t.Helper()
	_, rest, _ := strings.Cut(text, "\n"+key)
	if words := strings.Fields(rest); len(words) > 0 {
		if n, err := strconv.Atoi(words[0]); err == nil {
			return n
		}
	}
	t.Fatalf("no number %s in\n%s", key, text)
	return 0
}

// TestIdleWritesNothing holds that a device that waits for a press leaves its storage alone: it has no change below its
// state directory, nor does the kernel count a write for it. The report of a call shows that changes would be seen.
func TestIdleWritesNothing(t *testing.T) {
	l := startLab(t)
	config := l.Devices["door1"]
	p := start(t, "sidetone", "run", "--config", config)
	ready(t, config)
	state := filepath.Join(filepath.Dir(config), "devices", "door1", "state")
	time.Sleep(3 * time.Second) // what a start leaves behind is written
	changed := watchTree(t, state)
	before := written(t, p)
	time.Sleep(20 * time.Second)
	if names := changed(); len(names) > 0 {
		t.Errorf("while idle it changed %q below %s", names, state)
	}
	if n := written(t, p) - before; n != 0 {
		t.Errorf("while idle it wrote %d bytes to storage", n)
	}
	r := run(t, 30*time.Second, nil, "sidetone", "call", "--config", config, "--for", "2s", "echo")
	if names := changed(); len(names) == 0 {
		t.Errorf("no change was seen when a call ended with its report; exit %d\n%s", r.code, r.err)
	}
}

// ready waits until a device's line is registered.
func ready(t *testing.T, config string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		r := run(t, 30*time.Second, nil, "sidetone", "status", "--config", config)
		if r.code == 0 && strings.Contains(r.out, "registered") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the device does not register: %s%s", r.out, r.err)
		}
	}
}

// written is what the kernel counted as sent to storage for p, in bytes.
func written(t *testing.T, p *process) int {
	t.Helper()
	io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", p.cmd.Process.Pid))
	if err != nil {
		t.Log("the kernel does not count what a program writes: ", err)
		return 0
	}
	return number(t, string(io), "write_bytes:")
}

// watchTree watches all directories from root down; changed names what changed since it was asked last.
func watchTree(t *testing.T, root string) (changed func() []string) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_, err = unix.InotifyAddWatch(fd, path, unix.IN_MODIFY|unix.IN_ATTRIB|unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVE)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() (names []string) {
		buf := make([]byte, 64<<10)
		n, _ := unix.Read(fd, buf)
		for b := buf[:max(n, 0)]; len(b) >= unix.SizeofInotifyEvent; {
			size := int(b[12]) | int(b[13])<<8 // of the name, behind what the event has before it
			names = append(names, strings.TrimRight(string(b[unix.SizeofInotifyEvent:][:size]), "\x00"))
			b = b[unix.SizeofInotifyEvent+size:]
		}
		return names
	}
}
