package indicator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bulb notes when it changes.
type bulb struct {
	begin time.Time
	mu    sync.Mutex
	on    bool
	log   []string
	err   error
}

func (b *bulb) Set(on bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil && on != b.on {
		b.on = on
		b.log = append(b.log, fmt.Sprintf("%v@%s", on, time.Since(b.begin)))
	}
	return b.err
}

func (b *bulb) Close() error {
	b.log = append(b.log, "closed")
	return nil
}

func TestLamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var red, green, blue, single bulb
		for _, b := range []*bulb{&red, &green, &blue, &single} {
			b.begin = time.Now()
		}
		failed := func(err error) { t.Error(err) }
		ctx, cancel := context.WithCancel(t.Context())
		lamps := []*Lamp{NewRGB(&red, &green, &blue, failed), NewSingle(&single, failed)}
		ended := make(chan struct{})
		show := func(p Pattern) {
			for _, l := range lamps {
				l.Show(p)
			}
		}
		show(Pattern{Colour: White, Duty: 100}) // the next comes before anybody looks
		show(Pattern{Colour: Yellow, Period: time.Second, Duty: 20})
		for _, l := range lamps {
			go func() {
				l.Run(ctx)
				ended <- struct{}{}
			}()
		}
		time.Sleep(1500 * time.Millisecond)
		show(Pattern{Colour: Blue, Duty: 100})
		time.Sleep(time.Minute)
		cancel()
		<-ended
		<-ended
		const blinks = "true@0s false@200ms true@1s false@1.2s"
		for name, c := range map[string]struct {
			got  *bulb
			want string
		}{
			"red":    {&red, blinks + " closed"},
			"green":  {&green, blinks + " closed"},
			"blue":   {&blue, "true@1.5s false@1m1.5s closed"},
			"single": {&single, blinks + " true@1.5s false@1m1.5s closed"},
		} {
			if got := strings.Join(c.got.log, " "); got != c.want {
				t.Errorf("%s: %s, want %s", name, got, c.want)
			}
		}
	})
}

// A light that does not work is told of once, and goes on blinking when it works again.
func TestBrokenLight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, told := &bulb{begin: time.Now(), err: errors.New("no chip")}, 0
		l := NewSingle(b, func(error) { told++ })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { l.Run(ctx); close(ended) }()
		l.Show(Pattern{Period: time.Second, Duty: 50})
		time.Sleep(10250 * time.Millisecond)
		b.mu.Lock()
		b.err = nil
		b.mu.Unlock()
		time.Sleep(900 * time.Millisecond)
		cancel()
		<-ended
		if got := strings.Join(b.log, " "); told != 1 || got != "true@11s false@11.15s closed" {
			t.Errorf("told %d times, %s", told, got)
		}
	})
}

func TestSysLED(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{"max_brightness": "255\n", "brightness": "7\n", "trigger": "none [mmc0] timer\n"}
	if err := os.Mkdir(filepath.Join(dir, "ACT"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, "ACT", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	is := func(when, brightness, trigger string) {
		t.Helper()
		for name, want := range map[string]string{"brightness": brightness, "trigger": trigger} {
			if got, err := os.ReadFile(filepath.Join(dir, "ACT", name)); err != nil || string(got) != want {
				t.Errorf("%s: %s is %q, %v; want %q", when, name, got, err, want)
			}
		}
	}
	l, err := OpenSysLED(dir, "ACT")
	if err != nil {
		t.Fatal(err)
	}
	is("ours", "7\n", "none")
	if err := l.Set(true); err != nil {
		t.Error(err)
	}
	is("lit", "255", "none")
	if err := l.Set(false); err != nil {
		t.Error(err)
	}
	is("dark", "0", "none")
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	is("given back", "7", "mmc0")
	if _, err := OpenSysLED(dir, "PWR"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v", err)
	}
}
