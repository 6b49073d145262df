package appliance

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"unsafe"

	"sidetone/audio/mixer"
	"sidetone/provisioning/config"
)

// bare is a card without any control.
type bare struct{ closed int }

func (b *bare) Ioctl(uintptr, unsafe.Pointer) error { return nil } // the list stays empty
func (b *bare) Close() error                        { b.closed++; return nil }

// TestMixerOnlyWarns holds that a control that is not there, or a card that is not, is a warning, once; package mixer's tests have the
// rest.
func TestMixerOnlyWarns(t *testing.T) {
	var log bytes.Buffer
	m := newMixers([]config.Mixer{{Control: "Master", Value: "-6dB"}}, slog.New(slog.NewTextHandler(&log, nil)))
	card := &bare{}
	m.open = func(n int) (mixer.Device, error) {
		if n == 9 {
			return nil, errors.New("card 9 is gone")
		}
		return card, nil
	}
	for range 3 {
		m.setOn([]int{1})
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "Master") || card.closed != 3 {
		t.Errorf("closed %d times, logged %s", card.closed, &log)
	}
	m.setOn([]int{9})
	if !strings.Contains(log.String(), "card 9 is gone") {
		t.Errorf("logged %s", &log)
	}
}
