package gpio

import (
	"context"
	"errors"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"
)

// Pin is a line as periph's drivers want it. It takes the line with the first In or Out, and gives it back with Halt.
// Its levels are what Config makes of them: with ActiveLow, High is the lower voltage.
type Pin struct {
	host    *Host
	address string
	config  Config // Pull, Edge and Debounce are those of In

	mu     sync.Mutex
	line   *Line              // nil: not taken
	output bool               // what line is
	leave  context.CancelFunc // ends a WaitForEdge; nil: nobody waits
}

var _ gpio.PinIO = (*Pin)(nil)

// Pin gives the pin at that address. Nothing is opened yet.
func (h *Host) Pin(address string, c Config) *Pin {
	return &Pin{host: h, address: address, config: c}
}

// String implements pin.Pin.
func (p *Pin) String() string { return p.address }

// Name implements pin.Pin.
func (p *Pin) Name() string { return p.address }

// Number implements pin.Pin: the kernel counts lines per chip, so there is none.
func (p *Pin) Number() int { return -1 }

// Function implements pin.Pin.
func (p *Pin) Function() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.line == nil:
		return ""
	case p.output:
		return "Out"
	}
	return "In"
}

// Halt implements conn.Resource: it gives the line back.
func (p *Pin) Halt() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.release()
}

func (p *Pin) release() error {
	p.interrupt()
	if p.line == nil {
		return nil
	}
	err := p.line.Close()
	p.line = nil
	return err
}

// interrupt ends a WaitForEdge under way.
func (p *Pin) interrupt() {
	if p.leave != nil {
		p.leave()
	}
}

// In implements gpio.PinIn. A WaitForEdge under way ends, and edges of the time before are forgotten.
func (p *Pin) In(pull gpio.Pull, edge gpio.Edge) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.release(); err != nil {
		return err
	}
	p.config.Pull, p.config.Edge = pull, edge
	line, err := p.host.Input(p.address, p.config)
	if err == nil {
		p.line, p.output = line, false
	}
	return err
}

// Read implements gpio.PinIn. A pin that cannot be read is Low.
func (p *Pin) Read() gpio.Level {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line == nil {
		return gpio.Low
	}
	active, _ := p.line.Value()
	return gpio.Level(active)
}

// WaitForEdge implements gpio.PinIn. It is for one goroutine at a time.
func (p *Pin) WaitForEdge(timeout time.Duration) bool {
	ctx, cancel := context.WithCancel(context.Background())
	if timeout >= 0 {
		ctx, cancel = context.WithTimeout(context.Background(), timeout)
	}
	defer cancel()
	p.mu.Lock()
	line := p.line
	if line == nil || p.output || p.leave != nil {
		p.mu.Unlock()
		return false
	}
	p.leave = cancel
	p.mu.Unlock()
	_, err := line.Next(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave = nil
	return err == nil
}

// Pull implements gpio.PinIn: the one that In asked for.
func (p *Pin) Pull() gpio.Pull {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.config.Pull
}

// DefaultPull implements gpio.PinIn. The kernel does not tell it.
func (p *Pin) DefaultPull() gpio.Pull { return gpio.PullNoChange }

// Out implements gpio.PinOut.
func (p *Pin) Out(level gpio.Level) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.line == nil:
		line, err := p.host.Output(p.address, bool(level), p.config)
		if err == nil {
			p.line, p.output = line, true
		}
		return err
	case p.output:
		return p.line.Set(bool(level))
	}
	p.interrupt()
	err := p.line.drive(p.config, bool(level))
	p.output = err == nil
	return err
}

// PWM implements gpio.PinOut. GPIO lines have none.
func (p *Pin) PWM(gpio.Duty, physic.Frequency) error {
	return errors.New("line " + p.address + " has no PWM; a pin that has one is the kernel's pwm device")
}
