package device

import (
	"context"
	"io/fs"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
)

// TestWatchCards plugs a card in and out: with a message of the kernel it is seen at once, without one within a second, and
// nothing is told when nothing changed.
func TestWatchCards(t *testing.T) {
	withCards(t, headphones, headphonesPCM)
	var now changing
	now.Store(machine(headphones, headphonesPCM))
	asound = &now
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		messages := make(chan struct{}, 1)
		var changes atomic.Int32
		done := make(chan struct{})
		go func() {
			defer close(done)
			watchCards(ctx, messages, func() { changes.Add(1) })
		}()
		expect := func(after time.Duration, want int32) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if got := changes.Load(); got != want {
				t.Errorf("%d changes told, want %d", got, want)
			}
		}
		synctest.Wait()
		now.Store(machine(headphones+usb, headphonesPCM+usbPCM))
		messages <- struct{}{}
		expect(2*settle, 1)
		messages <- struct{}{}
		expect(2*settle, 1)
		now.Store(machine(headphones, headphonesPCM))
		expect(lookInterval+time.Millisecond, 2)
		expect(time.Minute, 2)
		cancel()
		<-done
	})
}

// changing is a machine whose files are others from one moment to the next.
type changing struct{ atomic.Pointer[fstest.MapFS] }

func (c *changing) Open(name string) (fs.File, error) { return c.Load().Open(name) }

func machine(cards, pcm string) *fstest.MapFS {
	return &fstest.MapFS{"cards": {Data: []byte(cards)}, "pcm": {Data: []byte(pcm)}}
}

// TestWatchCardsEnds holds that the kernel's socket is let go of.
func TestWatchCardsEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		WatchCards(ctx, func() {})
	}()
	time.Sleep(20 * time.Millisecond)
	cancel()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the watch does not end")
	}
}

func TestAboutSound(t *testing.T) {
	add := "add@/devices/pci0000:00/usb1/1-1/1-1:1.0/sound/card1\x00ACTION=add\x00DEVPATH=/devices/pci0000:00/usb1/1-1/1-1:1.0/sound/card1\x00SUBSYSTEM=sound\x00SEQNUM=3012\x00"
	if !aboutSound([]byte(add)) {
		t.Error("a card is not noticed")
	}
	for _, other := range []string{"", "libudev", "add@/devices/x\x00ACTION=add\x00SUBSYSTEM=soundwire\x00", "SUBSYSTEM=usb\x00"} {
		if aboutSound([]byte(other)) {
			t.Errorf("%q is taken for a card", other)
		}
	}
}
