package appliance

import (
	"cmp"
	"context"
	"sync"
	"time"

	"sidetone/board/gesture"
	"sidetone/board/gpio"
	"sidetone/board/indicator"
	"sidetone/cmd/sidetone/internal/control"
	"sidetone/provisioning/config"

	pgpio "periph.io/x/conn/v3/gpio"
)

// What fingers do, as default.toml says.
const (
	doubleTime = 400 * time.Millisecond
	longTime   = time.Second
	holdTime   = 10 * time.Second
	stuckTime  = time.Minute

	lineAgain = 10 * time.Second // a line that failed is taken again
)

// contact is what became of a button's line.
type contact struct {
	button  int // index in the config
	news    news
	active  bool
	at      time.Time
	bounces bool // nobody has debounced it yet
}

type news int

const (
	contactChanged news = iota
	contactFound        // it is watched from now on
	contactLost         // it is not watched any more
)

// watchButtons does what the buttons on GPIO lines are pressed for, until ctx ends. It owns what is known of them.
func (a *Appliance) watchButtons(ctx context.Context) {
	contacts := make(chan contact)
	var lines sync.WaitGroup
	defer lines.Wait()
	for i, b := range a.cfg.Buttons {
		if b.Line != "" {
			lines.Go(func() { a.watchLine(ctx, i, contacts) })
		}
	}
	buttons := map[int]gesture.Button{}
	step := func(i int, active bool, now time.Time) {
		next, gestures := buttons[i].Step(active, now)
		buttons[i] = next
		for _, g := range gestures {
			a.gestured(ctx, a.cfg.Buttons[i], g)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-contacts:
			switch c.news {
			case contactFound:
				a.watched(ctx, c.button, true)
				buttons[c.button] = gesture.New(gesturesOf(a.cfg.Buttons[c.button], c.bounces), c.active, c.at)
			case contactLost:
				a.watched(ctx, c.button, false)
				delete(buttons, c.button)
				a.countDown(ctx, indicator.Reset{})
			default:
				step(c.button, c.active, c.at)
			}
		case now := <-nextGesture(buttons):
			for i, b := range buttons {
				step(i, b.Active(), now)
			}
		}
	}
}

// watched notes whether a button's line is open.
func (a *Appliance) watched(ctx context.Context, button int, is bool) {
	_ = a.do(ctx, func() {
		if a.view.watched == nil {
			a.view.watched = map[string]bool{}
		}
		a.view.watched[a.cfg.Buttons[button].Name] = is
	})
}

// nextGesture gives a channel for when time alone makes a gesture; nil when none is due.
func nextGesture(buttons map[int]gesture.Button) <-chan time.Time {
	var first time.Time
	for _, b := range buttons {
		if due := b.Due(); !due.IsZero() && (first.IsZero() || due.Before(first)) {
			first = due
		}
	}
	if first.IsZero() {
		return nil
	}
	return time.After(time.Until(first))
}

func debounce(b config.Button) time.Duration {
	return cmp.Or(time.Duration(b.Debounce), config.DefaultDebounce)
}

// gesturesOf are those that mean something at the button.
func gesturesOf(b config.Button, bounces bool) gesture.Config {
	g := gesture.Config{Stuck: stuckTime}
	if bounces {
		g.Debounce = debounce(b)
	}
	if b.Double != "" {
		g.Double = doubleTime
	}
	if b.Long != "" {
		g.Long = longTime
	}
	if b.Hold != "" {
		g.Hold = holdTime
	}
	return g
}

// watchLine tells what becomes of the line of the button with that index, until ctx ends. A line that cannot be had is
// tried again: somebody may let go of it, or plug its chip in.
func (a *Appliance) watchLine(ctx context.Context, button int, contacts chan<- contact) {
	b, told := a.cfg.Buttons[button], ""
	tell := func(c contact) {
		c.button = button
		select {
		case contacts <- c:
		case <-ctx.Done():
		}
	}
	for ctx.Err() == nil {
		err := a.followLine(ctx, b, tell)
		if ctx.Err() != nil {
			return
		}
		tell(contact{news: contactLost})
		if err.Error() != told {
			told = err.Error()
			a.log.Error("a button does not work", "button", b.Name, "err", err)
		}
		select {
		case <-time.After(lineAgain):
		case <-ctx.Done():
		}
	}
}

// bias is config's word for it.
var bias = map[string]pgpio.Pull{"pull-up": pgpio.PullUp, "pull-down": pgpio.PullDown, "disabled": pgpio.Float}

func (a *Appliance) followLine(ctx context.Context, b config.Button, tell func(contact)) error {
	line, err := a.gpio.Input(b.Line, gpio.Config{
		Consumer: "sidetone " + b.Name, ActiveLow: b.ActiveLow, Pull: bias[b.Bias], Edge: pgpio.BothEdges, Debounce: debounce(b),
	})
	if err != nil {
		return err
	}
	defer line.Close()
	active, err := line.Value()
	if err != nil {
		return err
	}
	tell(contact{news: contactFound, active: active, at: time.Now(), bounces: !line.Debounced()})
	for {
		e, err := line.Next(ctx)
		if err != nil {
			return err
		}
		if e.Lost > 0 {
			a.log.Warn("presses may be lost: the kernel had no room for them", "button", b.Name, "edges", e.Lost)
		}
		tell(contact{active: e.Active, at: e.Time})
	}
}

// gestured does what a gesture is for.
func (a *Appliance) gestured(ctx context.Context, b config.Button, g gesture.Gesture) {
	if g.Kind == gesture.Counting {
		a.countDown(ctx, indicator.Reset{Held: true, Left: g.Left})
		return
	}
	if g.Kind == gesture.Held || g.Kind == gesture.Kept {
		a.countDown(ctx, indicator.Reset{})
	}
	if g.Kind == gesture.Stuck {
		a.log.Warn("a button is stuck: look whether something holds it down, and at its wiring", "button", b.Name, "held", stuckTime)
	}
	if g.Kind == gesture.Stuck || g.Kind == gesture.Released {
		_ = a.do(ctx, func() {
			if delete(a.view.stuck, b.Name); g.Kind == gesture.Stuck {
				if a.view.stuck == nil {
					a.view.stuck = map[string]bool{}
				}
				a.view.stuck[b.Name] = true
			}
		})
	}
	a.tellGesture(b, g.Kind)
	do, err := a.meaning(ctx, b, g.Kind, a.leave)
	if err == nil && do != nil {
		// What it takes to place or answer a call keeps no other press waiting.
		a.commands.Go(func() {
			if err := do(ctx); err != nil {
				a.log.Error("button", "button", b.Name, "gesture", g.Kind, "err", err)
			}
		})
	}
}

// countDown shows, and lets hear, how far the hold of a button has come.
func (a *Appliance) countDown(ctx context.Context, r indicator.Reset) {
	a.do(ctx, func() {
		switch a.view.reset = r; {
		case !r.Held:
		case r.Left > 0:
			a.prompts(tickTone)
		default:
			a.prompts(letGoTone)
		}
	})
}

// tellGesture tells everybody who watches what was done with a button.
func (a *Appliance) tellGesture(b config.Button, g gesture.Kind) {
	a.opt.Logger.Info("button", "button", b.Name, "gesture", g)
	a.watchers.tell(control.Event{Event: "button", Button: b.Name, Gesture: string(g)})
	if a.fleet != nil {
		a.fleet.Event("button", map[string]any{"button": b.Name, "gesture": g})
	}
}
