package identity

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/provisioning/config"
)

// program runs text in a shell: a file written just now may be busy still (Go issue 22315).
func program(text string, args ...string) []string {
	return append([]string{"/bin/sh", "-c", text, "sh"}, args...)
}

func TestCommand(t *testing.T) {
	t.Setenv("SIDETONE_TEST_CANARY", canary)
	jwt := token(t, time.Now(), time.Now().Add(time.Hour))
	for name, test := range map[string]struct {
		text string
		args []string
		want string
	}{
		"a token":        {"echo; echo '  " + jwt + "'", nil, jwt},
		"JSON":           {`printf '{"token":"%s","iceServers":[{"urls":"turn:a"}]}' ` + jwt, nil, jwt},
		"no shell":       {`printf %s "$2"`, []string{"a b", "$(id);'\"*"}, "$(id);'\"*"},
		"no environment": {`env | grep -v '^\(PATH\|PWD\|SHLVL\|_\|OLDPWD\)=' | tr ' \n' '__'; printf %s x`, nil, "x"},
		"no input":       {`cat; printf x`, nil, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			k, err := newKeeper(Config{Line: config.Line{TokenCommand: program(test.text, test.args...)}})
			if err != nil {
				t.Fatal(err)
			}
			c := must(t, k)
			if c.Token.Reveal() != test.want || (name == "JSON") != (len(c.ICEServers) == 1) || (test.want == jwt) == c.Expires.IsZero() {
				t.Errorf("%q, %+v", c.Token.Reveal(), c)
			}
		})
	}
}

func TestCommandsThatFail(t *testing.T) {
	for name, test := range map[string]struct {
		text, want string
		refused    bool
	}{
		"status 1":  {"echo " + canary + "; echo " + canary + " >&2; exit 1", "exit status 1; run it by hand to see why", false},
		"status 77": {"exit 77", "exit status 77", true},
		"nothing":   {"true", "printed nothing", false},
		"words":     {"echo Error: no key", "must print a token or JSON, and nothing else", false},
		"bad JSON":  {`echo '{"token":'`, "printed is not the JSON that it should be", false},
		"no token":  {`echo '{"access_token":"` + canary + `"}'`, "printed has no token", false},
		"too much":  {"yes", "printed more than 256 KiB", false},
		"too long":  {"head -c 70000 /dev/zero | tr '\\0' a", "must print a token", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, err := newKeeper(Config{Line: config.Line{TokenCommand: program(test.text)}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = k.Credentials(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, ErrRefused) != test.refused || strings.Contains(err.Error(), canary) {
				t.Errorf("%v; want %q", err, test.want)
			}
		})
	}
	c := &command{argv: []string{"/nonexistent/door-token"}, timeout: time.Second}
	if _, err := c.issue(t.Context()); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
}

// A program that hangs is ended, and so is what it started.
func TestCommandThatHangs(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pids")
	c := &command{argv: program("sleep 1000 & echo $! >" + pids + "; wait"), timeout: time.Second}
	start := time.Now()
	_, err := c.issue(t.Context())
	if err == nil || !strings.Contains(err.Error(), "did not end within 1s") || time.Since(start) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	b, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	status := fmt.Sprintf("/proc/%s/status", strings.TrimSpace(string(b)))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(status)
		if err != nil || strings.Contains(string(text), "State:\tZ") { // gone, or waiting for init to see it
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it lives on:\n%s", text)
		}
	}
}
