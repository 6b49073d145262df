package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFleetTranscript holds what a fleet sees of a device: birth before online, the states of a call in order, one
// report, and offline by the last will when the device dies.
func TestFleetTranscript(t *testing.T) {
	l := startLab(t)
	watch := l.subscribe(t, "door2")
	door2 := start(t, "sidetone", "run", "--config", l.Devices["door2"])
	watch.await(t, "up/status", func(b []byte) bool { return string(b) == "online" })
	topics := func() (names []string) {
		for _, m := range watch.all("") {
			names = append(names, m.topic)
		}
		return names
	}
	if birth, status := slices.Index(topics(), "up/birth"), slices.Index(topics(), "up/status"); birth < 0 || birth > status {
		t.Errorf("birth at %d, status at %d", birth, status)
	}
	watch.await(t, "up/state/line", func(b []byte) bool { return strings.Contains(string(b), `"registered"`) })
	r := run(t, 30*time.Second, nil, "sidetone", "call", "--config", l.Devices["door2"], "--for", "2s", "--json", "tone")
	if r.code != 0 {
		t.Fatalf("exit %d\n%s\n%s", r.code, r.out, r.err)
	}
	watch.await(t, "up/stats/call", nil)
	var seen []string
	for _, m := range watch.all("up/state/call") {
		var s struct {
			State string `json:"state"`
		}
		if err := json.Unmarshal(m.payload, &s); err != nil {
			t.Fatal(err)
		}
		if len(seen) == 0 || seen[len(seen)-1] != s.State {
			seen = append(seen, s.State)
		}
	}
	if !slices.Equal(seen, states(events(t, r.out))) || !slices.IsSorted(order(seen)) {
		t.Errorf("fleet saw %v, the caller %v", seen, states(events(t, r.out)))
	}
	time.Sleep(300 * time.Millisecond)
	if n := len(watch.all("up/stats/call")); n != 1 {
		t.Errorf("%d reports of one call", n)
	}
	if n := len(l.stats(t)["door2"].Reports); n != 1 {
		t.Errorf("the gateway has %d reports", n)
	}
	door2.kill()
	watch.await(t, "up/status", func(b []byte) bool { return string(b) == "offline" })
}

// TestRefusedToken calls with a token that is none.
func TestRefusedToken(t *testing.T) {
	l := startLab(t)
	file := filepath.Join(t.TempDir(), "bad.jwt")
	good, code := l.tool(t, "token", "door1")
	if code != 0 {
		t.Fatal(good)
	}
	for name, token := range map[string]string{
		"tampered": strings.TrimSpace(good)[:len(good)-6] + "AAAAA",
		"words":    "this is no token",
		"nothing":  "",
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
				t.Fatal(err)
			}
			r := run(t, 50*time.Second, []string{"SIDETONE_LINE_TOKEN_FILE=" + file}, "sidetone", "call", "--config", l.Devices["door1"],
				"--out", filepath.Join(t.TempDir(), "x.wav"), "--json", "echo")
			if r.code != 3 {
				t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
			}
			all := append([]event{{}}, events(t, r.out)...)
			if last := all[len(all)-1]; last.Event != "error" || last.Code != 46001 || last.Message == "" {
				t.Errorf("last event %+v", last)
			}
			if token != "" && strings.Contains(r.out+r.err, strings.TrimSpace(token)) {
				t.Error("the token is in the output")
			}
		})
	}
}

// TestRefusedRun holds that a refused daemon stays up and says so on socket and MQTT.
func TestRefusedRun(t *testing.T) {
	l := startLab(t)
	file := filepath.Join(t.TempDir(), "bad.jwt")
	if err := os.WriteFile(file, []byte("a.b.c"), 0o600); err != nil {
		t.Fatal(err)
	}
	watch := l.subscribe(t, "door1")
	startEnv(t, []string{"SIDETONE_LINE_TOKEN_FILE=" + file}, "sidetone", "run", "--config", l.Devices["door1"])
	watch.await(t, "up/state/line", func(b []byte) bool {
		return strings.Contains(string(b), "46001") && strings.Contains(string(b), `"refused"`)
	})
	r := run(t, 10*time.Second, nil, "sidetone", "status", "--config", l.Devices["door1"], "--json")
	for _, want := range []string{`"refused"`, "46001", "retry_at"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("status lacks %s: %s", want, r.out)
		}
	}
	r = run(t, 10*time.Second, nil, "sidetone", "call", "--config", l.Devices["door1"], "--json", "echo")
	if all := events(t, r.out); r.code != 3 || len(all) == 0 || all[len(all)-1].Code != 46001 {
		t.Errorf("a call through it: exit %d, %s", r.code, r.out)
	}
}

// TestNoSuchFile refuses files before anybody is called.
func TestNoSuchFile(t *testing.T) {
	l := startLab(t)
	missing := filepath.Join(t.TempDir(), "there", "is", "none.wav")
	for _, flag := range []string{"--in", "--out"} {
		r := run(t, 20*time.Second, nil, "sidetone", "call", "--config", l.Devices["door1"], flag, missing, "--json", "echo")
		if r.code != 2 || !strings.Contains(r.err, missing) || r.out != "" {
			t.Errorf("%s: exit %d, %s%s", flag, r.code, r.out, r.err)
		}
	}
}

// TestUnknownKey refuses a config with a slip of the pen, and names place and cure.
func TestUnknownKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "door.toml")
	if err := os.WriteFile(file, []byte("[line]\nauto_anser = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, 10*time.Second, nil, "sidetone", "config", "check", "--config", file)
	if r.code != 2 || !strings.Contains(r.err, "door.toml:2:") || !strings.Contains(r.err, "line.auto_answer") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

// TestLabGone takes the lab away in mid-call for good: who called is told that the end was not heard.
func TestLabGone(t *testing.T) {
	l := startLab(t)
	call := start(t, "sidetone", "call", "--config", l.Devices["door1"], "--in", speech, "--for", "8s", "--json", "tone")
	for sounds := false; !sounds; {
		var e event
		if err := json.Unmarshal([]byte(call.line(t, 20*time.Second)), &e); err != nil {
			t.Fatal(err)
		}
		sounds = e.Name == "first_sound_played"
	}
	time.Sleep(time.Second)
	l.proc.kill()
	for range call.lines {
	}
	<-call.done
	if code := call.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(call.stderr.String(), "answered, but nothing came in for its last ") {
		t.Errorf("exit %d\n%s", code, call.stderr)
	}
}

// TestDeadTURN kills the path of a call over TURN/TCP: the device warns, and still goes at once when told to.
func TestDeadTURN(t *testing.T) {
	t.Parallel()
	l := startLab(t)
	watch := l.subscribe(t, "door1")
	device := start(t, "sidetone", "run", "--config", l.withOnly(t, "door1", "transport=tcp"))
	l.waitRegistered(t, "door1")
	call := start(t, "sidetone", "call", "--config", l.Devices["door1"], "--relay", "--json", "tone")
	next := func() (e event) {
		if err := json.Unmarshal([]byte(call.line(t, 30*time.Second)), &e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	for next().State != "active" {
	}
	watch.await(t, "up/state/call", func(b []byte) bool { return strings.Contains(string(b), `"active"`) })
	time.Sleep(2 * time.Second)
	if out, code := l.tool(t, "fault", "turn-tcp", "--blackhole"); code != 0 {
		t.Fatal(out)
	}
	begin := time.Now()
	for next().Event != "warning" {
	}
	t.Logf("warning after %s", time.Since(begin).Round(time.Millisecond))
	time.Sleep(10 * time.Second) // pion's queues are full by now
	took := device.end(t)
	t.Logf("SIGTERM to exit %s", took.Round(time.Millisecond))
	watch.await(t, "up/stats/call", nil)
	watch.await(t, "up/status", func(b []byte) bool { return string(b) == "offline" })
}

// TestInterrupt ends a call by Ctrl-C, alone and through the daemon: bye is said, and the report is printed, kept and
// published.
func TestInterrupt(t *testing.T) {
	l := startLab(t)
	t.Run("alone", func(t *testing.T) {
		interrupt(t, l, "--out", filepath.Join(t.TempDir(), "x.wav"))
	})
	t.Run("daemon", func(t *testing.T) {
		start(t, "sidetone", "run", "--config", l.Devices["door1"])
		l.waitRegistered(t, "door1")
		interrupt(t, l)
	})
}

func interrupt(t *testing.T, l *lab, args ...string) {
	watch := l.subscribe(t, "door1")
	call := start(t, "sidetone", append(append([]string{"call", "--config", l.Devices["door1"], "--json"}, args...), "tone")...)
	var last event
	for line := range call.lines {
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatal(err)
		}
		if last.State == "active" {
			time.Sleep(300 * time.Millisecond)
			call.cmd.Process.Signal(syscall.SIGINT)
		}
	}
	<-call.done
	if last.Report == nil || last.Report.Summary.CauseCode != 16 {
		t.Errorf("last event %+v", last)
	}
	watch.await(t, "up/stats/call", nil)
}
