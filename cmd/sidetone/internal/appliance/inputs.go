package appliance

import (
	"context"
	"strings"
	"sync"
	"time"

	"sidetone/board/door"
	"sidetone/board/gpio"

	pins "periph.io/x/conn/v3/gpio"
)

const (
	settled    = 30 * time.Millisecond // contacts and buttons bounce for less
	inputAgain = 10 * time.Second      // until a line that does not open is tried again
)

// watchInputs tells the door of its contacts and buttons, until ctx ends.
func (a *Appliance) watchInputs(ctx context.Context) {
	c := a.cfg.Door
	var all sync.WaitGroup
	defer all.Wait()
	for _, in := range []struct {
		key, address string
		tell         func(active, first bool)
	}{
		{"exit_line", c.ExitLine, a.presses(ctx, door.Exit)},
		{"code_line", c.CodeLine, a.presses(ctx, door.Knock)},
		{"contact_line", c.ContactLine, a.switched(ctx, door.Contact)},
		{"tamper_line", c.TamperLine, a.switched(ctx, door.Tamper)},
	} {
		if in.address != "" {
			all.Go(func() {
				for ctx.Err() == nil {
					err := a.watchInput(ctx, in.address, in.tell)
					if ctx.Err() == nil {
						a.log.Error("an input of the door is not heard; it is tried again", "key", "door."+in.key, "after", inputAgain, "err", err)
						sleep(ctx, inputAgain)
					}
				}
			})
		}
	}
}

// presses tells of presses, and not of a button that is down when we begin.
func (a *Appliance) presses(ctx context.Context, kind door.Kind) func(active, first bool) {
	return func(active, first bool) {
		if active && !first {
			_ = a.do(ctx, func() { a.atDoor(door.Input{Kind: kind}) })
		}
	}
}

// switched tells how a contact stands, as it is when we begin, too.
func (a *Appliance) switched(ctx context.Context, kind door.Kind) func(active, first bool) {
	return func(active, _ bool) { _ = a.do(ctx, func() { a.atDoor(door.Input{Kind: kind, On: active}) }) }
}

// watchInput tells each change of a line, its first value first.
func (a *Appliance) watchInput(ctx context.Context, address string, tell func(active, first bool)) error {
	address, low := strings.CutPrefix(address, "!")
	line, err := a.gpio.Input(address, gpio.Config{
		Consumer: "sidetone door", ActiveLow: low, Pull: pins.PullUp, Edge: pins.BothEdges, Debounce: settled,
	})
	if err != nil {
		return err
	}
	defer line.Close()
	active, err := line.Value()
	if err != nil {
		return err
	}
	tell(active, true)
	for {
		e, err := line.Next(ctx)
		if err != nil {
			return err
		}
		tell(e.Active, false)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
