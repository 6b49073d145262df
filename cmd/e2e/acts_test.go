package e2e_test

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestTargets presses a button that has two targets: nobody is at the first, the second answers, another press ends it.
func TestTargets(t *testing.T) {
	l := startLab(t)
	b, err := os.ReadFile(l.Devices["door1"])
	if err != nil {
		t.Fatal(err)
	}
	config := l.Devices["door1"] + ".targets.toml"
	b = append(b, "\n[[buttons]]\nname = 'house'\ntargets = ['nobody', 'door2']\nper_target = '10s'\n"...)
	if err := os.WriteFile(config, b, 0o600); err != nil {
		t.Fatal(err)
	}
	watch := l.subscribe(t, "door1")
	start(t, "sidetone", "run", "--config", config)
	start(t, "sidetone", "run", "--config", l.Devices["door2"])
	l.waitRegistered(t, "door1")
	l.waitRegistered(t, "door2")
	press := func() {
		t.Helper()
		if r := run(t, 15*time.Second, nil, "sidetone", "press", "--config", config, "house"); r.code != 0 {
			t.Fatalf("exit %d: %s", r.code, r.err)
		}
	}
	press()
	watch.await(t, "up/state/call", has(`"destination":"nobody"`, `"hangup"`, "UNALLOCATED_NUMBER"))
	watch.await(t, "up/state/call", has(`"destination":"door2"`, `"state":"active"`))
	press()
	watch.await(t, "up/state/call", has(`"destination":"door2"`, `"state":"hangup"`, "NORMAL_CLEARING"))
}

// TestActs does to a call what a person may do to it, from the command line.
func TestActs(t *testing.T) {
	l := startLab(t)
	watch := l.subscribe(t, "door1")
	config := l.Devices["door1"]
	start(t, "sidetone", "run", "--config", config)
	l.waitRegistered(t, "door1")
	call := start(t, "sidetone", "call", "--config", config, "--json", "tone")
	state := func(want string) {
		t.Helper()
		watch.await(t, "up/state/call", func(b []byte) bool { return strings.Contains(string(b), want) })
	}
	state(`"state":"active"`)
	for _, c := range []struct{ act, want string }{
		{"hold", `"state":"held"`},
		{"unhold", `"state":"active","prevState":"held"`},
		{"mute", ""}, {"unmute", ""}, {"deaf", ""}, {"undeaf", ""},
		{"hangup", `"state":"destroy"`},
	} {
		if r := run(t, 15*time.Second, nil, "sidetone", c.act, "--config", config); r.code != 0 {
			t.Errorf("%s: exit %d, %s", c.act, r.code, r.err)
		}
		if c.want != "" {
			state(c.want)
		}
	}
	<-call.done
	if r := run(t, 15*time.Second, nil, "sidetone", "hold", "--config", config); r.code != 1 || !strings.Contains(r.err, "no call") {
		t.Errorf("hold without a call: exit %d, %s", r.code, r.err)
	}
}
