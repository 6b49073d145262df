package dsp

import (
	"fmt"
	"sync"

	"sidetone/audio"
	"sidetone/audio/echo"
)

// Echo cancellers, by the names of the config.
const (
	CancellerKalman = "kalman"   // sidetone/audio/echo
	CancellerSpeex  = "speexdsp" // speexdsp's, at 48 kHz
	CancellerNone   = "none"     // somebody else sees to echoes
)

// maxAhead is how many frames playback may be ahead of capture. More would put a sound's reference after its echo on
// a card whose own buffers are short.
const maxAhead = 3

// canceller takes the echo of what is played out of what is captured, and lowers noise.
type canceller interface {
	Play(f *audio.Frame)    // the next that is played; as a rule one for each that is captured
	Capture(f *audio.Frame) // cleans f in place
	Latency() int           // by how many samples f is then later
	Close()
}

// Config says what a Chain does.
type Config struct {
	Canceller string // one of the names above
	Gain      bool   // bring voices to one level, and limit them
}

// Chain is all that happens to captured sound before it is sent: rumble goes, then the echo of what is played, and noise;
// then comes the level, with a limiter. It does not allocate while it runs.
type Chain struct {
	highPass  highPass
	canceller canceller // nil: none
	gain      *autoGain // nil: levels stay as they are
	closed    bool

	mu    sync.Mutex
	ahead [maxAhead]audio.Frame // played, not yet captured; a ring
	first int
	n     int
	heard audio.Frame // of Process
}

// NewChain makes a chain. Close frees it.
func NewChain(cfg Config) (*Chain, error) {
	c := &Chain{highPass: newHighPass(80)}
	switch cfg.Canceller {
	case CancellerKalman:
		c.canceller = echo.New()
	case CancellerSpeex:
		s, err := NewSpeex()
		if err != nil {
			return nil, err
		}
		c.canceller = s
	case CancellerNone:
	default:
		return nil, fmt.Errorf("there is no echo canceller %q", cfg.Canceller)
	}
	if cfg.Gain {
		c.gain = newAutoGain()
	}
	return c, nil
}

// Played tells what goes to the loudspeaker. It may be called by another goroutine than Process, once for each frame
// that is captured; what comes in excess, three frames ahead, pushes out the oldest.
func (c *Chain) Played(f *audio.Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == maxAhead {
		c.first = (c.first + 1) % maxAhead
		c.n--
	}
	c.ahead[(c.first+c.n)%maxAhead] = *f
	c.n++
}

// next takes the oldest frame that was played into heard, if there is one.
func (c *Chain) next() (ok bool, left int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == 0 {
		return false, 0
	}
	c.heard = c.ahead[c.first]
	c.first = (c.first + 1) % maxAhead
	c.n--
	return true, c.n
}

// Process cleans a captured frame in place. After Close it does nothing.
func (c *Chain) Process(f *audio.Frame) {
	if c.closed {
		return
	}
	c.highPass.process(f)
	if c.canceller != nil {
		// A playback clock that is fast fills the ring: then two go at once, before one is pushed out and lost.
		if ok, left := c.next(); ok {
			c.canceller.Play(&c.heard)
			if left == maxAhead-1 {
				c.next()
				c.canceller.Play(&c.heard)
			}
		}
		c.canceller.Capture(f)
	}
	if c.gain != nil {
		c.gain.process(f)
	}
}

// Latency is by how many samples at 48 kHz sound comes out later than it went in.
func (c *Chain) Latency() int {
	if c.canceller == nil {
		return 0
	}
	return c.canceller.Latency()
}

// Close frees the chain. It must not run beside Process, and may be called twice.
func (c *Chain) Close() {
	if c.canceller != nil && !c.closed {
		c.canceller.Close()
	}
	c.closed = true
}
