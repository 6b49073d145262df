package e2e_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/ota/release"
)

// updateStatus is what `sidetone update --json` says.
type updateStatus struct {
	Installed string `json:"installed_version"`
	Latest    string `json:"latest_version"`
	Phase     string `json:"phase"`
	Reason    string `json:"reason"`
	NotAgain  bool   `json:"not_again"`
}

// build makes our program as a version.
func build(t *testing.T, version string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "sidetone")
	cmd := exec.Command("go", "build", "-ldflags", "-s -w -X sidetone/cmd/sidetone/internal/cli.Version="+version, "-o", path, "sidetone/cmd/sidetone")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// keepAlive starts a program again whenever it ends, as a service manager does, until the test ends.
func keepAlive(t *testing.T, env []string, name string, args ...string) {
	ctx, cancel := context.WithCancel(context.Background())
	stderr := &tail{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			cmd := exec.CommandContext(ctx, name, args...)
			cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
			cmd.WaitDelay = 10 * time.Second
			cmd.Env, cmd.Stderr = append(os.Environ(), env...), stderr
			_ = cmd.Run()
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if t.Failed() {
			t.Logf("stderr of %s:\n%s", name, stderr)
		}
	})
}

// TestUpdateOfTheProgram has a device fetch and try another version of its program: one that is good stays; of one that ends as
// soon as it is started the old one comes back.
func TestUpdateOfTheProgram(t *testing.T) {
	t.Parallel()
	l := startLab(t)
	old := build(t, "v1.0.0")
	config, slots := l.Devices["door1"], filepath.Join(l.dir, "devices", "door1", "state", "slots")
	env := []string{
		"SIDETONE_UPDATE_BOOT=binary", "SIDETONE_UPDATE_WINDOW=", "SIDETONE_UPDATE_SPREAD=0s", "SIDETONE_UPDATE_PROBATION=2s",
		"SIDETONE_UPDATE_INTERVAL=2s",
	}
	fleet := l.subscribe(t, "door1")
	keepAlive(t, env, old, "start", "--slots", slots, "run", "--config", config)
	update := func(args ...string) (u updateStatus, code int) {
		r := run(t, 90*time.Second, env, old, append(append([]string{"update"}, args...), "--json", "--config", config)...)
		if err := json.Unmarshal([]byte(r.out), &u); err != nil {
			return u, -1 // it starts
		}
		return u, r.code
	}
	becomes := func(what string, is func(u updateStatus, code int) bool) {
		t.Helper()
		eventually(t, 3*time.Minute, what, func() bool { u, code := update(); return is(u, code) })
	}
	l.waitRegistered(t, "door1")
	becomes("it is up to date", func(u updateStatus, code int) bool { return code == 0 && u.Installed == "v1.0.0" && u.Phase == "idle" })

	repo := release.Repository{Dir: l.Update.Repo}
	keys, err := release.PrivateKeys(l.Update.Keys)
	if err != nil {
		t.Fatal(err)
	}
	publish := func(version, program string) {
		t.Helper()
		_, _, err := repo.Add(release.Release{Board: "sim", Version: version, Image: program, Expires: time.Now().Add(time.Hour)}, keys...)
		if err == nil {
			err = repo.Stamp(time.Now().Add(time.Hour), keys...)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	publish("v1.1.0", build(t, "v1.1.0"))
	becomes("v1.1.0 stays", func(u updateStatus, code int) bool {
		return code == 0 && u.Installed == "v1.1.0" && u.Latest == "v1.1.0"
	})
	// Of states only the last counts; of events none is left out.
	fleet.await(t, "up/event/update", func(b []byte) bool { return strings.Contains(string(b), `"committed"`) })
	fleet.await(t, "up/state/update", func(b []byte) bool {
		var u updateStatus
		return json.Unmarshal(b, &u) == nil && u.Installed == "v1.1.0"
	})

	broken := filepath.Join(t.TempDir(), "sidetone")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	publish("v1.2.0", broken)
	becomes("v1.2.0 is given up", func(u updateStatus, code int) bool {
		return code == 5 && u.Installed == "v1.1.0" && u.Latest == "v1.2.0" && u.NotAgain
	})
	if link, err := os.Readlink(filepath.Join(slots, "current")); err != nil || link != "b" {
		t.Errorf("current is %s, %v", link, err)
	}
	fleet.await(t, "up/event/update", func(b []byte) bool { return strings.Contains(string(b), `"rolled back"`) })
	if r := run(t, 20*time.Second, env, old, "status", "--config", config); !strings.Contains(r.out, "update   v1.1.0, ") {
		t.Errorf("status: %s%s", r.out, r.err)
	}
	if r := run(t, 20*time.Second, env, old, "update", "later", "--config", config); r.code != 2 {
		t.Errorf("exit %d", r.code)
	}
}
