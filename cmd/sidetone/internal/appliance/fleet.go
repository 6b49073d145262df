package appliance

import (
	"cmp"
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"time"

	"sidetone/board/door"
	"sidetone/cmd/sidetone/internal/control"
	"sidetone/provisioning/fleet"
	"sidetone/rtc/quality"
)

// birth is what up/birth says of the device.
type birth struct {
	Firmware     string   `json:"firmware"`
	Board        string   `json:"board"`
	Arch         string   `json:"arch"`
	Serial       string   `json:"serial,omitempty"`
	BootID       string   `json:"boot_id,omitempty"`
	LastReset    string   `json:"last_reset,omitempty"` // why the board was reset, as its watchdog's driver knows
	AudioCard    string   `json:"audio_card"`
	Capabilities []string `json:"capabilities"`
	TS           string   `json:"ts"`
}

// announce hands the broker what it is told first.
func (a *Appliance) announce() {
	if a.opt.Solo {
		return
	}
	a.fleet.Birth(birth{
		Firmware: a.opt.Version, Board: cmp.Or(a.cfg.Update.Board, a.cfg.Board.Profile), Arch: runtime.GOARCH,
		Serial:       firstLine("/proc/device-tree/serial-number"),
		BootID:       firstLine("/proc/sys/kernel/random/boot_id"),
		LastReset:    a.resetReason(),
		AudioCard:    a.sound.device.Load().playback,
		Capabilities: control.Commands(),
		TS:           a.started.UTC().Format(time.RFC3339Nano),
	})
}

// firstLine reads a small kernel file; what is not there is not known.
func firstLine(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for i, c := range b {
		if c == '\n' || c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// onCommand does what the fleet asks for. Dialling and the like are quick to start, and are told back at once.
func (a *Appliance) onCommand(ctx context.Context, c fleet.Command) {
	// In a goroutine of its own, since what it does asks the loop; a.commands waits for it at the end.
	a.commands.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, commandTimeout)
		defer cancel()
		result, err := control.Run(ctx, fromAfar{a, c.By}, c.Name, c.Args)
		if err != nil {
			a.log.Warn("command", "name", c.Name, "by", c.By, "err", err)
			a.fleet.Reply(c.ID, fleet.Reply{Code: codeOf(err), Error: err.Error()})
			return
		}
		a.fleet.Reply(c.ID, fleet.Reply{OK: true, Result: result})
	})
}

// fromAfar is the appliance as the fleet may drive it: whoever sits at the broker may not write files here.
type fromAfar struct {
	*Appliance
	by string // who says that he gave the command
}

// OpenDoor implements control.Device.
func (a fromAfar) OpenDoor(ctx context.Context, r control.OpenDoorRequest) error {
	return a.openDoor(ctx, r, door.FromAfar, clip(a.by))
}

// Press implements control.Device.
func (a fromAfar) Press(ctx context.Context, button string) error {
	return a.press(ctx, button, a.OpenDoor)
}

// UseSound implements control.Device.
func (a fromAfar) UseSound(ctx context.Context, capture, playback string) error {
	if strings.HasPrefix(capture, "wav:") || strings.HasPrefix(playback, "wav:") {
		return errors.New("the fleet may not choose files; say auto, null or card:NAME")
	}
	return a.Appliance.UseSound(ctx, capture, playback)
}

const commandTimeout = 10 * time.Second

// codeOf is the code that an error has in Telnyx's tables; 1 for those that have none.
func codeOf(err error) int {
	var known interface{ Condition() quality.Condition }
	if errors.As(err, &known) {
		return known.Condition().Code
	}
	return 1
}
