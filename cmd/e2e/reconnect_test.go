package e2e_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sidetone/audio/audiotest"
)

// portClosed is for how long the gateway takes no connections in TestReconnect.
const portClosed = 5 * time.Second

// TestReconnect cuts every socket of the gateway in mid-call and closes its port, while media goes on: nobody hears it, the
// line comes back by itself, and the call with it, on new media.
func TestReconnect(t *testing.T) {
	t.Parallel()
	reconnects(t, startLab)
}

// reconnects does so in calls to a destination that speaks, one that answers, and another device.
func reconnects(t *testing.T, start func(testing.TB) *lab) {
	t.Helper()
	for _, c := range []struct {
		destination string
		hz          float64 // that are heard there
	}{{"tone", 1000}, {"echo", 700}, {"door2", 1200}} {
		t.Run(c.destination, func(t *testing.T) {
			t.Parallel()
			l := start(t)
			tries(t, func() error { return reconnect(t, l, c.destination, c.hz) })
		})
	}
}

// reconnect makes one call over the fault, and holds what no busy machine excuses; its error is about the sound.
func reconnect(t *testing.T, l *lab, destination string, hz float64) error {
	t.Helper()
	dir := t.TempDir()
	heard := filepath.Join(dir, "heard.wav")
	recordings := map[string]float64{heard: hz}
	var far *process
	if destination == "door2" {
		file := filepath.Join(dir, "door2.wav")
		recordings[file] = 700
		far = startEnv(t, []string{
			"SIDETONE_LINE_AUTO_ANSWER=true",
			"SIDETONE_AUDIO_CAPTURE=wav:" + toneFile(t, dir, hz), "SIDETONE_AUDIO_PLAYBACK=wav:" + file,
		}, "sidetone", "run", "--config", l.Devices["door2"])
		l.waitRegistered(t, "door2")
	}
	call := startTalk(t, "--config", l.Devices["door1"], "--in", toneFile(t, dir, 700), "--out", heard, destination)
	active := call.await(t, "active", isState("active"))
	time.Sleep(2 * time.Second)
	cut := time.Now()
	if out, code := l.tool(t, "fault", "gateway", "--cut", "--port-closed", portClosed.String()); code != 0 {
		t.Fatal(out)
	}
	recovering := call.await(t, "the call is given back", isState("recovering"))
	back := time.Now()
	again := call.await(t, "active again", func(e event) bool { return e.State == "active" && e.PrevState == "recovering" })
	moved := call.await(t, "new media", func(e event) bool { return e.Event == "media" && e.Name == "connected" && e.TMs >= recovering.TMs })
	first := call.await(t, "sound by the new media", func(e event) bool { return e.Name == "first_packet_received" && e.TMs >= moved.TMs })
	time.Sleep(2 * time.Second)
	report := call.hangUp(t)
	if far != nil {
		far.end(t)
	}

	// One call from beginning to end, and one report.
	for _, e := range call.all() {
		if e.CallID != "" && e.CallID != active.CallID {
			t.Errorf("the call has another id: %+v", e)
		}
	}
	want := []string{"requesting", "active", "recovering", "active", "hangup", "destroy"}
	if got := states(call.all()); !slices.Equal(withoutSetup(got), want) {
		t.Errorf("states %v", got)
	}
	if s := report.Summary; s.CallID != active.CallID || s.CauseCode != 16 {
		t.Errorf("report %+v", s)
	}
	var course []string
	for _, e := range report.Logs {
		if state, ok := strings.CutPrefix(e.Message, "state "); ok {
			course = append(course, state)
		}
	}
	if !slices.Equal(without(course, "new"), without(states(call.all()), "new")) {
		t.Errorf("the report tells of %v", course)
	}

	// The line: the first try after the port is open again brings it back.
	var last *lineStatus
	for _, e := range call.all() {
		if e.Line != nil && e.Line.State == "down" && e.TMs < recovering.TMs {
			last = e.Line
		}
	}
	if last == nil {
		t.Fatal("the line was never down")
	}
	if opened := cut.Add(portClosed); last.RetryAt.Before(opened.Add(-time.Second)) || last.Since.After(opened.Add(slack)) {
		t.Errorf("the port was open from %s; the line was %+v", opened, last)
	}
	if late := back.Sub(last.RetryAt); late > slack {
		t.Errorf("the call came back %s after the line tried again", late)
	}
	if first.GapMs == 0 || first.GapMs > max(first.TMs-recovering.TMs, 1000) {
		t.Errorf("the device tells of a gap of %d ms", first.GapMs)
	}
	t.Logf("the call is given back %s after the cut, active %d ms, new media %d ms later; the device tells of a gap of %d ms",
		back.Sub(cut).Round(time.Millisecond), again.TMs-recovering.TMs, moved.TMs-recovering.TMs, first.GapMs)

	// The sound. A recording begins when its call is active, here and there about the same time.
	var err error
	for file, hz := range recordings {
		pcm, _, e := audiotest.ReadWAV(file)
		if e != nil {
			t.Fatal(e)
		}
		const begin, end = 700 * time.Millisecond, 300 * time.Millisecond // of a call, when it may not sound
		given := time.Duration(recovering.TMs-active.TMs)*time.Millisecond - end
		var before, after gap
		all := gaps(pcm, hz)
		for _, g := range all {
			switch {
			case g.at < begin || g.at+g.length > samples(len(pcm))-end:
			case g.at < given:
				before = longer(before, g)
			default:
				after = longer(after, g)
			}
		}
		t.Logf("%s: %.2f s with %.0f Hz; longest gap while signalling is away %s, of the re-attach %s", filepath.Base(file),
			samples(len(pcm)).Seconds(), hz, before, after)
		if before.length > 150*time.Millisecond {
			err = cmp.Or(err, fmt.Errorf("%s: a gap of %s before the re-attach", filepath.Base(file), before))
		}
		if after.length > 300*time.Millisecond {
			err = cmp.Or(err, fmt.Errorf("%s: the re-attach made a gap of %s", filepath.Base(file), after))
		}
	}
	return err
}

// slack is what a busy machine may need for what should take no time.
const slack = 5 * time.Second

func isState(state string) func(event) bool { return func(e event) bool { return e.State == state } }

func without(all []string, some ...string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(some, s) })
}

// withoutSetup leaves out what a call may pass by: the platform's answers overtake one another.
func withoutSetup(states []string) []string { return without(states, "new", "trying", "early") }

// oneReport gives the call's report, which must be told once, and last.
func oneReport(t *testing.T, all []event) *report {
	t.Helper()
	n := 0
	for _, e := range all {
		if e.Report != nil {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d reports", n)
	}
	return reportOf(t, all)
}

// talk is a call that `sidetone call --json` makes, with what it has told so far.
type talk struct {
	*process
	ended chan struct{} // closed after the last event

	mu   sync.Mutex
	seen []event
	news chan struct{}
}

func startTalk(t *testing.T, args ...string) *talk {
	t.Helper()
	return startTalkIn(t, nil, nil, args...)
}

func startTalkIn(t *testing.T, in *namespace, env []string, args ...string) *talk {
	t.Helper()
	name, args := in.enter("sidetone", append([]string{"call", "--json"}, args...)...)
	c := &talk{process: startEnv(t, env, name, args...), ended: make(chan struct{}), news: make(chan struct{}, 1)}
	go func() {
		defer close(c.ended)
		for line := range c.lines {
			var e event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Errorf("line %q: %v", line, err)
			}
			c.mu.Lock()
			c.seen = append(c.seen, e)
			c.mu.Unlock()
			select {
			case c.news <- struct{}{}:
			default:
			}
		}
	}()
	return c
}

func (c *talk) all() []event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.seen)
}

// hangUp ends the call as Ctrl-C does, and gives its one report.
func (c *talk) hangUp(t *testing.T) *report {
	t.Helper()
	c.cmd.Process.Signal(syscall.SIGINT)
	<-c.ended
	return oneReport(t, c.all())
}

// await gives the first event that is right.
func (c *talk) await(t *testing.T, what string, right func(event) bool) event {
	t.Helper()
	ended := false
	for timeout := time.After(60 * time.Second); ; {
		all := c.all()
		if i := slices.IndexFunc(all, right); i >= 0 {
			return all[i]
		}
		if ended {
			t.Fatalf("the call ended without %s: %+v", what, all)
		}
		select {
		case <-c.news:
		case <-c.ended:
			ended = true
		case <-timeout:
			t.Fatalf("nothing of %s: %+v", what, all)
		}
	}
}

// toneFile is half a minute of a tone.
func toneFile(t *testing.T, dir string, hz float64) string {
	t.Helper()
	return toneOf(t, dir, hz, 30*time.Second)
}

func toneOf(t *testing.T, dir string, hz float64, length time.Duration) string {
	t.Helper()
	file := filepath.Join(dir, fmt.Sprintf("%.0f.wav", hz))
	pcm := make([]int16, int(48000*length.Seconds()))
	for i := range pcm {
		pcm[i] = int16(8000 * math.Sin(2*math.Pi*hz*float64(i)/48000))
	}
	if err := audiotest.WriteWAV(file, pcm, 48000); err != nil {
		t.Fatal(err)
	}
	return file
}

// gap is a time without the tone that should be there.
type gap struct{ at, length time.Duration }

func (g gap) String() string {
	if g.length == 0 {
		return "none"
	}
	return fmt.Sprintf("%s at %s", g.length, g.at)
}

func longer(a, b gap) gap {
	if b.length > a.length {
		return b
	}
	return a
}

func samples(n int) time.Duration { return time.Duration(n) * time.Second / 48000 }

// gaps finds where a tone is not: its power in windows of 10 ms is 10 dB below the median.
func gaps(pcm []int16, hz float64) (found []gap) {
	const window = 480
	var power []float64
	for at := 0; at+window <= len(pcm); at += window {
		var re, im float64
		for i, v := range pcm[at : at+window] {
			sin, cos := math.Sincos(2 * math.Pi * hz * float64(i) / 48000)
			re += float64(v) * cos
			im += float64(v) * sin
		}
		power = append(power, re*re+im*im)
	}
	sorted := slices.Sorted(slices.Values(power))
	if len(sorted) == 0 {
		return nil
	}
	floor := sorted[len(sorted)/2] / 10
	for i := 0; i < len(power); i++ {
		begin := i
		for i < len(power) && power[i] <= floor {
			i++
		}
		if i > begin {
			found = append(found, gap{samples(begin * window), samples((i - begin) * window)})
		}
	}
	return found
}
