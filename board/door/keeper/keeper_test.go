package keeper

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

// TestMain lets this program be the keeper, and the appliance that starts one, in processes that tests may kill.
func TestMain(m *testing.M) {
	switch os.Getenv("SIDETONE_KEEPER_TEST") {
	case "keeper":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := Serve(ctx, os.NewFile(FD, "conn"), Kernel); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case "parent":
		parent()
	}
	goleak.VerifyTestMain(m)
}

// role is this program as something else. A keeper writes its id into pidFile.
func role(name string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "SIDETONE_KEEPER_TEST="+name)
	cmd.Stderr = os.Stderr
	return cmd
}

// parent is an appliance that opens the door for a minute and then does nothing. It prints its keeper's id.
func parent() {
	var cmd *exec.Cmd
	s := NewSupervisor(doors(os.Args[1]), func() *exec.Cmd { cmd = role("keeper"); return cmd }, slog.New(slog.DiscardHandler))
	go s.Run(context.Background())
	for errors.Is(<-s.Pulse("strike", time.Minute), errAway) {
		time.Sleep(time.Millisecond)
	}
	if err := errors.Join(<-s.Pulse("low", time.Minute), <-s.Pulse("magnet", time.Minute)); err != nil {
		panic(err)
	}
	fmt.Println(cmd.Process.Pid)
	select {}
}

// doors are one of each kind, with files for lines: these keep their level whatever becomes of who wrote it.
func doors(dir string) []Relay {
	line := func(name string) string { return file + filepath.Join(dir, name) }
	return []Relay{
		{Name: "strike", Line: line("strike"), MaxOn: time.Hour},
		{Name: "low", Line: line("low"), ActiveLow: true, MaxOn: time.Hour},
		{Name: "magnet", Line: line("magnet"), FailSafe: true, MaxOn: time.Hour},
		{Name: "magnet-low", Line: line("magnet-low"), FailSafe: true, ActiveLow: true, MaxOn: time.Hour},
	}
}

// Levels of doors.
const (
	locked = "0 1 1 0"
	opened = "1 0 0 0" // but for the last
)

func levels(dir string) string {
	var all []string
	for _, r := range doors(dir) {
		b, err := os.ReadFile(strings.TrimPrefix(r.Line, file))
		if err != nil {
			return err.Error()
		}
		all = append(all, strings.TrimSpace(string(b)))
	}
	return strings.Join(all, " ")
}

// eventually waits for something that must come; how long says nothing about it.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not come to: %s", what)
		}
	}
}

// openDoor brings up a parent that has opened all, in mid-pulse.
func openDoor(t *testing.T) (dir string, parent *exec.Cmd, keeper int) {
	t.Helper()
	dir = t.TempDir()
	parent = role("parent")
	parent.Args = append(parent.Args, dir)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		parent.Process.Kill()
		parent.Wait()
		eventually(t, "locked in the end", func() bool { return levels(dir) == locked })
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if keeper, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		t.Fatal(err)
	}
	if got := levels(dir); got != opened {
		t.Fatalf("the levels are %s, want %s", got, opened)
	}
	return dir, parent, keeper
}

func gone(pid int) func() bool {
	return func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
}

func TestKillingTheParentInMidPulseLocks(t *testing.T) {
	dir, parent, keeper := openDoor(t)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	parent.Wait()
	eventually(t, "locked", func() bool { return levels(dir) == locked })
	eventually(t, "the keeper ends", gone(keeper))
}

func TestKillingTheKeeperInMidPulseLocks(t *testing.T) {
	dir, _, keeper := openDoor(t)
	if err := syscall.Kill(keeper, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "locked", func() bool { return levels(dir) == locked })
}

func TestEndingTheKeeperInMidPulseLocks(t *testing.T) {
	dir, _, keeper := openDoor(t)
	if err := syscall.Kill(keeper, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "locked", func() bool { return levels(dir) == locked })
}

// Both die at once, the parent first held so that it cannot help: nobody is left but init.
func TestSafeLocksWhenBothAreGone(t *testing.T) {
	dir, parent, keeper := openDoor(t)
	for _, pid := range []int{parent.Process.Pid, keeper} {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	for _, pid := range []int{keeper, parent.Process.Pid} {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	parent.Wait()
	eventually(t, "the keeper ends", gone(keeper))
	if got := levels(dir); got != opened {
		t.Fatalf("the levels are %s: these lines were to keep theirs", got)
	}
	if err := Safe(doors(dir), Kernel); err != nil {
		t.Fatal(err)
	}
	if got := levels(dir); got != locked {
		t.Errorf("the levels are %s, want %s", got, locked)
	}
}

// A keeper that hangs in mid-pulse is killed when the pulse should be over.
func TestKeeperThatHangsInMidPulse(t *testing.T) {
	dir := t.TempDir()
	pids := make(chan int, 8)
	var cmd *exec.Cmd
	s := NewSupervisor(doors(dir), func() *exec.Cmd { cmd = role("keeper"); return cmd }, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	defer func() { cancel(); <-done }()
	eventually(t, "a pulse", func() bool { return <-s.Pulse("strike", 2*time.Second) == nil })
	pids <- cmd.Process.Pid
	if err := syscall.Kill(<-pids, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "locked", func() bool { return levels(dir) == locked })
	// And the next one serves.
	eventually(t, "another pulse", func() bool { return <-s.Pulse("strike", time.Minute) == nil })
	if err := <-s.Safe(); err != nil || levels(dir) != locked {
		t.Errorf("safe: %v, %s", err, levels(dir))
	}
	if err := <-s.Pulse("cellar", time.Second); err == nil || !strings.Contains(err.Error(), `there is no relay "cellar"`) {
		t.Errorf("%v", err)
	}
}

func TestSupervisorEndsInOrder(t *testing.T) {
	dir := t.TempDir()
	s := NewSupervisor(doors(dir), func() *exec.Cmd { return role("keeper") }, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	eventually(t, "a pulse", func() bool { return <-s.Pulse("magnet", time.Minute) == nil })
	cancel()
	<-done
	if got := levels(dir); got != locked {
		t.Errorf("the levels are %s, want %s", got, locked)
	}
}

func TestKeeperThatCannotBeStarted(t *testing.T) {
	s := NewSupervisor(nil, func() *exec.Cmd { return exec.Command("/nonexistent/keeper") }, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	if err := <-s.Pulse("door", time.Second); !errors.Is(err, errAway) {
		t.Errorf("%v", err)
	}
	cancel()
	<-done
}

// wire is a line that notes what happens to it, and keeps its level when it is let go.
type wire struct {
	mu   sync.Mutex
	log  []string
	fail bool
}

func (w *wire) note(format string, args ...any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf(format, args...))
	if w.fail && format == "set %v" {
		return errors.New("no such wire")
	}
	return nil
}

func (w *wire) Set(on bool) error { return w.note("set %v", on) }
func (w *wire) Close() error      { return w.note("closed") }

// serve runs a keeper of one relay in virtual time; what it is told and says goes through conn.
func serve(t *testing.T, w *wire, r Relay, told func(ask func(request) string)) (err error) {
	ours, theirs := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer theirs.Close()
		err = Serve(t.Context(), theirs, func(_ Relay, on bool) (Output, error) { return w, w.note("open %v", on) })
	}()
	out := bufio.NewReader(ours)
	id := 0
	ask := func(q request) string {
		id++
		q.ID = id
		b := fmt.Sprintf(`{"id":%d,"relay":%q,"for":%d,"safe":%v}`, q.ID, q.Relay, q.For, q.Safe)
		if q.Relays != nil {
			b = fmt.Sprintf(`{"id":%d,"relays":[{"Name":%q,"FailSafe":%v,"MaxOn":%d}]}`, q.ID, r.Name, r.FailSafe, r.MaxOn)
		}
		if _, err := ours.Write([]byte(b)); err != nil {
			return err.Error()
		}
		line, err := out.ReadString('\n')
		if err != nil {
			return err.Error()
		}
		return strings.TrimSpace(line)
	}
	told(ask)
	ours.Close()
	<-ended
	return err
}

func TestServeEndsEachPulseInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		begin := time.Now()
		stamp := func() { w.note("%s", time.Since(begin)) }
		err := serve(t, w, Relay{Name: "door", MaxOn: 10 * time.Second}, func(ask func(request) string) {
			ask(request{Relays: []Relay{{}}})
			ask(request{Relay: "door", For: 3 * time.Second})
			time.Sleep(3*time.Second - 1)
			synctest.Wait()
			stamp()
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			stamp()
			// Asked for again and again it stays open, for 10 s.
			for range 7 {
				ask(request{Relay: "door", For: 3 * time.Second})
				time.Sleep(1500 * time.Millisecond)
				synctest.Wait()
			}
			stamp()
			ask(request{Relay: "door", For: 3 * time.Second})
			ask(request{Safe: true})
			stamp()
			if got := ask(request{}); got != `{"id":12}` {
				t.Error(got)
			}
		})
		if err != nil {
			t.Error(err)
		}
		want := "open false,set true,2.999999999s,set false,3s," + "set true,set true,set true,set true,set true,set true,set true,set false,13.5s,set true,set false,13.5s,set false,closed"
		if got := strings.Join(w.log, ","); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

func TestServeLocksBeforeItLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		err := serve(t, w, Relay{Name: "door", MaxOn: time.Minute, FailSafe: true}, func(ask func(request) string) {
			ask(request{Relays: []Relay{{}}})
			ask(request{Relay: "door", For: time.Hour})
		})
		if got, want := strings.Join(w.log, ","), "open true,set false,set true,closed"; err != nil || got != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	})
}

func TestServeEndsWithALineThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{fail: true}
		err := serve(t, w, Relay{Name: "door", MaxOn: time.Minute}, func(ask func(request) string) {
			ask(request{Relays: []Relay{{}}})
			if got := ask(request{Relay: "door", For: time.Second}); !strings.Contains(got, "relay door: no such wire") {
				t.Error(got)
			}
		})
		if err == nil || !strings.Contains(err.Error(), "relay door: no such wire") {
			t.Errorf("%v", err)
		}
	})
}

func TestLinesThatDoNotOpen(t *testing.T) {
	w := &wire{}
	err := Safe([]Relay{{Name: "a"}, {Name: "b", FailSafe: true}}, func(r Relay, on bool) (Output, error) {
		if r.Name == "a" {
			return nil, errors.New("it is in use")
		}
		return w, w.note("open %v", on)
	})
	if err == nil || err.Error() != "relay a: it is in use" {
		t.Errorf("%v", err)
	}
	if got, want := strings.Join(w.log, ","), "open true,set true,closed"; got != want {
		t.Errorf("the other one: %s, want %s", got, want)
	}
	if _, err := Kernel(Relay{Line: file + "/nonexistent/x"}, false); err == nil {
		t.Error("a file that cannot be")
	}
}
