package e2e_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// canaries are secrets by name; they may be found nowhere but in the files that are there to keep them.
type canaries map[string]string

func (c canaries) readFile(t *testing.T, name, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c[name] = strings.TrimSpace(string(b))
}

// sing fails the test for each secret that text has.
func (c canaries) sing(t *testing.T, where, text string) {
	t.Helper()
	if text == "" {
		t.Errorf("%s is empty: nothing was looked at", where)
	}
	for name, secret := range c {
		if len(secret) < 8 {
			t.Fatalf("the %s %q is too short to be told from other words", name, secret)
		}
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("the %s is in %s, after %q", name, where, text[max(0, i-80):i])
		}
	}
}

// singIn does so for all files below dir but those that keep secrets, which nobody else may read. It gives the number of
// files by their directory.
func (c canaries) singIn(t *testing.T, dir string, keeps func(path string) bool) map[string]int {
	t.Helper()
	seen := map[string]int{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if info, err := d.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %v, %v", path, info, err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !keeps(path) && len(b) > 0 {
			c.sing(t, path, string(b))
		}
		seen[filepath.Base(filepath.Dir(path))]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// drain ends a process and gives all that it printed.
func (p *process) drain(t *testing.T) string {
	t.Helper()
	p.end(t)
	var b strings.Builder
	for line := range p.lines {
		b.WriteString(line + "\n")
	}
	return b.String()
}

func payloads(all []message) string {
	var b bytes.Buffer
	for _, m := range all {
		b.WriteString(m.topic + " ")
		b.Write(m.payload)
		b.WriteByte('\n')
	}
	return b.String()
}

// TestSecretsStayInside runs a device through calls, trouble and the end of its credential, with everything on that tells
// of it, and looks for its secrets in all that came out.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	l := startLab(t)
	config := l.withOnly(t, "door1", "udp") // its TURN server comes from the config
	home := filepath.Join(l.dir, "devices", "door1")
	c := canaries{"account's API key": l.APIKey, "fleet's password": l.MQTTAdmin.Password, "TURN password": l.TURNPassword}
	c.readFile(t, "key for tokens", filepath.Join(home, "token.key"))
	c.readFile(t, "MQTT password", filepath.Join(home, "mqtt.password"))

	env := []string{
		"SIDETONE_LOG_LEVEL=debug", "SIDETONE_REPORT_DEBUG=file", "SIDETONE_MQTT_STATS_LIVE=true",
		"SIDETONE_REPORT_INTERVAL=1s", "SIDETONE_REPORT_FLUSH_INTERVAL=2s", "SIDETONE_ICE_POLICY=relay",
	}
	fleet := l.subscribe(t, "door1")
	device := startEnv(t, env, "sidetone", "run", "--config", config)
	l.waitRegistered(t, "door1")
	cache := cacheOf(t, filepath.Join(home, "state"), c)
	watching := start(t, "sidetone", "watch", "--config", config)
	if out, code := l.tool(t, "fault", "gateway", "--no-reports"); code != 0 { // they stay in the outbox
		t.Fatal(out)
	}
	call := run(t, 60*time.Second, nil, "sidetone", "call", "--config", config, "--for", "4s", "--json", "tone")
	if call.code != 0 {
		t.Errorf("the call: exit %d, %s", call.code, call.err)
	}
	solo := run(t, 60*time.Second, append(env, "SIDETONE_DEVICE_STATE_DIR="+t.TempDir(), "SIDETONE_CONTROL_SOCKET="+filepath.Join(t.TempDir(), "s")),
		"sidetone", "call", "--config", config, "--for", "1s", "tone")
	status := do(t, config, "status", "--json")
	l.api(t, "DELETE", "/"+l.credential(t, "door1"), "")
	fleet.await(t, "up/state/line", has(`"refused"`))
	time.Sleep(time.Second) // and what is told beside it

	watched := watching.drain(t)
	printed := device.drain(t)
	c.sing(t, "the events of watch", watched)
	c.sing(t, "the output of run", printed+device.stderr.String())
	c.sing(t, "the output of call", call.out+call.err)
	c.sing(t, "the output of a call without the daemon", solo.out+solo.err)
	c.sing(t, "the status", status)
	c.sing(t, "MQTT", payloads(fleet.all("")))
	seen := c.singIn(t, filepath.Join(home, "state"), func(path string) bool { return path == cache })
	for _, dir := range []string{"reports", "debug", "outbox"} {
		if seen[dir] == 0 {
			t.Errorf("there is no file in %s: %v", dir, seen)
		}
	}
	for _, topic := range []string{"up/stats/live", "up/stats/call", "up/event/error", "up/birth"} {
		if len(fleet.all(topic)) == 0 {
			t.Errorf("nothing came on %s", topic)
		}
	}
	if !strings.Contains(device.stderr.String(), "frame sent") {
		t.Error("the log has no debug output")
	}
	if l.proc.stderr.String() != "" {
		c.sing(t, "the log of the lab", l.proc.stderr.String())
	}
}

// cacheOf finds the file in which a device keeps its token over a restart, and learns the secrets in it.
func cacheOf(t *testing.T, dir string, c canaries) (path string) {
	t.Helper()
	eventually(t, 10*time.Second, "the token is kept", func() bool {
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, f := range files {
			var kept struct {
				Token      string `json:"token"`
				ICEServers []struct {
					Credential string `json:"credential"`
				} `json:"ice_servers"`
			}
			if b, err := os.ReadFile(f); err != nil || json.Unmarshal(b, &kept) != nil || kept.Token == "" {
				continue
			}
			path, c["token"] = f, kept.Token
			c["signature of the token"] = kept.Token[strings.LastIndexByte(kept.Token, '.')+1:]
			for _, s := range kept.ICEServers {
				if s.Credential != "" {
					c["TURN password that came with the token"] = s.Credential
				}
			}
		}
		return path != ""
	})
	return path
}

// TestRefusedSecretsStayInside does so for credentials that are of no use: what is told of them must not be they.
func TestRefusedSecretsStayInside(t *testing.T) {
	t.Parallel()
	l := startLab(t)
	c := canaries{"password": "canary-password-4711", "token": "canary-token.without-dots.4711"}
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte(c["token"]), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, config := range map[string]string{
		"password": l.withLogin(t, "door1", "nobody", c["password"]),
		"token":    l.Devices["door2"],
	} {
		env := []string{"SIDETONE_LOG_LEVEL=debug"}
		device := "door1"
		if what == "token" {
			env, device = append(env, "SIDETONE_LINE_TOKEN_FILE="+file), "door2"
		}
		fleet := l.subscribe(t, device)
		p := startEnv(t, env, "sidetone", "run", "--config", config)
		fleet.await(t, "up/state/line", has(`"refused"`))
		status := do(t, config, "status", "--json")
		call := run(t, 30*time.Second, env, "sidetone", "call", "--config", config, "tone")
		time.Sleep(time.Second)
		printed := p.drain(t)
		c.sing(t, what+": the output of run", printed+p.stderr.String())
		c.sing(t, what+": the output of call", call.out+call.err)
		c.sing(t, what+": the status", status)
		c.sing(t, what+": MQTT", payloads(fleet.all("")))
		c.singIn(t, filepath.Join(l.dir, "devices", device, "state"), func(string) bool { return false })
	}
}
