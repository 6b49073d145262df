package appliance

import (
	"context"

	"sidetone/audio/device"
	"sidetone/board/evdev"
	"sidetone/cmd/sidetone/internal/control"
)

// volumeStep is what a press of a volume key is worth, in percent.
const volumeStep = 10

// watchSpeakerphone lets the keys of the sound card in use do what they say, until ctx ends.
func (a *Appliance) watchSpeakerphone(ctx context.Context) {
	cards := func() []int {
		d := a.sound.device.Load()
		if !d.card {
			return nil
		}
		card, err := device.OpenCard(d.capture, d.playback)
		if err != nil {
			return nil
		}
		return card.Numbers()
	}
	evdev.Kernel.Watch(ctx, cards, func(k evdev.Key) { a.speakerphoneKey(ctx, k) })
}

// speakerphoneKey does what a key of a speakerphone means: the hook is the device's first button.
func (a *Appliance) speakerphoneKey(ctx context.Context, k evdev.Key) {
	var err error
	switch k {
	case evdev.KeyPhone:
		err = a.Press(ctx, "")
	case evdev.KeyMute, evdev.KeyMicMute:
		err = a.Do(ctx, control.ToggleMute, "")
	case evdev.KeyVolumeUp, evdev.KeyVolumeDown:
		step := volumeStep
		if k == evdev.KeyVolumeDown {
			step = -step
		}
		percent := min(fullVolume, max(0, a.volume(talkRole)+step))
		_, err = a.Volume(ctx, roleNames[talkRole], &percent)
	}
	if err != nil {
		a.log.Warn("a key of the speakerphone", "key", k, "err", err)
	}
}
