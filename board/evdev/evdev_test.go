package evdev

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tree makes the files of a machine with a speakerphone as card 2, and a keyboard beside it.
func tree(t *testing.T) System {
	t.Helper()
	s := System{t.TempDir(), t.TempDir()}
	phone := "devices/pci0000:00/usb1/1-1/1-1.3"
	for _, dir := range []string{
		phone + "/1-1.3:1.0/sound/card2", phone + "/1-1.3:1.3/0003:0B0E:0412.0001/input/input5/event3",
		"devices/pci0000:00/usb1/1-1/1-1.30/1-1.30:1.0/0003:046D:C31C.0002/input/input6/event4",
		"devices/platform/soc/sound/card0", "class/sound", "class/input",
	} {
		must(t, os.MkdirAll(filepath.Join(s.Sys, dir), 0o700))
	}
	must(t, os.WriteFile(filepath.Join(s.Sys, phone, "idVendor"), []byte("0b0e\n"), 0o600))
	for _, l := range [][2]string{
		{"../../" + phone + "/1-1.3:1.0/sound/card2", "class/sound/card2"},
		{"../..", phone + "/1-1.3:1.0/sound/card2/device"},
		{"../../devices/platform/soc/sound/card0", "class/sound/card0"},
		{"../../../soc", "devices/platform/soc/sound/card0/device"},
		{"../../" + phone + "/1-1.3:1.3/0003:0B0E:0412.0001/input/input5/event3", "class/input/event3"},
		{"../../devices/pci0000:00/usb1/1-1/1-1.30/1-1.30:1.0/0003:046D:C31C.0002/input/input6/event4", "class/input/event4"},
	} {
		must(t, os.Symlink(l[0], filepath.Join(s.Sys, l[1])))
	}
	must(t, os.MkdirAll(filepath.Join(s.Dev, "input"), 0o700))
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func event(kind uint16, code Key, value uint32) []byte {
	b := make([]byte, eventSize)
	binary.NativeEndian.PutUint16(b[eventSize-8:], kind)
	binary.NativeEndian.PutUint16(b[eventSize-6:], uint16(code))
	binary.NativeEndian.PutUint32(b[eventSize-4:], value)
	return b
}

// TestWatch presses keys on a speakerphone that is unplugged and plugged in again.
func TestWatch(t *testing.T) {
	s := tree(t)
	node := filepath.Join(s.Dev, "input/event3")
	ctx, cancel := context.WithCancel(t.Context())
	keys, done := make(chan Key, 100), make(chan struct{})
	go func() {
		defer close(done)
		s.Watch(ctx, func() []int { return []int{0, 2} }, func(k Key) { keys <- k })
	}()
	for range 2 {
		os.Remove(node)
		must(t, unix.Mkfifo(node, 0o600))
		f, err := os.OpenFile(node, os.O_WRONLY, 0) // waits for the reader
		must(t, err)
		for _, e := range [][]byte{
			event(typeKey, KeyPhone, 1), event(0, 0, 0), event(typeKey, KeyPhone, repeated), event(typeKey, KeyPhone, released), event(4, 4, 1),
			event(typeKey, KeyVolumeUp, 1), event(typeKey, KeyVolumeUp, repeated), event(typeKey, KeyMicMute, 1),
		} {
			_, err := f.Write(e)
			must(t, err)
		}
		for _, want := range []Key{KeyPhone, KeyVolumeUp, KeyVolumeUp, KeyMicMute} {
			select {
			case got := <-keys:
				if got != want {
					t.Errorf("key %d, want %d", got, want)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("key %d does not come", want)
			}
		}
		f.Close() // gone
	}
	cancel()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the watch does not end")
	}
	if len(keys) > 0 {
		t.Errorf("key %d besides", <-keys)
	}
}

func TestInputs(t *testing.T) {
	s := tree(t)
	if got := s.inputs([]int{2}); len(got) != 1 || got[0] != "event3" {
		t.Errorf("%v", got)
	}
	if got := s.inputs([]int{0, 7}); got != nil {
		t.Errorf("a card that is not on USB has %v", got)
	}
}
