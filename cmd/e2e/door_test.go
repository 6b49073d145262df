package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// level is what the door's line has now; the line is a file, which keeps its level whatever becomes of the device.
func level(t *testing.T, line string) string {
	t.Helper()
	b, err := os.ReadFile(line)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

func awaitLevel(t *testing.T, line, want string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); level(t, line) != want; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the line has %s, want %s", level(t, line), want)
		}
	}
}

// TestDoor opens a door by a code from the far end of a call that the device placed, from the command line and by MQTT, and
// not by one of a stranger's; then the device is killed in mid-pulse.
func TestDoor(t *testing.T) {
	l := startLab(t)
	dir := t.TempDir()
	line, code := filepath.Join(dir, "line"), filepath.Join(dir, "code")
	const secret = "7294416"
	hash := exec.Command(program("sidetone"), "door", "hash")
	hash.Stdin = strings.NewReader(secret + "\n")
	hashed, err := hash.Output()
	if err != nil || bytes.Contains(hashed, []byte(secret)) {
		t.Fatalf("%s, %v", hashed, err)
	}
	if err := os.WriteFile(code, hashed, 0o600); err != nil {
		t.Fatal(err)
	}
	config := l.with(t, "door1", `[door]
tries = 10
[[door.relays]]
name = "door"
line = "file:`+line+`"
pulse = "1s"
max_on = "10m"
[[door.codes]]
name = "neighbour"
code_file = "`+code+`"
ways = ["dtmf"]
`)
	fleet := l.subscribe(t, "door1")
	device := startEnv(t, []string{"SIDETONE_LOG_LEVEL=debug", "SIDETONE_DEVICE_STATE_DIR=" + dir}, "sidetone", "run", "--config", config)
	start(t, "sidetone", "run", "--config", l.Devices["door2"])
	l.waitRegistered(t, "door1")
	l.waitRegistered(t, "door2")
	awaitLevel(t, line, "0")

	// The neighbour, whom the device called.
	do(t, config, "dial", "door2")
	fleet.await(t, "up/state/call", has(`"destination":"door2"`, `"state":"active"`))
	do(t, l.Devices["door2"], "dtmf", "111#")
	fleet.await(t, "up/event/access", has(`"granted":false`, "wrong_code", `"who":"door2"`))
	if level(t, line) != "0" {
		t.Error("a wrong code opens")
	}
	do(t, l.Devices["door2"], "dtmf", secret+"#")
	awaitLevel(t, line, "1")
	opened := time.Now()
	awaitLevel(t, line, "0")
	if took := time.Since(opened); took < 500*time.Millisecond {
		t.Errorf("it was open for %s", took)
	}
	fleet.await(t, "up/event/access", has(`"granted":true`, `"code":"neighbour"`, `"how":"dtmf"`, `"relay":"door"`, `"call_id"`))
	do(t, config, "hangup")
	fleet.await(t, "up/state/call", has(`"destination":"door2"`, `"state":"destroy"`))

	// The same one, who calls: the number is on no list.
	do(t, l.Devices["door2"], "dial", "door1")
	fleet.await(t, "up/state/call", has(`"direction":"inbound"`, `"state":"ringing"`))
	do(t, config, "answer")
	fleet.await(t, "up/state/call", has(`"direction":"inbound"`, `"state":"active"`))
	do(t, l.Devices["door2"], "dtmf", secret+"#")
	fleet.await(t, "up/event/access", has(`"granted":false`, "caller_not_allowed"))
	if level(t, line) != "0" {
		t.Error("a stranger opens")
	}
	do(t, config, "hangup")

	// Commands. A repeated one is dropped before anybody is asked.
	if reply := fleet.command(t, "door-open", `{"seconds":0.2}`); !has(`"ok":true`)(reply) {
		t.Errorf("%s", reply)
	}
	fleet.await(t, "up/event/access", has(`"granted":true`, `"how":"fleet"`))
	awaitLevel(t, line, "0")
	if reply := fleet.command(t, "door-open", `{"relay":"cellar"}`); !has(`"ok":false`, "no_such_relay")(reply) {
		t.Errorf("%s", reply)
	}
	do(t, config, "door", "open")
	awaitLevel(t, line, "0")

	// Killed in mid-pulse.
	if reply := fleet.command(t, "door-open", `{"seconds":600}`); !has(`"ok":true`)(reply) {
		t.Errorf("%s", reply)
	}
	awaitLevel(t, line, "1")
	device.kill()
	awaitLevel(t, line, "0")

	// After a crash of everything it is init that locks.
	if err := os.WriteFile(line, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	do(t, config, "relay", "safe")
	if got := level(t, line); got != "0" {
		t.Errorf("the line has %s", got)
	}

	// Who, how, when, in which call; and never the code.
	audit, err := os.ReadFile(filepath.Join(dir, "door-audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for line := range strings.Lines(string(audit)) {
		var r struct {
			TS                                            time.Time
			Event, Reason, Relay, How, Who, Code, Call_ID string
			Granted                                       bool
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil || time.Since(r.TS) > time.Hour || (r.How == "dtmf") != (r.Call_ID != "") {
			t.Errorf("%s: %v", line, err)
		}
		told = append(told, fmt.Sprint(r.Event, " ", r.Granted, " ", r.How, " ", r.Who, " ", r.Relay, " ", r.Code, " ", r.Reason))
	}
	want := []string{
		"unlock false dtmf door2   wrong_code", "unlock true dtmf door2 door neighbour ", "unlock false dtmf door2   caller_not_allowed",
		"unlock true fleet test door  ", "unlock false fleet test cellar  no_such_relay", "unlock true command local door  ", "unlock true fleet test door  ",
	}
	if !slices.Equal(told, want) {
		t.Errorf("the audit has\n%s\nwant\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
	if strings.Contains(device.stderr.String(), secret) {
		t.Error("the code is in the log")
	}
}
