package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// as says what this test binary is to be instead of a test: the lab itself, or a device that behaves as told.
const as = "SIDETONE_LAB_TEST_AS"

func TestMain(m *testing.M) {
	switch os.Getenv(as) {
	case "lab":
		os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	case "device":
		os.Exit(device())
	}
	goleak.VerifyTestMain(m)
}

// device answers `call` as the firmware does: events on stdout, the exit code at the end.
func device() int {
	if script := os.Getenv("DEVICE_STDOUT"); script != "" {
		fmt.Println(script)
	}
	fmt.Fprintln(os.Stderr, "device was called with "+strings.Join(os.Args[1:], " "))
	code := 0
	fmt.Sscan(os.Getenv("DEVICE_EXIT"), &code)
	return code
}

const patience = 20 * time.Second

// program is sidetone-lab with those arguments, as a process.
func program(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(append(os.Environ(), as+"=lab"), env...)
	cmd.WaitDelay = patience
	return cmd
}

// run runs sidetone-lab to its end.
func run(t *testing.T, env []string, args ...string) (out, errOut string, code int) {
	t.Helper()
	cmd := program(t, env, args...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// running starts sidetone-lab up and gives its first line.
func running(t *testing.T, args ...string) (cmd *exec.Cmd, line string) {
	t.Helper()
	cmd = program(t, nil, append([]string{"up", "--json", "--listen", "127.0.0.1:0"}, args...)...)
	var e bytes.Buffer
	cmd.Stderr = &e
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if t.Failed() {
			t.Logf("the lab's log:\n%s", &e)
		}
	})
	line, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("no line: %v\n%s", err, &e)
	}
	return cmd, line
}

func TestUpUntilSIGTERM(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		dir := t.TempDir()
		cmd, line := running(t, "--dir", dir)
		// The keys stand in the order of the documentation.
		var keys []string
		d := json.NewDecoder(strings.NewReader(line))
		for depth := 0; ; {
			tok, err := d.Token()
			if err != nil {
				break
			}
			switch v := tok.(type) {
			case json.Delim:
				if v == '{' || v == '[' {
					depth++
				} else {
					depth--
				}
			case string:
				if depth == 1 {
					keys = append(keys, v)
				}
			}
		}
		for _, key := range []string{"ws", "wss", "ca", "token_api", "api_key", "turn", "turn_user", "turn_password", "mqtt", "mqtts", "mqtt_admin", "update", "web", "devices"} {
			if !slices.Contains(keys, key) {
				t.Errorf("%s is missing in %s", key, line)
			}
		}
		begin := time.Now()
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", signal, err)
		}
		t.Logf("%v took %v", signal, time.Since(begin))
		if took := time.Since(begin); took > patience {
			t.Errorf("%v took %v", signal, took)
		}
	}
}

func TestAskingARunningLab(t *testing.T) {
	dir := t.TempDir()
	cmd, _ := running(t, "--dir", dir)
	for _, c := range []struct {
		args      []string
		code      int
		out, eOut string // parts of what is written
	}{
		{[]string{"token", "visitor", "--dir", dir}, 0, "eyJ", ""},
		{[]string{"token", "--dir", dir, "visitor"}, 0, "eyJ", ""},
		{[]string{"token", "--dir=" + dir}, 2, "", "takes 1 word"},
		{[]string{"ring", "door1", "--from", "tone", "--dir", dir}, 1, "", "door1 is not registered (nobody is); start it with: sidetone run --config " + dir},
		{[]string{"stats", "--dir", dir}, 0, "kiosk1", ""},
		{[]string{"stats", "--json", "--dir", dir}, 0, `"door1":{"registered":false`, ""},
		{[]string{"fault", "turn-tcp", "--blackhole", "--dir", dir}, 0, "turn-tcp  blackhole", ""},
		{[]string{"fault", "--dir", dir}, 0, "turn-tcp  blackhole", ""},
		{[]string{"fault", "--restore", "turn-tcp", "--dir", dir}, 0, "turn-tcp  good", ""},
		{[]string{"fault", "turn-tcp", "--dir", dir}, 2, "", "or --restore"},
		{[]string{"fault", "gateway", "--half-dead", "--state", "NOREG", "--dir", dir}, 0, "gateway  half-dead, state NOREG", ""},
		{[]string{"fault", "--list", "--dir", dir}, 0, "gateway  half-dead, state NOREG", ""},
		{[]string{"fault", "gateway", "--restore", "--dir", dir}, 0, "gateway  good", ""},
		{[]string{"fault", "gateway", "--cut", "--dir", dir}, 0, "gateway  good", ""},
		{[]string{"fault", "gateway", "--state", "ASLEEP", "--dir", dir}, 1, "", `there is no gateway state "ASLEEP"`},
		{[]string{"fault", "gateway", "--blackhole", "--dir", dir}, 1, "", "no black hole"},
		{[]string{"fault", "gateway", "--cut", "--restore", "--dir", dir}, 2, "", "say which fault"},
		{[]string{"fault", "update", "--cut-after", "100000", "--slow", "512", "--dir", dir}, 0, "update  cut after 100000 bytes, 512 kbit/s", ""},
		{[]string{"fault", "update", "--corrupt-chunk", "3", "--dir", dir}, 0, "update  chunk 3 corrupt\n", ""},
		{[]string{"fault", "update", "--corrupt-each", "7", "--dir", dir}, 0, "update  each chunk corrupt once, seed 7\n", ""},
		{[]string{"fault", "update", "--gone", "--dir", dir}, 0, "update  gone\n", ""},
		{[]string{"fault", "update", "--restore", "--dir", dir}, 0, "update  good", ""},
		{[]string{"fault", "update", "--cut", "--dir", dir}, 1, "", "choose cut-after"},
		{[]string{"fault", "gateway", "--gone", "--dir", dir}, 1, "", "only update has"},
		{[]string{"transfer", "no-such-call", "--to", "echo", "--dir", dir}, 1, "", "no such call is answered: no-such-call"},
		{[]string{"transfer", "no-such-call", "--dir", dir}, 2, "", "say where to"},
		{[]string{"fault", "--blackhole", "--dir", dir}, 2, "", "say which fault"},
		{[]string{"fault", "coffee", "--blackhole", "--dir", dir}, 1, "", `there is no fault "coffee"`},
		{[]string{"up", "--dir", dir}, 1, "", "a lab is running on this directory"},
	} {
		out, eOut, code := run(t, nil, c.args...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(eOut, c.eOut) {
			t.Errorf("%q: code %d\n%s%s", c.args, code, out, eOut)
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	if _, eOut, code := run(t, nil, "stats", "--dir", dir); code != 1 || !strings.Contains(eOut, "no lab runs on "+dir) {
		t.Errorf("with no lab: %d %s", code, eOut)
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 2, "Usage:"},
		{[]string{"help"}, 0, "token_api is a base"},
		{[]string{"version"}, 0, "sidetone-lab dev"},
		{[]string{"dance"}, 2, `there is no command "dance"`},
		{[]string{"up", "--help"}, 0, "-advertise"},
		{[]string{"up", "--colour"}, 2, "flag provided but not defined"},
		{[]string{"up", "--log", "loud"}, 2, `log level "loud"`},
		{[]string{"up", "now"}, 2, "takes no further word"},
		{[]string{"up", "--listen", "8700", "--dir", t.TempDir()}, 1, "HOST:PORT"},
		{[]string{"demo", "--sidetone", "/no/such/program", "--dir", t.TempDir()}, 1, "make build"},
	} {
		out, eOut, code := run(t, nil, c.args...)
		if code != c.code || !strings.Contains(out+eOut, c.want) {
			t.Errorf("%q: code %d\n%s%s", c.args, code, out, eOut)
		}
	}
}

// TestDemo with a device that only says what it is told: what the demo makes of it. The real device is in the tests of
// the whole.
func TestDemo(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const good = `{"event":"state","state":"active","t_ms":120}
not JSON
{"event":"dtmf","digit":"5","t_ms":500}
{"event":"warning","code":31001,"name":"HIGH_RTT","message":"slow","t_ms":900}
{"event":"report","report":{"summary":{"callId":"c","durationSeconds":10.0},"stats":[],"quality":{"mos":4.41,"r_factor":92.1},"path":{"local":{"candidateType":"host","protocol":"udp"}}}}`
	for name, c := range map[string]struct {
		stdout string
		exit   int
		code   int
		want   []string
	}{
		"good":      {good, 0, 0, []string{"    0.12 s  active", "not JSON", "digit 5", "31001 HIGH_RTT: slow", "MOS       4.41", "R         92.1", "host over udp", "heard.wav"}},
		"refused":   {`{"event":"error","code":46001,"name":"LOGIN_FAILED","message":"bad token"}`, 3, 3, []string{"46001 LOGIN_FAILED: bad token", "did not succeed", "device was called with call --in "}},
		"no report": {"", 0, 1, []string{"without a report"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			link := filepath.Join(dir, "sidetone")
			script := fmt.Sprintf("#!/bin/sh\n%s=device exec %s \"$@\"\n", as, self)
			if err := os.WriteFile(link, []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			env := []string{"DEVICE_STDOUT=" + c.stdout, fmt.Sprintf("DEVICE_EXIT=%d", c.exit)}
			out, eOut, code := run(t, env, "demo", "--sidetone", link, "--speech", "speech.wav", "--dir", filepath.Join(dir, "lab"))
			if code != c.code {
				t.Errorf("code %d, want %d", code, c.code)
			}
			for _, want := range c.want {
				if !strings.Contains(out+eOut, want) {
					t.Errorf("%q is missing in\n%s%s", want, out, eOut)
				}
			}
		})
	}
}
