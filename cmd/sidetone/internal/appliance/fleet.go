package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"strings"
	"time"

	"sidetone/cmd/sidetone/internal/control"
	"sidetone/provisioning/fleet"
	"sidetone/rtc/call"
	"sidetone/rtc/quality"
)

// birth is what up/birth says of the device.
type birth struct {
	Firmware     string   `json:"firmware"`
	Board        string   `json:"board"`
	Arch         string   `json:"arch"`
	Serial       string   `json:"serial,omitempty"`
	BootID       string   `json:"boot_id,omitempty"`
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
		Firmware: a.opt.Version, Board: a.cfg.Board.Profile, Arch: runtime.GOARCH,
		Serial:       firstLine("/proc/device-tree/serial-number"),
		BootID:       firstLine("/proc/sys/kernel/random/boot_id"),
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

// liveEvery is how many samples, one a second, go by between two live statistics.
const liveEvery = 5

// liveStats gives what takes a call's samples and publishes some of them while it lasts, when the config says so.
func (a *Appliance) liveStats(callID string) func(quality.Sample) {
	if a.fleet == nil || !a.cfg.MQTT.StatsLive {
		return func(quality.Sample) {}
	}
	n := 0
	return func(s quality.Sample) {
		if n++; n%liveEvery != 0 {
			return
		}
		a.fleet.Live(map[string]any{
			"call_id": callID, "ts": s.Time.UTC().Format(time.RFC3339Nano),
			"outbound": s.Outbound, "inbound": s.Inbound, "remote": s.Remote, "path": s.Path,
		})
	}
}

// report sends a call's report where it belongs: to a file, the fleet and the platform.
func (a *Appliance) report(c call.Info, r *quality.Report) {
	body, err := json.Marshal(r)
	if err != nil {
		a.log.Error("call report", "call_id", c.ID, "err", err)
		return
	}
	if err := a.reports.write(c.ID, body); err != nil {
		a.log.Error("call report is not kept on disk", "call_id", c.ID, "err", err)
	}
	if a.fleet != nil {
		if err := a.fleet.CallReport(c.ID, r); err != nil {
			a.log.Error("call report does not go to the broker", "call_id", c.ID, "err", err)
		}
	}
	if a.line.Session().CallReportID == "" {
		return
	}
	a.uploads.Go(func() {
		ctx, cancel := context.WithTimeout(a.uploadCtx, uploadTimeout)
		defer cancel()
		if err := a.line.UploadReport(ctx, c.ID, body); err != nil {
			a.log.Warn("call report was not taken by the platform", "call_id", c.ID, "err", err)
		}
	})
}

// uploadTimeout bounds one report's way to the platform, with its retries.
const uploadTimeout = 20 * time.Second

// finishUploads waits for the uploads under way, then cuts them off.
func (a *Appliance) finishUploads(grace time.Duration) {
	done := make(chan struct{})
	go func() { a.uploads.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(grace):
	}
	a.uploadEnd()
	<-done
}

// onCommand does what the fleet asks for. Dialling and the like are quick to start, and are told back at once.
func (a *Appliance) onCommand(ctx context.Context, c fleet.Command) {
	// In a goroutine of its own, since what it does asks the loop; a.commands waits for it at the end.
	a.commands.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, commandTimeout)
		defer cancel()
		result, err := control.Run(ctx, fromAfar{a}, c.Name, c.Args)
		if err != nil {
			a.log.Warn("command", "name", c.Name, "by", c.By, "err", err)
			a.fleet.Reply(c.ID, fleet.Reply{Code: codeOf(err), Error: err.Error()})
			return
		}
		a.fleet.Reply(c.ID, fleet.Reply{OK: true, Result: result})
	})
}

// fromAfar is the appliance as the fleet may drive it: whoever sits at the broker may not write files here.
type fromAfar struct{ *Appliance }

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
