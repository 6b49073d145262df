package identity

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/provisioning/config"
)

// coldStart is a device that was switched off for a while, and how its clock stands then.
func TestColdStart(t *testing.T) {
	for name, test := range map[string]struct {
		life, off time.Duration
		clock     time.Duration // how far our clock has gone on the whole
		used      bool
		refreshed time.Duration // no later than this after the start
	}{
		"at once":                {24 * time.Hour, time.Second, time.Second, true, 21 * time.Hour},
		"half its life":          {24 * time.Hour, 12 * time.Hour, 12 * time.Hour, true, 9 * time.Hour},
		"past its refresh":       {24 * time.Hour, 21 * time.Hour, 21 * time.Hour, true, 11 * time.Second},
		"a tenth":                {10 * time.Hour, 9*time.Hour + time.Second, 9*time.Hour + time.Second, false, 0},
		"over":                   {time.Hour, 48 * time.Hour, 48 * time.Hour, false, 0},
		"clock at 1970, soon":    {24 * time.Hour, time.Hour, -30 * 365 * 24 * time.Hour, true, 11 * time.Second},
		"clock at 1970, at last": {24 * time.Hour, 24 * 365 * time.Hour, -30 * 365 * 24 * time.Hour, true, 11 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			line := config.Line{TokenURL: "https://broker.test/t", TokenKeyFile: file(t, canary)}
			now := time.Now().Truncate(time.Second)
			first := token(t, now, now.Add(test.life))
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(now))
				b := &tokens{answer: func() any {
					return map[string]any{"token": first, "iceServers": []any{map[string]any{"urls": "turn:a", "username": "u", "credential": canary}}}
				}}
				must(t, brokerKeeper(t, b, Config{Line: line, StateDir: dir}))
			})
			info, err := os.Stat(filepath.Join(dir, "token.json"))
			if err != nil || info.Mode() != 0o600 {
				t.Fatalf("%v, %v", info, err)
			}
			synctest.Test(t, func(t *testing.T) {
				if wake := now.Add(test.clock); wake.After(time.Now()) {
					time.Sleep(time.Until(wake))
				} // else it is the year 2000 here: years before the token
				there := now.Add(test.off)
				start := time.Now()
				b := &tokens{answer: func() any {
					now := there.Add(time.Since(start))
					return map[string]any{"token": token(t, now, now.Add(test.life))}
				}}
				k := brokerKeeper(t, b, Config{Line: line, StateDir: dir, Warn: func(w Warning) { t.Errorf("%+v", w) }})
				defer run(t, k)()
				c := must(t, k)
				if used := c.Token.Reveal() == first; used != test.used || used != (b.asked.Load() == 0) {
					t.Fatalf("from the cache: %v; the broker was asked %d times", used, b.asked.Load())
				}
				if test.used {
					if len(c.ICEServers) != 1 || c.ICEServers[0].Credential.Reveal() != canary {
						t.Errorf("%+v", c.ICEServers)
					}
					time.Sleep(9 * time.Second)
					if b.asked.Load() != 0 {
						t.Error("asked within 10 s of the start: a device that restarts in a loop would press the broker")
					}
					time.Sleep(test.refreshed - 9*time.Second)
					synctest.Wait()
					if !told(k) || must(t, k).Token.Reveal() == first {
						t.Error("not refreshed in time")
					}
				}
			})
		})
	}
}

// A token from disk that the platform refuses was stale: the broker is asked at once, and the disk forgets it.
func TestColdStartWithARefusedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		line := config.Line{TokenURL: "https://broker.test/t", TokenKeyFile: file(t, canary)}
		b := lives(t, time.Hour, 0)
		first := must(t, brokerKeeper(t, b, Config{Line: line, StateDir: dir}))

		time.Sleep(time.Minute)
		k := brokerKeeper(t, b, Config{Line: line, StateDir: dir})
		stop := run(t, k)
		if must(t, k).Token.Reveal() != first.Token.Reveal() {
			t.Fatal("the cache is not used")
		}
		k.Invalidate()
		synctest.Wait()
		if !told(k) || b.asked.Load() != 2 {
			t.Errorf("asked %d times", b.asked.Load())
		}
		must(t, k)
		// And once more: a fresh one. Nothing stays on disk.
		k.Invalidate()
		synctest.Wait()
		stop()
		if _, err := os.Stat(filepath.Join(dir, "token.json")); !os.IsNotExist(err) {
			t.Errorf("a refused token stays on disk: %v", err)
		}
	})
}

func TestWhatIsOnDiskAndOfNoUse(t *testing.T) {
	good := func(t *testing.T, line config.Line) []byte {
		dir := t.TempDir()
		b := lives(t, time.Hour, 0)
		must(t, brokerKeeper(t, b, Config{Line: line, StateDir: dir}))
		text, err := os.ReadFile(filepath.Join(dir, "token.json"))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	line := config.Line{URL: "wss://a", TokenURL: "https://broker.test/t", TokenKeyFile: file(t, canary)}
	other := line
	other.URL = "wss://b"
	whole := good(t, line)
	var noEnd map[string]any
	if err := json.Unmarshal(whole, &noEnd); err != nil {
		t.Fatal(err)
	}
	delete(noEnd, "expires")
	withoutEnd, _ := json.Marshal(noEnd)
	for name, test := range map[string]struct {
		text   []byte
		warned bool
	}{
		"cut":              {whole[:len(whole)/2], true},
		"empty":            {nil, true},
		"of another line":  {good(t, other), false},
		"without its end":  {withoutEnd, true},
		"of another world": {[]byte(`{"token":1}`), true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "token.json")
			put(t, path, string(test.text))
			var out bytes.Buffer
			b := lives(t, time.Hour, 0)
			must(t, brokerKeeper(t, b, Config{Line: line, StateDir: dir, Logger: slog.New(slog.NewTextHandler(&out, nil))}))
			if b.asked.Load() != 1 || (out.Len() > 0) != test.warned {
				t.Errorf("asked %d times; log: %s", b.asked.Load(), out.String())
			}
			text, err := os.ReadFile(path)
			if _, bad := readKept(text); err != nil || bad != nil {
				t.Errorf("it is not replaced: %v, %v", err, bad)
			}
		})
	}
}

// A disk that takes nothing costs a warning, not the login.
func TestDiskFull(t *testing.T) {
	dir := filepath.Join(file(t, "a file, not a directory"), "state")
	var out bytes.Buffer
	k := brokerKeeper(t, lives(t, time.Hour, 0), Config{StateDir: dir, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	c := must(t, k)
	must(t, k)
	k.save()
	if n := strings.Count(out.String(), "could not be replaced"); n != 1 || strings.Contains(out.String(), c.Token.Reveal()) {
		t.Errorf("log:\n%s", out.String())
	}
}

// What lies in files already is not copied to another.
func TestFilesAreNotCached(t *testing.T) {
	dir := t.TempDir()
	for _, line := range []config.Line{{TokenFile: file(t, token(t, time.Now(), time.Now().Add(time.Hour)))}, {Login: "u", PasswordFile: file(t, canary)}} {
		k, err := newKeeper(Config{Line: line, StateDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		must(t, k)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		c := NewClock(time.Time{})
		if !c.Plausible(now) || !c.Now().Equal(now) {
			t.Error("a clock of which nothing is known is believed")
		}
		built := now.Add(1000 * time.Hour)
		c = NewClock(built)
		if c.Plausible(now) || !c.Now().Equal(built) || !c.Plausible(built) {
			t.Error("before it was built")
		}
		c.saw(built.Add(-time.Hour))
		c.saw(time.Time{})
		c.saw(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
		if !c.Now().Equal(built) {
			t.Error("the floor moved")
		}
		c.saw(built.Add(time.Hour))
		if !c.Now().Equal(built.Add(time.Hour)) {
			t.Error("the floor did not rise")
		}
		time.Sleep(2000 * time.Hour)
		if !c.Now().Equal(time.Now()) {
			t.Error("the clock is right by now")
		}
	})
}

// A device that wakes up in 1970 believes no clock about a file's token either.
func TestExpiryIsNotJudgedByAClockBelowItsFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is the year 2000 here
		old := time.Now().Add(-24 * time.Hour)
		path := file(t, token(t, old, old.Add(time.Hour)))
		for built, refused := range map[time.Time]bool{{}: true, time.Now().Add(-time.Hour): true, time.Now().Add(time.Hour): false} {
			k, err := newKeeper(Config{Line: config.Line{TokenFile: path}, Clock: NewClock(built)})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := k.Credentials(t.Context()); (err != nil) != refused {
				t.Errorf("built %v: %v", built, err)
			}
		}
	})
}
