package slot

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const envSize = 1024

// newUBoot has a redundant environment in one file, in which slot a boots.
func newUBoot(t *testing.T, running string) (UBoot, *int) {
	path := filepath.Join(t.TempDir(), "env")
	b, err := env{vars: []string{"bootdelay=0", "sidetone_slot=a"}, flags: 7}.bytes(envSize)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(append([]byte{}, b...), make([]byte, envSize)...), 0o600); err != nil {
		t.Fatal(err)
	}
	reboots := new(int)
	return UBoot{
		Copies: [2]EnvCopy{{path, 0}, {path, envSize}}, Size: envSize, Running: running, Slots: [2]string{"a", "b"},
		Path:   func(slot string) string { return path },
		Reboot: func() error { *reboots++; return nil },
	}, reboots
}

// boot is what U-Boot does with its environment.
func (c UBoot) boot(t *testing.T) UBoot {
	t.Helper()
	e, err := c.read()
	if err != nil {
		t.Fatal(err)
	}
	c.Running = e.get(envSlot)
	if e.get(envAvailable) != "1" {
		return c
	}
	if e.get(envCount) == "1" { // altbootcmd
		e = e.set(envAvailable, "0")
	} else {
		e, c.Running = e.set(envCount, "1"), e.get(envTry)
	}
	if err := c.write(e); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestUBoot(t *testing.T) {
	c, reboots := newUBoot(t, "a")
	if s, err := c.Status(); err != nil || s != (Status{Running: "a", Other: "b"}) {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := c.Commit(); !errors.Is(err, ErrNoTrial) {
		t.Error(err)
	}
	if err := c.Try(); err != nil || *reboots != 1 {
		t.Fatal(err)
	}
	c = c.boot(t)
	if s, err := c.Status(); err != nil || s != (Status{Running: "b", Other: "a", Trial: true}) {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := c.Open(); !errors.Is(err, ErrTrial) {
		t.Errorf("what boots is open for writing: %v", err)
	}
	// A reset without commit: the old one, for good.
	c = c.boot(t).boot(t)
	if s, err := c.Status(); err != nil || s != (Status{Running: "a", Other: "b"}) {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := c.Try(); err != nil {
		t.Fatal(err)
	}
	c = c.boot(t)
	if err := c.Revert(); err != nil || *reboots != 3 {
		t.Fatal(err)
	}
	c = c.boot(t)
	if err := errors.Join(c.Try()); err != nil {
		t.Fatal(err)
	}
	c = c.boot(t)
	if err := c.Commit(); err != nil {
		t.Fatal(err)
	}
	c = c.boot(t).boot(t)
	if s, err := c.Status(); err != nil || s != (Status{Running: "b", Other: "a"}) {
		t.Errorf("%+v, %v", s, err)
	}
	if e, _ := c.read(); e.get("bootdelay") != "0" {
		t.Errorf("somebody else's variable is lost: %q", e.vars)
	}
}

// Whatever half of a copy is written when the power goes, what was before is read, or what was to be.
func TestUBootCuts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		c, _ := newUBoot(t, "a")
		for range r.IntN(3) {
			e, _ := c.read()
			_ = c.write(e.set("more", "x"))
		}
		before, _ := os.ReadFile(c.Copies[0].Path)
		was, _ := c.read()
		if err := c.Try(); err != nil {
			t.Fatal(err)
		}
		after, _ := os.ReadFile(c.Copies[0].Path)
		for at := 0; at < len(after); at += 64 {
			if r.IntN(2) == 0 {
				copy(after[at:at+64], before[at:at+64])
			}
		}
		_ = os.WriteFile(c.Copies[0].Path, after, 0o600)
		e, err := c.read()
		if err != nil || e.get(envSlot) != "a" || e.flags != was.flags && e.flags != was.flags+1 {
			t.Fatalf("%+v, %v", e, err)
		}
	}
}

func TestNewer(t *testing.T) {
	for zero := range 256 {
		one := byte(zero + 1)
		if !newer(byte(zero), one) || newer(one, byte(zero)) {
			t.Errorf("%d, %d", zero, one)
		}
	}
}

func TestUBootErrors(t *testing.T) {
	c, _ := newUBoot(t, "c")
	if _, err := c.Status(); err == nil || !strings.Contains(err.Error(), `slot "c" runs`) {
		t.Error(err)
	}
	c, _ = newUBoot(t, "a")
	_ = os.WriteFile(c.Copies[0].Path, bytes.Repeat([]byte{1}, 2*envSize), 0o600)
	if err := c.Try(); err == nil || !strings.Contains(err.Error(), "CRC is wrong") {
		t.Error(err)
	}
	e := env{}
	if _, err := e.set("x", strings.Repeat("y", envSize)).bytes(envSize); err == nil {
		t.Error("too long")
	}
}

func FuzzEnv(f *testing.F) {
	b, _ := env{vars: []string{"a=1"}}.bytes(64)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEnv(b)
		if err != nil {
			return
		}
		if e.set("x", "1").get("x") != "1" {
			t.Error("set, but not there")
		}
		if again, err := e.bytes(len(b)); err == nil {
			if back, err := parseEnv(again); err != nil || len(back.vars) != len(e.vars) {
				t.Errorf("%q: %q, %v", e.vars, back.vars, err)
			}
		}
	})
}
