//go:build board

package e2e_test

import (
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sidetone/board/boardtest"
	"sidetone/board/boardtest/steer"
	"sidetone/board/indicator"
)

// lines of the simulated GPIO chip. When somebody lets go of an output of gpio-sim, it has the level to which it is pulled.
var lines = []string{"CALL", "LED", "FREE", "RESET", "DOOR", "GATE", "YARD"}

const (
	callLine = iota
	ledLine
	freeLine
	resetLine
	doorLine
	gateLine
	yardLine
)

const (
	doorPulse = 500 * time.Millisecond
	longPulse = 30 * time.Second // time enough to kill something in it, on a busy machine too
	doorCode  = "4711"
)

// wiring is the part of the board's config that says what is at its lines.
func wiring(codeFile string) string {
	return fmt.Sprintf(`
[board]
watchdog = "/dev/watchdog"
watchdog_timeout = "12s" # fed each 4 s: a machine with other work holds the board up for longer than a board is

[board.led]
line = %q

[[buttons]]
name = "back"
line = %q
press = "hangup"
hold = "reset"

[[door.relays]]
name = "door"
line = %q
pulse = %q

[[door.relays]]
name = "gate"
line = %q
active_low = true
pulse = %q

[[door.relays]]
name = "yard"
line = %q
pulse = %[6]q

[[door.codes]]
name = "neighbour"
relay = "door"
code_file = %[8]q
ways = ["dtmf"]
`, lines[ledLine], lines[resetLine], lines[doorLine], doorPulse, lines[gateLine], longPulse, lines[yardLine], codeFile)
}

// change is a level that a line was given, at a time by the board's monotonic clock.
type change struct {
	at    time.Duration
	level int
}

// traced is a line of the kernel's trace about an output.
var traced = regexp.MustCompile(`(?m) (\d+\.\d+): gpio_value: (\d+) set (\d)$`)

// changes are the levels that an output was given since then, in order.
func (b *emulated) changes(t *testing.T, line int, since time.Duration) (all []change) {
	t.Helper()
	if b.base < 0 {
		b.base = b.chipBase(t)
	}
	for _, m := range traced.FindAllStringSubmatch(b.Read(steer.Tracing+"/trace"), -1) {
		at, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		c := change{time.Duration(at * float64(time.Second)), int(m[3][0] - '0')}
		if m[2] == strconv.Itoa(b.base+line) && c.at >= since && (len(all) == 0 || all[len(all)-1].level != c.level) {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b change) int { return int(a.at - b.at) })
	return all
}

// chipBase is the kernel's own number of the simulated chip's first line.
func (b *emulated) chipBase(t *testing.T) int {
	t.Helper()
	for _, dir := range b.Do(boardPatience, steer.Request{Op: steer.Glob, Path: "/sys/class/gpio/gpiochip*"}).Paths {
		if b.Read(dir+"/label") == steer.Chip {
			n, err := strconv.Atoi(b.Read(dir + "/base"))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no chip %s in /sys/class/gpio", steer.Chip)
	return 0
}

// now is the board's monotonic clock.
func (b *emulated) now() time.Duration { return b.await("/proc/uptime", "") }

// await waits until a file on the board has a text, and gives the time by the board's monotonic clock.
func (b *emulated) await(path, text string) time.Duration {
	return b.Do(2*boardPatience, steer.Request{Op: steer.Await, Path: path, Data: []byte(text), For: boardPatience}).At
}

// level is what a line has now: "0" or "1".
func (b *emulated) level(line int) string { return b.Read(b.Line(line) + "/value") }

// blinked gives the first whole period of a pattern that blinks among changes of the lamp: how long it was lit, of how long.
func blinked(p indicator.Pattern, seen []change) (lit, period time.Duration, ok bool) {
	wanted := p.Period * time.Duration(p.Duty) / 100
	near := func(took, want time.Duration) bool {
		return (took - want).Abs() <= max(p.Period/12, 30*time.Millisecond)
	}
	for i := range max(0, len(seen)-2) {
		on, off, again := seen[i], seen[i+1], seen[i+2]
		if lit, period = off.at-on.at, again.at-on.at; on.level == 1 && near(lit, wanted) && near(period-lit, p.Period-wanted) {
			return lit, period, true
		}
	}
	return 0, 0, false
}

// shows waits until the lamp has shown a pattern that stays, since then: a whole period of one that blinks, the last 2 s of
// one that does not. What the machine's other work blurs comes again.
func (b *emulated) shows(t *testing.T, since time.Duration, p indicator.Pattern) {
	t.Helper()
	var seen []change
	defer func() {
		if t.Failed() {
			t.Logf("the lamp since %s: %v", since, seen)
		}
	}()
	eventually(t, boardPatience, "the lamp shows: "+p.String(), func() bool {
		time.Sleep(200 * time.Millisecond) // the board has little time for being looked at
		now := b.now()
		seen = b.changes(t, ledLine, since)
		if p.Period == 0 {
			return len(seen) > 0 && seen[len(seen)-1].level == 1 && now-seen[len(seen)-1].at > 2*time.Second
		}
		lit, period, ok := blinked(p, seen)
		if ok {
			t.Logf("%s: lit for %s of %s", p, lit.Round(time.Millisecond), period.Round(time.Millisecond))
		}
		return ok
	})
}

// lamps follows the lamp from a call that rings to rest.
func (b *emulated) lamps(t *testing.T) {
	b.shows(t, b.now(), indicator.For(indicator.State{}))
	p := startEnv(t, []string{"SIDETONE_LINE_AUTO_ANSWER=false"}, "sidetone", "run", "--config", b.lab.Devices["door2"])
	b.lab.waitRegistered(t, "door2")
	since := b.now()
	b.command("dial", "door2")
	b.shows(t, since, indicator.For(indicator.State{Ringing: true}))
	since = b.now()
	do(t, b.lab.Devices["door2"], "answer")
	b.shows(t, since, indicator.For(indicator.State{Talking: true}))
	since = b.now()
	b.command("hangup")
	b.shows(t, since, indicator.For(indicator.State{}))
	p.end(t)
}

// codes has the far end of a call type the code. The machine's other work can make a pulse longer, hardly shorter: so the
// best of some counts.
func (b *emulated) codes(t *testing.T) {
	const within = 20 * time.Millisecond
	b.lab.runDevice(t, "door2", farHz)
	b.command("dial", "door2")
	b.sounds(t) // digits go by the way of the sound
	best := time.Duration(math.MaxInt64)
	for try := 0; try < 3 || best > within && try < 8; try++ {
		since := b.now()
		do(t, b.lab.Devices["door2"], "dtmf", doorCode+"#")
		var seen []change
		eventually(t, boardPatience, "a pulse", func() bool { seen = b.changes(t, doorLine, since); return len(seen) >= 2 })
		if len(seen) != 2 || seen[0].level != 1 || seen[1].level != 0 {
			t.Fatalf("the line went %v", seen)
		}
		off := seen[1].at - seen[0].at - doorPulse
		t.Logf("the relay was on for %s, which is %s off", seen[1].at-seen[0].at, off)
		if off < -within {
			t.Errorf("the pulse ended %s early", -off)
		}
		best = min(best, off.Abs())
	}
	if best > within {
		t.Errorf("no pulse was within %s of %s", within, doorPulse)
	}
	b.command("hangup")
}

// locked are the levels at which the relays of longPulse are at rest.
var locked = map[int]string{gateLine: "1", yardLine: "0"}

// kills ends the device, and then the keeper of its relays, in mid-pulse by SIGKILL.
func (b *emulated) kills(t *testing.T) {
	// A resistor holds what nobody drives.
	b.killed(t, "the device", map[int]string{gateLine: "pull-up", yardLine: "pull-down"}, func() int {
		return b.Do(boardPatience, steer.Request{Op: steer.PID, Name: "sidetone"}).Code
	})
	// What nobody drives stays energised, as where a chip keeps the last level.
	b.killed(t, "the relays' keeper", map[int]string{gateLine: "pull-down", yardLine: "pull-up"}, func() int { return b.keeper(t) })
}

func (b *emulated) killed(t *testing.T, what string, pulls map[int]string, victim func() int) {
	t.Helper()
	device := b.Do(boardPatience, steer.Request{Op: steer.PID, Name: "sidetone"}).Code
	keeper := b.keeper(t)
	since := b.now()
	for line, pull := range pulls {
		b.Write(b.Line(line)+"/pull", pull)
	}
	b.command("door", "open", "gate")
	b.command("door", "open", "yard")
	for line, rest := range locked {
		if b.level(line) == rest {
			t.Fatalf("%s is at rest in mid-pulse", lines[line])
		}
	}
	at := b.now()
	b.Do(boardPatience, steer.Request{Op: steer.Kill, PID: victim(), Signal: syscall.SIGKILL})
	for line, rest := range locked {
		var seen []change
		eventually(t, boardPatience, lines[line]+" locks", func() bool {
			seen = b.changes(t, line, since)
			return len(seen) > 1 && strconv.Itoa(seen[len(seen)-1].level) == rest && b.level(line) == rest
		})
		opened, shut := seen[0].at, seen[len(seen)-1].at
		t.Logf("%s was killed %s after %s was opened; it locked %s later", what, (at - opened).Round(time.Millisecond), lines[line], (shut - at).Round(time.Millisecond))
		if len(seen) != 2 || shut < at || shut-opened > longPulse {
			t.Errorf("%s of a pulse of %s: %v", lines[line], longPulse, seen)
		}
	}
	b.gone(t, keeper)
	b.answers(t)
	if again := b.Do(boardPatience, steer.Request{Op: steer.PID, Name: "sidetone"}).Code; (again == device) != (what != "the device") {
		t.Errorf("%s was killed, and the device's process is %d after %d", what, again, device)
	}
	for line, rest := range locked {
		if b.level(line) != rest {
			t.Errorf("%s is open", lines[line])
		}
	}
}

// keeper is the process that the device has for its relays.
func (b *emulated) keeper(t *testing.T) (pid int) {
	t.Helper()
	device := b.Do(boardPatience, steer.Request{Op: steer.PID, Name: "sidetone"}).Code
	for _, file := range b.Do(boardPatience, steer.Request{Op: steer.Glob, Path: fmt.Sprintf("/proc/%d/task/*/children", device)}).Paths {
		if n, _ := fmt.Sscan(b.Read(file), &pid); n == 1 {
			return pid
		}
	}
	t.Fatal("the relays have no keeper")
	return 0
}

// gone waits until there is no such process, not even one that nobody has waited for.
func (b *emulated) gone(t *testing.T, pid int) {
	t.Helper()
	eventually(t, boardPatience, "the process is gone", func() bool {
		return len(b.Do(boardPatience, steer.Request{Op: steer.Glob, Path: fmt.Sprintf("/proc/%d", pid)}).Paths) == 0
	})
}

// answers waits until the device, which init starts again, is registered and has a keeper for its relays.
func (b *emulated) answers(t *testing.T) {
	t.Helper()
	eventually(t, 2*boardPatience, "the device runs again", func() bool {
		a := b.Run(boardPatience, "status", "--config", b.config, "--json")
		return a.Code == 0 && strings.Contains(a.Stdout, `"state":"registered"`)
	})
	b.keeper(t)
}

// holdTime is how long the button is held for a reset, the last 5 s of it counted down.
const holdTime = 10 * time.Second

// resets holds the button for a reset, too shortly first. Then the platform does not answer for a while.
func (b *emulated) resets(t *testing.T) {
	b.command("volume", "talk", "60")
	learnt := filepath.Join(b.lab.dir, "devices", "door1", "state", "volume.json")
	knows := func() bool {
		return len(b.Do(boardPatience, steer.Request{Op: steer.Glob, Path: learnt}).Paths) == 1
	}
	device := b.Do(boardPatience, steer.Request{Op: steer.PID, Name: "sidetone"}).Code
	if !knows() {
		t.Fatalf("there is no %s", learnt)
	}
	b.countsDown(t)
	b.shows(t, b.now(), indicator.For(indicator.State{}))
	if again := b.Do(boardPatience, steer.Request{Op: steer.PID, Name: "sidetone"}).Code; !knows() || again != device {
		t.Error("let go before the end of the count-down, it was reset")
	}

	since := b.hold(t, holdTime+2*time.Second, "hold")
	b.lab.freeze(t, func() {
		b.gone(t, device)
		if knows() {
			t.Error("after a reset it knows what it has learnt")
		}
		letGo := indicator.For(indicator.State{Reset: indicator.Reset{Held: true}})
		if _, _, ok := blinked(letGo, b.changes(t, ledLine, since)); !ok {
			t.Errorf("the lamp has not shown: %s: %v", letGo, b.changes(t, ledLine, since))
		}
		b.shows(t, b.now(), indicator.For(indicator.State{NotRegistered: true}))
	})
	b.answers(t)
	b.shows(t, b.now(), indicator.For(indicator.State{}))
}

// countsDown holds the button for nearly long enough, and looks at the lamp in each second of the count-down. A second has
// few periods: where this machine's other work blurs them, the button is held again.
func (b *emulated) countsDown(t *testing.T) {
	const late = 300 * time.Millisecond
	unseen := []time.Duration{5, 4, 3, 2, 1}
	for range 6 {
		begin := b.hold(t, holdTime-late, "kept")
		seen := b.changes(t, ledLine, begin)
		unseen = slices.DeleteFunc(unseen, func(left time.Duration) bool {
			p := indicator.For(indicator.State{Reset: indicator.Reset{Held: true, Left: left * time.Second}})
			from := begin + holdTime - left*time.Second
			lit, period, ok := blinked(p, slices.DeleteFunc(slices.Clone(seen), func(c change) bool {
				return c.at < from || c.at > from+time.Second+late
			}))
			if ok {
				t.Logf("%s: lit for %s of %s", p, lit.Round(time.Millisecond), period.Round(time.Millisecond))
			}
			return ok
		})
		if len(unseen) == 0 {
			return
		}
		t.Logf("not seen in the seconds %v of the count-down: %v", unseen, seen)
	}
	t.Errorf("of the count-down the lamp does not show the seconds %v", unseen)
}

// hold presses the button for a reset for so long, and waits for what the device makes of it. It gives when it was pressed.
func (b *emulated) hold(t *testing.T, length time.Duration, gesture string) (pressed time.Duration) {
	t.Helper()
	before := len(b.Console())
	pull := b.Line(resetLine) + "/pull"
	a := b.Do(boardPatience, steer.Request{Op: steer.Drive, Steps: []steer.Step{
		{Path: pull, Data: []byte("pull-up")}, {After: length, Path: pull, Data: []byte("pull-down")}}})
	eventually(t, boardPatience, gesture, func() bool { return strings.Contains(b.Console()[before:], "gesture="+gesture) })
	return a.At
}

// freeze has the lab answer nobody while f runs. It goes on however f ends: a program that is stopped does not even end.
func (l *lab) freeze(t *testing.T, f func()) {
	t.Helper()
	send := func(s syscall.Signal) {
		if err := l.proc.cmd.Process.Signal(s); err != nil {
			t.Error(err)
		}
	}
	send(syscall.SIGSTOP)
	defer send(syscall.SIGCONT)
	f()
}

// hangs has the device's main loop hang, at a file that it cannot write. The board that comes back knows why it was reset.
func (b *emulated) hangs(t *testing.T) {
	fleet := b.lab.subscribe(t, "door1")
	b.Do(boardPatience, steer.Request{Op: steer.Fifo, Path: filepath.Join(b.lab.dir, "devices", "door1", "state", "door-audit.jsonl")})
	b.Ask(steer.Request{Op: steer.Run, Argv: []string{boardtest.Program, "door", "--config", b.config, "open", "yard"}}) // nobody answers that
	begin := time.Now()
	b.AwaitReset(2 * boardPatience)
	t.Logf("the board was reset, and its kernel ran again, %s after the main loop hung", time.Since(begin).Round(100*time.Millisecond))
	b.base = -1
	b.answers(t)
	const why = `"last_reset":"watchdog"`
	if s := b.command("status", "--json"); !strings.Contains(s, why) {
		t.Errorf("the status lacks %s: %s", why, s)
	}
	fleet.await(t, "up/birth", func(payload []byte) bool { return strings.Contains(string(payload), why) })
	for line, rest := range locked {
		if b.level(line) != rest {
			t.Errorf("%s is open", lines[line])
		}
	}
}
