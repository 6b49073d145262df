package appliance

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"sidetone/audio"
	"sidetone/board/gpio"
	"sidetone/provisioning/config"
)

// switchable is an output of the board's.
type switchable interface {
	Set(active bool) error
	Close() error
}

// amplifier switches the loudspeaker's amplifier with what is played: it hisses, and takes power, while it is on.
type amplifier struct {
	log        *slog.Logger
	open       func() (switchable, error)
	lead, hold time.Duration

	on    atomic.Bool
	sound chan struct{} // told of sound
	quiet int           // frames still to be kept from it, as it is waking up; the device's goroutine has it
}

// buffered is how far ahead of the loudspeaker a card's frames are pulled, at least: so long an amplifier may take for nothing.
const buffered = 2 * audio.FrameDuration

// newAmplifier gives the one that the config has; nil: none.
func newAmplifier(c config.Audio, host *gpio.Host, log *slog.Logger) *amplifier {
	if c.AmplifierLine == "" {
		return nil
	}
	address, low := strings.CutPrefix(c.AmplifierLine, "!")
	return &amplifier{
		log: log, lead: time.Duration(c.AmplifierLead), hold: time.Duration(c.AmplifierHold), sound: make(chan struct{}, 1),
		open: func() (switchable, error) {
			return host.Output(address, false, gpio.Config{Consumer: "sidetone amplifier", ActiveLow: low})
		},
	}
}

// run owns the line until ctx ends, and leaves it off.
func (a *amplifier) run(ctx context.Context) {
	line, err := a.open()
	if err != nil {
		a.log.Error("the amplifier cannot be switched", "err", fmt.Errorf("audio.amplifier_line: %w", err))
		return
	}
	defer line.Close()
	set := func(on bool) {
		if err := line.Set(on); err != nil {
			a.log.Error("the amplifier cannot be switched", "err", err)
		}
		a.on.Store(on)
	}
	defer set(false)
	off := time.NewTimer(a.hold)
	off.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.sound:
			if !a.on.Load() {
				set(true)
			}
			off.Reset(a.hold)
		case <-off.C:
			set(false)
		}
	}
}

// pulled is shown each frame on its way to the loudspeaker. The first ones are silenced, where the amplifier takes longer to wake up
// than the frames to the loudspeaker.
func (a *amplifier) pulled(f *audio.Frame) {
	if *f == (audio.Frame{}) {
		return
	}
	if a.quiet == 0 && !a.on.Load() {
		a.quiet = 1 + int(max(0, a.lead-buffered+audio.FrameDuration-1)/audio.FrameDuration)
	}
	select {
	case a.sound <- struct{}{}:
	default:
	}
	if a.quiet > 1 {
		a.quiet--
		*f = audio.Frame{}
	} else if a.on.Load() {
		a.quiet = 0
	}
}
