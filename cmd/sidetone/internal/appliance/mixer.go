package appliance

import (
	"errors"
	"log/slog"

	"sidetone/audio"
	"sidetone/audio/device"
	"sidetone/audio/mixer"
	"sidetone/provisioning/config"
)

// mixers sets the controls of the sound cards in use. What `sidetone volume` sets is on top of it: how much of the amplitude
// goes to the card.
type mixers struct {
	settings []mixer.Setting
	log      *slog.Logger
	open     func(card int) (mixer.Device, error)
	told     string // what was last complained of
}

func newMixers(settings []config.Mixer, log *slog.Logger) *mixers {
	m := &mixers{log: log, open: mixer.Open}
	for _, s := range settings {
		m.settings = append(m.settings, mixer.Setting{Control: s.Control, Value: s.Value})
	}
	return m
}

// set sets them on a device that is about to run. A card comes with its driver's values whenever it is plugged in. What cannot be set
// is told once: sound that is too loud is better than none.
func (m *mixers) set(d audio.Duplex) {
	card, ok := d.(*device.Card)
	if !ok || len(m.settings) == 0 {
		return
	}
	m.setOn(card.Numbers())
}

// setOn sets them on the cards that have them: of two cards one is enough.
func (m *mixers) setOn(cards []int) {
	var devices []mixer.Device
	var problems []error
	for _, card := range cards {
		d, err := m.open(card)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		defer d.Close()
		devices = append(devices, d)
	}
	for _, s := range m.settings {
		var missed []error
		for _, d := range devices {
			if err := mixer.Apply(d, []mixer.Setting{s}); err != nil {
				missed = append(missed, err)
			}
		}
		if len(missed) == len(devices) {
			problems = append(problems, missed...)
		}
	}
	text := ""
	if err := errors.Join(problems...); err != nil {
		text = err.Error()
	}
	if text != m.told && text != "" {
		m.log.Warn("the sound card is not set as audio.mixer wants it", "err", text)
	}
	m.told = text
}
