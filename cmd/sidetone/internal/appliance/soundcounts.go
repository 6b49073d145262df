package appliance

import (
	"sync"
	"sync/atomic"

	"sidetone/audio"
	"sidetone/audio/device"
	"sidetone/rtc/quality"
)

// counts are what went wrong with sound devices since the start.
type counts struct {
	reopened atomic.Uint64

	mu   sync.Mutex
	past device.Stats // of cards that were used before
	card *device.Card // in use, or used last; nil: none was
}

// begin counts a device that begins.
func (c *counts) begin(d audio.Duplex) {
	card, ok := d.(*device.Card)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.past, c.card = c.sum(), card
}

func (c *counts) sum() device.Stats {
	s := c.past
	if c.card != nil {
		now := c.card.Stats()
		s.Overruns += now.Overruns
		s.Underruns += now.Underruns
	}
	return s
}

// read gives them as they are told.
func (c *counts) read() quality.SoundDevice {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sum()
	return quality.SoundDevice{Overruns: s.Overruns, Underruns: s.Underruns, Reopened: c.reopened.Load()}
}
