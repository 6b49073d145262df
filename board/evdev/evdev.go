// Package evdev reads the buttons that a USB speakerphone has of its own: the kernel makes keys of them, on an input device
// beside the sound card.
package evdev

import (
	"context"
	"encoding/binary"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Key is a key as include/uapi/linux/input-event-codes.h numbers them.
type Key uint16

// Keys that speakerphones have.
const (
	KeyMute       Key = 113
	KeyVolumeDown Key = 114
	KeyVolumeUp   Key = 115
	KeyPhone      Key = 169 // the hook
	KeyMicMute    Key = 248
)

// An event is two longs of time, u16 type, u16 code, s32 value.
const (
	eventSize = 2*bits.UintSize/8 + 8
	typeKey   = 1

	released = 0
	repeated = 2
)

// lookInterval is how often new input devices are looked for.
const lookInterval = time.Second

// System is where the kernel's files are.
type System struct {
	Sys string // "/sys"
	Dev string // "/dev"
}

// Kernel is the system itself.
var Kernel = System{"/sys", "/dev"}

// Watch hands each key that is pressed on a USB device to pressed, until ctx ends: of those devices which have the sound cards that
// cards gives by their numbers, now and whenever they are plugged in. Volume keys repeat while they are held.
func (s System) Watch(ctx context.Context, cards func() []int, pressed func(Key)) {
	var (
		wait sync.WaitGroup
		mu   sync.Mutex
		open = map[string]bool{}
	)
	defer wait.Wait()
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		for _, name := range s.inputs(cards()) {
			mu.Lock()
			known := open[name]
			mu.Unlock()
			if known {
				continue
			}
			f, err := os.Open(filepath.Join(s.Dev, "input", name))
			if err != nil {
				continue // it is gone again, or not ours to read
			}
			mu.Lock()
			open[name] = true
			mu.Unlock()
			wait.Go(func() {
				read(ctx, f, pressed)
				mu.Lock()
				delete(open, name)
				mu.Unlock()
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// inputs gives the input devices, as "event3", that are parts of the same USB devices as the sound cards.
func (s System) inputs(cards []int) []string {
	var found []string
	for _, card := range cards {
		// The card belongs to an interface of the USB device, as …/usb1/1-1/1-1.3/1-1.3:1.0.
		face, err := filepath.EvalSymlinks(filepath.Join(s.Sys, "class/sound", "card"+strconv.Itoa(card), "device"))
		if err != nil {
			continue
		}
		usb := filepath.Dir(face)
		if _, err := os.Stat(filepath.Join(usb, "idVendor")); err != nil {
			continue // no USB device
		}
		events, _ := filepath.Glob(filepath.Join(s.Sys, "class/input/event*"))
		for _, e := range events {
			if at, err := filepath.EvalSymlinks(e); err == nil && strings.HasPrefix(at, usb+"/") {
				found = append(found, filepath.Base(e))
			}
		}
	}
	return found
}

// read hands on what is pressed until ctx ends or the device is gone.
func read(ctx context.Context, f *os.File, pressed func(Key)) {
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 64*eventSize)
	for {
		n, err := f.Read(buf) // whole events, says the kernel
		for at := 0; at+eventSize <= n; at += eventSize {
			if key, ok := press(buf[at : at+eventSize]); ok {
				pressed(key)
			}
		}
		if err != nil {
			return
		}
	}
}

// press gives the key of an event that is a press.
func press(event []byte) (Key, bool) {
	rest := event[eventSize-8:]
	kind, code, value := binary.NativeEndian.Uint16(rest), Key(binary.NativeEndian.Uint16(rest[2:])), binary.NativeEndian.Uint32(rest[4:])
	switch {
	case kind != typeKey || value == released:
		return 0, false
	case value == repeated:
		return code, code == KeyVolumeUp || code == KeyVolumeDown
	}
	return code, true
}
