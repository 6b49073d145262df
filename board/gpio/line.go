package gpio

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"sidetone/board/gpio/internal/uapi"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/gpio"
)

// Drive is what an output does for its two values.
type Drive uint8

// Drives.
const (
	PushPull   Drive = iota // drives both
	OpenDrain               // drives low, and lets go for high
	OpenSource              // drives high, and lets go for low
)

// Config says how a line is used.
type Config struct {
	Consumer  string // who we are to others who want the line; at most 31 bytes of it
	ActiveLow bool   // active means a low level
	Pull      gpio.Pull
	Edge      gpio.Edge     // inputs: which edges Next gives
	Debounce  time.Duration // inputs: how long a level must last to be one; 0: no debouncing
	Drive     Drive         // outputs
}

// Event is a change of an input.
type Event struct {
	Active bool      // what it changed to
	Time   time.Time // when, by the kernel's word
	Lost   int       // how many changes before this one the kernel had no room for
}

// Line is a line that is ours until Close. Next is for one goroutine at a time; all else for any.
type Line struct {
	address string
	system  System
	file    File
	polled  bool // the line has no interrupt: Next looks at its level instead of waiting for edges

	// of Next
	events []uapi.Event // read, but not given yet
	seqno  uint32       // of the event given last
	gap    bool         // events were lost: when those that are left have been given the level is to be read
	last   bool         // polled: the value given last
}

const (
	// bufferSize is how many events the kernel is asked to keep; its own choice is 16.
	bufferSize = 128
	// pollInterval is how often a line without an interrupt is looked at: shorter than any finger.
	pollInterval = 5 * time.Millisecond
)

// Input takes the line at that address as an input.
func (h *Host) Input(address string, c Config) (*Line, error) {
	return h.request(address, c, func(c Config) (uapi.LineConfig, error) { return c.input() })
}

// Output takes the line at that address as an output, which has its first value from the moment it is one. What the
// level does after Close, or after the end of the program, is the chip's affair: many keep it.
func (h *Host) Output(address string, active bool, c Config) (*Line, error) {
	c.Edge, c.Debounce = gpio.NoEdge, 0
	return h.request(address, c, func(c Config) (uapi.LineConfig, error) { return c.output(active) })
}

func (h *Host) request(address string, c Config, config func(Config) (uapi.LineConfig, error)) (*Line, error) {
	path, offset, err := h.find(address)
	if err != nil {
		return nil, err
	}
	chip, err := h.open(path)
	if err != nil {
		return nil, err
	}
	defer chip.Close()
	l := &Line{address: address, system: h.system}
	r := uapi.LineRequest{NumLines: 1}
	r.Offsets[0] = offset
	copy(r.Consumer[:uapi.NameSize-1], c.Consumer)
	for {
		if r.Config, err = config(c); err != nil {
			return nil, fmt.Errorf("line %q: %w", address, err)
		}
		if c.Edge != gpio.NoEdge {
			r.EventBufferSize = bufferSize
		}
		if err = chip.Ioctl(uapi.GetLine, unsafe.Pointer(&r)); err == nil {
			break
		}
		if c.Edge == gpio.BothEdges && (errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV)) { // no interrupt
			l.polled = true
			c.Edge, c.Debounce = gpio.NoEdge, 0
			continue
		}
		return nil, fmt.Errorf("line %q: %w", address, refused(chip, offset, err))
	}
	if l.file, err = h.system.Line(r.FD, address); err != nil {
		return nil, fmt.Errorf("line %q: %w", address, err)
	}
	if l.polled {
		if l.last, err = l.Value(); err != nil {
			l.Close()
			return nil, err
		}
	}
	return l, nil
}

// refused says why the kernel did not give a line, or configure it.
func refused(chip File, offset uint32, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		by := "somebody who gave no name"
		if info, ierr := lineInfo(chip, offset); ierr == nil && info.Consumer != "" {
			by = fmt.Sprintf("%q", info.Consumer)
		}
		return fmt.Errorf("%w: it is in use by %s: end that, take its overlay out of the board's configuration, or choose another line", err, by)
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w: the line cannot tell edges, having no interrupt, or its chip is gone", err)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOTSUP), errors.Is(err, errNotSupported):
		return fmt.Errorf("%w: the chip cannot do what is asked for with this line; try it without bias, and inputs as inputs", err)
	}
	return err
}

// errNotSupported is ENOTSUPP, which belongs to the kernel but gets out of some drivers.
const errNotSupported = unix.Errno(524)

// Debounced tells whether the kernel debounces what Next gives, as Config wanted: it does not where the line has no
// interrupt.
func (l *Line) Debounced() bool { return !l.polled }

// Value reads the line: whether it is active.
func (l *Line) Value() (bool, error) {
	v := uapi.LineValues{Mask: 1}
	if err := l.file.Ioctl(uapi.GetLineValues, unsafe.Pointer(&v)); err != nil {
		return false, fmt.Errorf("reading line %q: %w", l.address, err)
	}
	return v.Bits&1 != 0, nil
}

// Set gives an output its value.
func (l *Line) Set(active bool) error {
	v := uapi.LineValues{Mask: 1}
	if active {
		v.Bits = 1
	}
	if err := l.file.Ioctl(uapi.SetLineValues, unsafe.Pointer(&v)); err != nil {
		return fmt.Errorf("setting line %q: %w", l.address, err)
	}
	return nil
}

// Close gives the line back. A Next that waits ends.
func (l *Line) Close() error { return l.file.Close() }

// drive makes an input an output without letting go of it.
func (l *Line) drive(c Config, active bool) error {
	raw, err := c.output(active)
	if err == nil {
		err = l.file.Ioctl(uapi.SetLineConfig, unsafe.Pointer(&raw))
	}
	if err != nil {
		return fmt.Errorf("making line %q an output: %w", l.address, err)
	}
	return nil
}

// Next waits for the next change, until ctx ends. After changes that the kernel had no room for, the last one given is
// what the level is now; changes may then follow one another to the same value.
func (l *Line) Next(ctx context.Context) (Event, error) {
	if l.polled {
		return l.poll(ctx)
	}
	if len(l.events) == 0 && l.gap {
		l.gap = false
		active, err := l.Value()
		return Event{Active: active, Time: time.Now()}, err
	}
	for len(l.events) == 0 {
		if err := l.read(ctx); err != nil {
			return Event{}, fmt.Errorf("line %q: %w", l.address, err)
		}
	}
	e := l.events[0]
	l.events = l.events[1:]
	lost := int(int32(e.Seqno - l.seqno - 1)) // it wraps around
	l.seqno = e.Seqno
	l.gap = l.gap || lost > 0
	ago := l.system.Monotonic() - time.Duration(e.TimestampNs)
	return Event{Active: e.ID == uapi.Rising, Time: time.Now().Add(-ago), Lost: max(0, lost)}, nil
}

// read waits for events, and takes those there are.
func (l *Line) read(ctx context.Context) error {
	if err := l.file.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.file.SetReadDeadline(time.Unix(1, 0)) })()
	buf := make([]byte, bufferSize*uapi.EventSize)
	n, err := l.file.Read(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ctx.Err() // nil when an earlier call's deadline was late: the caller tries again
	}
	for b := buf[:n]; len(b) >= uapi.EventSize; b = b[uapi.EventSize:] {
		var e uapi.Event
		if _, err := binary.Decode(b, binary.NativeEndian, &e); err != nil {
			return err
		}
		l.events = append(l.events, e)
	}
	return err
}

func (l *Line) poll(ctx context.Context) (Event, error) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return Event{}, fmt.Errorf("line %q: %w", l.address, ctx.Err())
		case now := <-tick.C:
			active, err := l.Value()
			if err != nil || active != l.last {
				l.last = active
				return Event{Active: active, Time: now}, err
			}
		}
	}
}

func (c Config) input() (uapi.LineConfig, error) {
	out := uapi.LineConfig{Flags: uapi.Input}
	if c.Edge&gpio.RisingEdge != 0 {
		out.Flags |= uapi.EdgeRising
	}
	if c.Edge&gpio.FallingEdge != 0 {
		out.Flags |= uapi.EdgeFalling
	}
	if c.Debounce > 0 {
		a := uapi.ConfigAttribute{Attribute: uapi.Attribute{ID: uapi.AttrDebounce}, Mask: 1}
		binary.NativeEndian.PutUint32(a.Value[:], uint32(c.Debounce.Microseconds()))
		out.Attrs[0], out.NumAttrs = a, 1
	}
	return c.common(out)
}

func (c Config) output(active bool) (uapi.LineConfig, error) {
	out := uapi.LineConfig{Flags: uapi.Output, NumAttrs: 1}
	out.Attrs[0] = uapi.ConfigAttribute{Attribute: uapi.Attribute{ID: uapi.AttrOutputValues}, Mask: 1}
	if active {
		binary.NativeEndian.PutUint64(out.Attrs[0].Value[:], 1)
	}
	switch c.Drive {
	case PushPull:
	case OpenDrain:
		out.Flags |= uapi.OpenDrain
	case OpenSource:
		out.Flags |= uapi.OpenSource
	default:
		return out, fmt.Errorf("unknown drive %d", c.Drive)
	}
	return c.common(out)
}

func (c Config) common(out uapi.LineConfig) (uapi.LineConfig, error) {
	if c.ActiveLow {
		out.Flags |= uapi.ActiveLow
	}
	switch c.Pull {
	case gpio.PullNoChange:
	case gpio.Float:
		out.Flags |= uapi.BiasDisabled
	case gpio.PullDown:
		out.Flags |= uapi.BiasPullDown
	case gpio.PullUp:
		out.Flags |= uapi.BiasPullUp
	default:
		return out, fmt.Errorf("unknown bias %s", c.Pull)
	}
	return out, nil
}
