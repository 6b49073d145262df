// Package gpiofake stands in for the kernel's GPIO chips in tests: it understands the same requests, byte by byte, and
// refuses what the kernel refuses. Its time is that of package time, virtual where that is.
package gpiofake

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unsafe"

	"sidetone/board/gpio"
	"sidetone/board/gpio/internal/uapi"

	"golang.org/x/sys/unix"
)

// System is made of chips; the zero value has none.
type System struct {
	Fail func(path string) error // what opening a chip gives; nil, or a result of nil: it opens

	mu      sync.Mutex
	started time.Time
	chips   []*Chip
	files   []*lineFile // by descriptor
}

var _ gpio.System = (*System)(nil)

// Chip is one chip. Its fields are set before it is used.
type Chip struct {
	Label        string
	Strict       bool // a line that is given back becomes low; else it keeps its level, as on a Raspberry Pi
	NoInterrupts bool // its lines cannot tell edges
	Old          bool // the kernel knows version 1 only
	Buffer       int  // how many events a line has room for, whatever is asked for; 0: as many as are asked for

	system *System
	path   string
	lines  []line
	gone   bool
}

type line struct {
	name string
	high bool
	held *lineFile // nil: free
	by   string    // the consumer; of one that nobody here holds too
}

// Add adds a chip with a line for each name; "" is a line without one.
func (s *System) Add(c *Chip, names ...string) *Chip {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started.IsZero() {
		s.started = time.Now()
	}
	c.system, c.path = s, fmt.Sprintf("/dev/gpiochip%d", len(s.chips))
	for _, n := range names {
		c.lines = append(c.lines, line{name: n})
	}
	s.chips = append(s.chips, c)
	return c
}

// Chips implements gpio.System.
func (s *System) Chips() (paths []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.chips {
		if !c.gone {
			paths = append(paths, c.path)
		}
	}
	return paths, nil
}

// Open implements gpio.System.
func (s *System) Open(path string) (gpio.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Fail != nil {
		if err := s.Fail(path); err != nil {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
	for _, c := range s.chips {
		if c.path == path && !c.gone {
			return chipFile{c}, nil
		}
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: unix.ENOENT}
}

// Line implements gpio.System.
func (s *System) Line(fd int32, _ string) (gpio.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[fd-1], nil
}

// Monotonic implements gpio.System.
func (s *System) Monotonic() time.Duration { return time.Since(s.started) }

// Drive sets the level of an input from outside.
func (c *Chip) Drive(offset int, high bool) {
	c.system.mu.Lock()
	defer c.system.mu.Unlock()
	c.change(offset, high)
}

// High is the level of a line, as a lamp at it would show.
func (c *Chip) High(offset int) bool {
	c.system.mu.Lock()
	defer c.system.mu.Unlock()
	return c.lines[offset].high
}

// Take makes a line somebody else's.
func (c *Chip) Take(offset int, consumer string) {
	c.system.mu.Lock()
	defer c.system.mu.Unlock()
	c.lines[offset].by = consumer
	c.lines[offset].held = &lineFile{}
}

// Consumer is who holds a line; "" when nobody does.
func (c *Chip) Consumer(offset int) string {
	c.system.mu.Lock()
	defer c.system.mu.Unlock()
	return c.lines[offset].by
}

// Debounce is the debounce period that the holder of a line asked for.
func (c *Chip) Debounce(offset int) time.Duration {
	c.system.mu.Lock()
	defer c.system.mu.Unlock()
	if f := c.lines[offset].held; f != nil {
		return f.debounce
	}
	return 0
}

// Unplug takes the chip away.
func (c *Chip) Unplug() {
	c.system.mu.Lock()
	defer c.system.mu.Unlock()
	c.gone = true
	for i := range c.lines {
		if f := c.lines[i].held; f != nil {
			f.signal()
		}
	}
}

// Plug brings it back.
func (c *Chip) Plug() {
	c.system.mu.Lock()
	defer c.system.mu.Unlock()
	c.gone = false
}

// change is told with the lock held.
func (c *Chip) change(offset int, high bool) {
	l := &c.lines[offset]
	if l.high == high {
		return
	}
	l.high = high
	switch f := l.held; {
	case f == nil || f.chip == nil:
	case f.debounce == 0:
		f.edge(uint32(offset), high)
	case f.rest == nil:
		f.rest = time.AfterFunc(f.debounce, func() {
			c.system.mu.Lock()
			defer c.system.mu.Unlock()
			if !f.closed {
				f.edge(uint32(offset), l.high)
			}
		})
	default:
		f.rest.Reset(f.debounce)
	}
}

// edge is what the holder of a line hears of a level; called with the lock held.
func (f *lineFile) edge(offset uint32, high bool) {
	if f.high == high {
		return
	}
	f.high = high
	id, flag := uint32(uapi.Falling), uapi.EdgeFalling
	if f.active() {
		id, flag = uapi.Rising, uapi.EdgeRising
	}
	if f.flags&flag == 0 {
		return
	}
	f.seqno++
	if len(f.events) == f.room { // the kernel drops its oldest
		f.events = f.events[1:]
	}
	f.events = append(f.events, uapi.Event{
		TimestampNs: uint64(f.chip.system.Monotonic()), ID: id, Offset: offset, Seqno: f.seqno, LineSeqno: f.seqno,
	})
	f.signal()
}

type chipFile struct{ *Chip }

func (chipFile) Read([]byte) (int, error)        { return 0, unix.ENODEV }
func (chipFile) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }
func (chipFile) Close() error                    { return nil }

// Ioctl implements gpio.File.
func (c chipFile) Ioctl(request uint, arg unsafe.Pointer) error {
	c.system.mu.Lock()
	defer c.system.mu.Unlock()
	if c.gone {
		return unix.ENODEV
	}
	switch request {
	case uapi.GetChipInfo:
		info := (*uapi.ChipInfo)(arg)
		copy(info.Name[:], filepath.Base(c.path))
		copy(info.Label[:], c.Label)
		info.Lines = uint32(len(c.lines))
		return nil
	case uapi.GetLineInfo:
		if c.Old {
			return unix.EINVAL
		}
		return c.info((*uapi.LineInfo)(arg))
	case uapi.GetLine:
		if c.Old {
			return unix.EINVAL
		}
		return c.request((*uapi.LineRequest)(arg))
	}
	return unix.ENOTTY
}

func (c chipFile) info(info *uapi.LineInfo) error {
	if int(info.Offset) >= len(c.lines) {
		return unix.EINVAL
	}
	l := c.lines[info.Offset]
	*info = uapi.LineInfo{Offset: info.Offset, Flags: uapi.Input}
	copy(info.Name[:], l.name)
	copy(info.Consumer[:], l.by)
	if l.held != nil {
		info.Flags = uapi.Used | l.held.flags
	}
	return nil
}

func (c chipFile) request(r *uapi.LineRequest) error {
	if r.NumLines != 1 || int(r.Offsets[0]) >= len(c.lines) {
		return unix.EINVAL
	}
	l := &c.lines[r.Offsets[0]]
	f := &lineFile{chip: c.Chip, line: l, wake: make(chan struct{}), room: int(r.EventBufferSize)}
	if c.Buffer > 0 {
		f.room = c.Buffer
	}
	level, err := f.configure(r.Config)
	if err != nil {
		return err
	}
	if l.held != nil {
		return unix.EBUSY
	}
	l.held, l.by = f, cString(r.Consumer)
	if f.flags&uapi.Output != 0 {
		l.high = level
	}
	f.high = l.high
	c.system.files = append(c.system.files, f)
	r.FD = int32(len(c.system.files))
	return nil
}

// configure takes a configuration as the kernel does, and gives the level of an output.
func (f *lineFile) configure(c uapi.LineConfig) (high bool, err error) {
	const bias, drive = uapi.BiasPullUp | uapi.BiasPullDown | uapi.BiasDisabled, uapi.OpenDrain | uapi.OpenSource
	edges := c.Flags & (uapi.EdgeRising | uapi.EdgeFalling)
	in, out := c.Flags&uapi.Input != 0, c.Flags&uapi.Output != 0
	switch {
	case in && out, edges != 0 && !in, c.Flags&drive != 0 && !out, c.Flags&drive == drive,
		c.Flags&bias != 0 && !in && !out, c.Flags&bias&(c.Flags&bias-1) != 0, c.NumAttrs > uapi.AttrsMax:
		return false, unix.EINVAL
	}
	f.flags, f.debounce = c.Flags, 0
	for _, a := range c.Attrs[:c.NumAttrs] {
		switch {
		case a.ID == uapi.AttrOutputValues && out:
			high = binary.NativeEndian.Uint64(a.Value[:])&a.Mask&1 != 0
		case a.ID == uapi.AttrDebounce && in:
			f.debounce = time.Duration(binary.NativeEndian.Uint32(a.Value[:])) * time.Microsecond
		default:
			return false, unix.EINVAL
		}
	}
	if f.chip.NoInterrupts && (edges != 0 || f.debounce > 0) {
		return false, unix.ENXIO
	}
	return high != (f.flags&uapi.ActiveLow != 0), nil
}

// lineFile is a line that is held.
type lineFile struct {
	chip     *Chip
	line     *line
	flags    uint64
	debounce time.Duration
	high     bool        // the level that the holder knows, of an input that is debounced
	rest     *time.Timer // of a contact that bounces
	room     int
	events   []uapi.Event
	seqno    uint32
	deadline time.Time
	closed   bool
	wake     chan struct{} // closed, and replaced, by what a Read may wait for
}

// active is asked with the lock held.
func (f *lineFile) active() bool {
	high := f.line.high
	if f.debounce > 0 {
		high = f.high
	}
	return high != (f.flags&uapi.ActiveLow != 0)
}

// signal is called with the lock held.
func (f *lineFile) signal() {
	if f.wake != nil {
		close(f.wake)
		f.wake = make(chan struct{})
	}
}

// Ioctl implements gpio.File.
func (f *lineFile) Ioctl(request uint, arg unsafe.Pointer) error {
	f.chip.system.mu.Lock()
	defer f.chip.system.mu.Unlock()
	switch {
	case f.closed:
		return os.ErrClosed
	case f.chip.gone:
		return unix.ENODEV
	}
	switch request {
	case uapi.GetLineValues:
		v := (*uapi.LineValues)(arg)
		v.Bits = 0
		if f.active() {
			v.Bits = v.Mask & 1
		}
		return nil
	case uapi.SetLineValues:
		if f.flags&uapi.Output == 0 {
			return unix.EPERM
		}
		if v := (*uapi.LineValues)(arg); v.Mask&1 != 0 {
			f.line.high = (v.Bits&1 != 0) != (f.flags&uapi.ActiveLow != 0)
		}
		return nil
	case uapi.SetLineConfig:
		high, err := f.configure(*(*uapi.LineConfig)(arg))
		if err == nil && f.flags&uapi.Output != 0 {
			f.line.high = high
		}
		return err
	}
	return unix.ENOTTY
}

// Read implements gpio.File.
func (f *lineFile) Read(b []byte) (int, error) {
	for {
		n, wake, deadline, err := f.take(b)
		if n > 0 || err != nil {
			return n, err
		}
		var late <-chan time.Time
		if !deadline.IsZero() {
			late = time.After(time.Until(deadline))
		}
		select {
		case <-wake:
		case <-late:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (f *lineFile) take(b []byte) (n int, wake <-chan struct{}, deadline time.Time, err error) {
	f.chip.system.mu.Lock()
	defer f.chip.system.mu.Unlock()
	switch {
	case f.closed:
		return 0, nil, deadline, os.ErrClosed
	case f.chip.gone:
		return 0, nil, deadline, unix.ENODEV
	case f.flags&(uapi.EdgeRising|uapi.EdgeFalling) == 0 || len(b) < uapi.EventSize:
		return 0, nil, deadline, unix.EINVAL
	}
	for len(f.events) > 0 && len(b)-n >= uapi.EventSize {
		if _, err := binary.Encode(b[n:], binary.NativeEndian, f.events[0]); err != nil {
			return n, nil, deadline, err
		}
		n, f.events = n+uapi.EventSize, f.events[1:]
	}
	return n, f.wake, f.deadline, nil
}

// SetReadDeadline implements gpio.File.
func (f *lineFile) SetReadDeadline(t time.Time) error {
	f.chip.system.mu.Lock()
	defer f.chip.system.mu.Unlock()
	f.deadline = t
	f.signal()
	return nil
}

// Close implements gpio.File.
func (f *lineFile) Close() error {
	f.chip.system.mu.Lock()
	defer f.chip.system.mu.Unlock()
	if f.closed {
		return os.ErrClosed
	}
	f.closed = true
	f.line.held, f.line.by = nil, ""
	if f.chip.Strict {
		f.line.high = false
	}
	f.signal()
	return nil
}

func cString(b [uapi.NameSize]byte) string {
	before, _, _ := bytes.Cut(b[:], []byte{0})
	return string(before)
}
