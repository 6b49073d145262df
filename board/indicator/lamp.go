package indicator

import (
	"context"
	"errors"
	"time"
)

// Light is a lamp's hardware: *gpio.Line is one, and *SysLED.
type Light interface {
	Set(on bool) error
	Close() error
}

// rgb is what a colour is made of: red, green, blue.
var rgb = map[Colour][3]bool{
	Red: {true, false, false}, Green: {false, true, false}, Blue: {false, false, true},
	Yellow: {true, true, false}, Purple: {true, false, true}, White: {true, true, true},
}

// Lamp lets lights follow patterns.
type Lamp struct {
	lights   []Light // one, or red, green and blue
	failed   func(error)
	patterns chan Pattern // the latest that is not shown yet
}

// NewSingle is a lamp of one light, which is lit whatever the colour. failed is told what the light says when it is set,
// once until it works again.
func NewSingle(light Light, failed func(error)) *Lamp { return newLamp(failed, light) }

// NewRGB is a lamp of three lights.
func NewRGB(red, green, blue Light, failed func(error)) *Lamp {
	return newLamp(failed, red, green, blue)
}

func newLamp(failed func(error), lights ...Light) *Lamp {
	return &Lamp{lights: lights, failed: failed, patterns: make(chan Pattern, 1)}
}

// Show changes the pattern. It never waits; it is for one goroutine.
func (l *Lamp) Show(p Pattern) {
	select {
	case <-l.patterns:
	default:
	}
	l.patterns <- p
}

// Run drives the lights until ctx ends; then they are dark, and closed.
func (l *Lamp) Run(ctx context.Context) {
	var pattern Pattern // dark
	var begun time.Time
	var broken bool
	for {
		now := time.Now()
		err := l.set(pattern.Lit(now.Sub(begun)), pattern.Colour)
		if err != nil && !broken {
			l.failed(err)
		}
		broken = err != nil
		var change <-chan time.Time
		if next := pattern.next(now.Sub(begun)); next > 0 {
			change = time.After(next)
		}
		select {
		case <-ctx.Done():
			l.set(false, pattern.Colour)
			for _, light := range l.lights {
				light.Close()
			}
			return
		case pattern = <-l.patterns:
			begun = time.Now()
		case <-change:
		}
	}
}

func (l *Lamp) set(on bool, c Colour) (err error) {
	if len(l.lights) == 1 {
		return l.lights[0].Set(on)
	}
	for i, light := range l.lights {
		err = errors.Join(err, light.Set(on && rgb[c][i]))
	}
	return err
}

// next is how long what Lit says will stay so; 0: for ever.
func (p Pattern) next(since time.Duration) time.Duration {
	if p.Period <= 0 || p.Duty <= 0 || p.Duty >= 100 {
		return 0
	}
	lit, in := p.Period*time.Duration(p.Duty)/100, since%p.Period
	if in < lit {
		return lit - in
	}
	return p.Period - in
}
