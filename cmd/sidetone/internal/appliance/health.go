package appliance

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"sidetone/board/health"
	"sidetone/cmd/sidetone/internal/control"
	"sidetone/rtc/verto"
)

// healthPeriod is how often the device looks at itself. It only reads.
const healthPeriod = 10 * time.Second

// watchHealth looks at the device until ctx ends. What it reads of the kernel may be slow, so that is not the loop's.
func (a *Appliance) watchHealth(ctx context.Context) {
	ticker := time.NewTicker(healthPeriod)
	defer ticker.Stop()
	for {
		d := a.sound.device.Load()
		r := health.Kernel(a.cfg.Device.StateDir, d.card)
		_ = a.do(ctx, func() { a.examine(r, time.Now()) })
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// examine adds to what the kernel says what the loop knows, and tells what has changed.
func (a *Appliance) examine(r health.Readings, now time.Time) {
	v := &a.view
	r.Note(health.NoNetwork, v.offline, "")
	r.Note(health.NotRegistered, v.line.State != verto.Registered, v.line.Message)
	r.Note(health.ClockNotSet, !a.clock.Plausible(now), now.UTC().Format(time.DateTime))
	r.Note(health.ButtonStuck, len(v.stuck) > 0, strings.Join(slices.Sorted(maps.Keys(v.stuck)), ", "))
	if a.cardGone.Load() {
		r.Note(health.NoCard, true, "it does not open")
	}
	stalls := a.sound.counts.reopened.Load()
	r.Note(health.SoundStalls, stalls > v.stalls, "")
	v.stalls = stalls
	if a.door != nil {
		r.Note(health.Tampered, a.door.state.Blocked(), "")
	}
	if a.fleet != nil {
		r.Note(health.BrokerAway, !a.fleet.Status().Connected, "")
	}
	before := v.health
	v.examined, v.health = v.examined.Step(now, r)
	if v.told && slices.EqualFunc(before, v.health, func(x, y health.Active) bool { return x.Code == y.Code }) {
		return
	}
	v.told = true
	for _, h := range v.health {
		if !slices.ContainsFunc(before, func(b health.Active) bool { return b.Code == h.Code }) {
			a.log.Warn("health", "code", h.Code, "message", h.Message, "detail", h.Detail, "action", h.Action)
			a.watchers.tell(control.Event{Event: "health", Name: string(h.Code), Message: h.Message, Action: h.Action})
		}
	}
	for _, b := range before {
		if !slices.ContainsFunc(v.health, func(h health.Active) bool { return b.Code == h.Code }) {
			a.log.Info("health: it is over, or follows from something else", "code", b.Code)
		}
	}
	if a.fleet != nil && !a.opt.Solo {
		a.fleet.State("health", healthState{Conditions: append([]health.Active{}, v.health...), TS: now.UTC()})
	}
}

// healthState is what up/state/health says.
type healthState struct {
	Conditions []health.Active `json:"conditions"`
	TS         time.Time       `json:"ts"`
}
