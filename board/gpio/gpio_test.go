package gpio_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/board/gpio"
	"sidetone/board/gpio/gpiofake"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	pgpio "periph.io/x/conn/v3/gpio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newBoard has two chips: one with named lines, and one whose lines have no names, but for one that is there twice.
func newBoard() (*gpio.Host, *gpiofake.System, *gpiofake.Chip, *gpiofake.Chip) {
	s := &gpiofake.System{}
	a := s.Add(&gpiofake.Chip{Label: "pinctrl-rp1"}, "ID_SDA", "GPIO17", "GPIO27")
	b := s.Add(&gpiofake.Chip{Label: "expander:0"}, "", "", "ID_SDA")
	return gpio.NewHost(s), s, a, b
}

var both = gpio.Config{Consumer: "test", Edge: pgpio.BothEdges}

// next waits for a change; in virtual time a minute is nothing.
func next(t *testing.T, l *gpio.Line) gpio.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e, err := l.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func input(t *testing.T, h *gpio.Host, address string, c gpio.Config) *gpio.Line {
	t.Helper()
	l, err := h.Input(address, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestAddresses(t *testing.T) {
	h, _, a, b := newBoard()
	for address, at := range map[string]struct {
		chip   *gpiofake.Chip
		offset int
	}{
		"GPIO17":            {a, 1},
		"gpiochip0:1":       {a, 1},
		"/dev/gpiochip0:2":  {a, 2},
		"pinctrl-rp1:2":     {a, 2},
		"gpiochip1:0":       {b, 0},
		"expander:0:1":      {b, 1},
		"/dev/gpiochip1:02": {b, 2},
	} {
		l, err := h.Output(address, true, gpio.Config{Consumer: "sidetone"})
		if err != nil {
			t.Error(err)
			continue
		}
		if at.chip.Consumer(at.offset) != "sidetone" || !at.chip.High(at.offset) {
			t.Errorf("%s is another line", address)
		}
		l.Close()
		if c := at.chip.Consumer(at.offset); c != "" {
			t.Errorf("%s is still held by %q", address, c)
		}
	}
}

// Whatever goes wrong is told with what to do.
func TestRefusals(t *testing.T) {
	h, s, a, b := newBoard()
	a.Take(1, "spi0 CS0")
	a.Take(2, "")
	b.NoInterrupts = true
	for address, want := range map[string][]string{
		"GPIO17":       {`in use by "spi0 CS0"`, "choose another"},
		"gpiochip0:2":  {"in use by somebody who gave no name"},
		"GPIO99":       {"no line has that name", "sidetone gpio"},
		"":             {"no line has that name"},
		"ID_SDA":       {"several have that name", "gpiochip0:0, gpiochip1:2"},
		"gpiochip7:1":  {`no chip "gpiochip7"`, "gpiochip0 (pinctrl-rp1), gpiochip1 (expander:0)"},
		"gpiochip0:3":  {"gpiochip0 has the lines 0 to 2"},
		"gpiochip0:-1": {"no line has that name"},
	} {
		_, err := h.Input(address, both)
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %v; want %q in it", address, err, w)
			}
		}
	}
	if _, err := h.Input("GPIO17", both); !errors.Is(err, unix.EBUSY) {
		t.Errorf("%v is not EBUSY", err)
	}
	if _, err := h.Input("gpiochip1:0", gpio.Config{Edge: pgpio.RisingEdge}); !errors.Is(err, unix.ENXIO) || !strings.Contains(err.Error(), "no interrupt") {
		t.Errorf("a line without interrupt: %v", err)
	}
	for _, c := range []gpio.Config{{Pull: 9}, {Drive: 9}} {
		if _, err := h.Output("gpiochip1:0", false, c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
	s.Fail = func(string) error { return fs.ErrPermission }
	if _, err := h.Input("GPIO17", both); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "group") {
		t.Errorf("no permission: %v", err)
	}
	s.Fail = nil
	a.Old, b.Old = true, true
	if _, err := h.Input("GPIO17", both); err == nil || !strings.Contains(err.Error(), "Linux 5.10") {
		t.Errorf("old kernel: %v", err)
	}
	if _, err := gpio.NewHost(&gpiofake.System{}).Input("GPIO17", both); err == nil || !strings.Contains(err.Error(), "no GPIO chip") {
		t.Errorf("no chips: %v", err)
	}
}

func TestChips(t *testing.T) {
	h, s, a, _ := newBoard()
	a.Take(0, "eeprom")
	s.Fail = func(path string) error {
		if path == "/dev/gpiochip1" {
			return fs.ErrPermission
		}
		return nil
	}
	chips, err := h.Chips()
	if err != nil || len(chips) != 1 {
		t.Fatalf("%+v, %v", chips, err)
	}
	c := chips[0]
	want := []gpio.Info{{Name: "ID_SDA", Used: true, Consumer: "eeprom"}, {Offset: 1, Name: "GPIO17"}, {Offset: 2, Name: "GPIO27"}}
	if c.Path != "/dev/gpiochip0" || c.Name != "gpiochip0" || c.Label != "pinctrl-rp1" || !slices.Equal(c.Lines, want) {
		t.Errorf("%+v", c)
	}
}

// Edges come in order, with the kernel's times, however late they are asked for.
func TestEdges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, a, _ := newBoard()
		l := input(t, h, "GPIO17", gpio.Config{Edge: pgpio.BothEdges, Pull: pgpio.PullUp, Debounce: 7 * time.Millisecond})
		if d := a.Debounce(1); d != 7*time.Millisecond || !l.Debounced() {
			t.Errorf("the kernel debounces by %s", d)
		}
		begin := time.Now()
		for i := range 6 {
			for range 5 {
				time.Sleep(3 * time.Millisecond)
				a.Drive(1, i%2 == 0)
				time.Sleep(3 * time.Millisecond)
				a.Drive(1, i%2 != 0)
			}
			a.Drive(1, i%2 == 0)
			time.Sleep(70 * time.Millisecond)
		}
		time.Sleep(time.Second)
		for i := range 6 {
			e := next(t, l)
			if e.Active != (i%2 == 0) || e.Lost != 0 || e.Time.Sub(begin) != time.Duration(i)*100*time.Millisecond+37*time.Millisecond {
				t.Errorf("edge %d: %+v, %s after the begin", i, e, e.Time.Sub(begin))
			}
		}
		time.AfterFunc(5*time.Second, func() { a.Drive(1, true) })
		if e := next(t, l); !e.Active || time.Since(e.Time) != 0 || e.Time.Sub(begin) != 6607*time.Millisecond {
			t.Errorf("%+v", e)
		}
		if active, err := l.Value(); !active || err != nil {
			t.Errorf("the level is %v, %v", active, err)
		}
	})
}

// An active-low line is active when it is low.
func TestActiveLow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, a, _ := newBoard()
		a.Drive(1, true)
		l := input(t, h, "GPIO17", gpio.Config{Edge: pgpio.BothEdges, ActiveLow: true})
		if active, err := l.Value(); active || err != nil {
			t.Errorf("released it is %v, %v", active, err)
		}
		a.Drive(1, false)
		if e := next(t, l); !e.Active {
			t.Errorf("pressed: %+v", e)
		}
		out, err := h.Output("GPIO27", false, gpio.Config{ActiveLow: true, Drive: gpio.OpenDrain})
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if !a.High(2) {
			t.Error("an inactive output that is active-low begins low")
		}
		if err := out.Set(true); err != nil || a.High(2) {
			t.Errorf("an active one is high, %v", err)
		}
	})
}

// Events that the kernel had no room for are counted, and the level is read again after those that are left.
func TestLostEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, a, _ := newBoard()
		a.Buffer = 4
		l := input(t, h, "GPIO17", both)
		for i := range 11 {
			a.Drive(1, i%2 == 0)
		}
		var got []gpio.Event
		for range 5 {
			got = append(got, next(t, l))
		}
		if got[0].Lost != 7 || got[1].Lost != 0 || got[0].Active || !got[3].Active || !got[4].Active {
			t.Errorf("%+v", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if e, err := l.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the level is read more than once: %+v, %v", e, err)
		}
		a.Drive(1, false)
		if e := next(t, l); e.Active || e.Lost != 0 {
			t.Errorf("%+v", e)
		}
	})
}

// A line without an interrupt is looked at often enough for any finger.
func TestLineWithoutInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, _, b := newBoard()
		b.NoInterrupts = true
		b.Drive(1, true)
		l := input(t, h, "gpiochip1:1", gpio.Config{Edge: pgpio.BothEdges, Debounce: 5 * time.Millisecond})
		if l.Debounced() {
			t.Error("the kernel cannot debounce this")
		}
		for i := range 10 {
			time.AfterFunc(20*time.Millisecond, func() { b.Drive(1, i%2 == 1) })
			if e := next(t, l); e.Active != (i%2 == 1) {
				t.Errorf("%d: %+v", i, e)
			}
		}
		b.Unplug()
		if _, err := l.Next(t.Context()); !errors.Is(err, unix.ENODEV) {
			t.Errorf("%v", err)
		}
	})
}

// Next ends with its context, with Close and with the chip, and can be called again after the first.
func TestNextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, a, _ := newBoard()
		l := input(t, h, "GPIO17", both)
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := l.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			cancel()
		}
		a.Drive(1, true)
		if e := next(t, l); !e.Active {
			t.Errorf("%+v", e)
		}
		time.AfterFunc(time.Second, func() { l.Close() })
		if _, err := l.Next(t.Context()); !errors.Is(err, os.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
		l = input(t, h, "GPIO17", both)
		time.AfterFunc(time.Second, a.Unplug)
		if _, err := l.Next(t.Context()); !errors.Is(err, unix.ENODEV) {
			t.Errorf("unplugged: %v", err)
		}
		if _, err := l.Value(); !errors.Is(err, unix.ENODEV) {
			t.Errorf("unplugged: %v", err)
		}
	})
}

// An output keeps its level when it is given back, where the chip does not see to it.
func TestReleasedOutput(t *testing.T) {
	h, _, a, b := newBoard()
	b.Strict = true
	for address, keeps := range map[string]bool{"GPIO17": true, "gpiochip1:1": false} {
		l, err := h.Output(address, true, gpio.Config{})
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		c := a
		if !keeps {
			c = b
		}
		if c.High(1) != keeps {
			t.Errorf("%s is high: %v", address, !keeps)
		}
	}
}

func TestPin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, a, _ := newBoard()
		p := h.Pin("GPIO17", gpio.Config{Consumer: "pin"})
		if p.WaitForEdge(-1) || p.Read() != pgpio.Low || p.Function() != "" {
			t.Error("a pin that was not set up can be used")
		}
		if err := p.In(pgpio.PullUp, pgpio.RisingEdge); err != nil {
			t.Fatal(err)
		}
		if p.Pull() != pgpio.PullUp || p.Function() != "In" || a.Consumer(1) != "pin" {
			t.Errorf("%s %s %q", p.Pull(), p.Function(), a.Consumer(1))
		}
		begin := time.Now()
		if p.WaitForEdge(time.Second) || time.Since(begin) != time.Second {
			t.Errorf("nothing took %s", time.Since(begin))
		}
		time.AfterFunc(time.Hour, func() { a.Drive(1, true) })
		if !p.WaitForEdge(-1) || p.Read() != pgpio.High {
			t.Error("no edge")
		}
		a.Drive(1, false)
		if p.WaitForEdge(time.Second) {
			t.Error("a falling edge is no rising one")
		}
		// In ends whoever waits, Out too, and Out does not let go of the line.
		for name, end := range map[string]func() error{
			"In":   func() error { return p.In(pgpio.Float, pgpio.BothEdges) },
			"Out":  func() error { return p.Out(pgpio.High) },
			"Halt": p.Halt,
		} {
			if err := p.In(pgpio.Float, pgpio.BothEdges); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(time.Minute, func() {
				if err := end(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
			if p.WaitForEdge(-1) {
				t.Errorf("%s is no edge", name)
			}
			synctest.Wait()
		}
		if err := p.Out(pgpio.High); err != nil || !a.High(1) || p.Function() != "Out" {
			t.Errorf("%v", err)
		}
		if err := p.Out(pgpio.Low); err != nil || a.High(1) {
			t.Errorf("%v", err)
		}
		if err := p.PWM(pgpio.DutyHalf, 0); err == nil {
			t.Error("PWM")
		}
		if err := p.Halt(); err != nil || a.Consumer(1) != "" {
			t.Errorf("%v", err)
		}
	})
}
