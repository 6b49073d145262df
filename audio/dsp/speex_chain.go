package dsp

/*
#include <speex/speex_echo.h>
#include <speex/speex_preprocess.h>

#cgo noescape speex_echo_cancellation
#cgo nocallback speex_echo_cancellation
#cgo noescape speex_preprocess_run
#cgo nocallback speex_preprocess_run

// Settings travel by value, so that a Go pointer need not.
static int set_echo(SpeexEchoState *st, int what, spx_int32_t value) { return speex_echo_ctl(st, what, &value); }
static int set_preprocess(SpeexPreprocessState *st, int what, spx_int32_t value) { return speex_preprocess_ctl(st, what, &value); }
static int set_echo_state(SpeexPreprocessState *st, SpeexEchoState *echo) { return speex_preprocess_ctl(st, SPEEX_PREPROCESS_SET_ECHO_STATE, echo); }
*/
import "C"

import (
	"errors"
	"sync"
	"time"

	"sidetone/audio"
)

const (
	// tail is how long after it was played a sound may still come back: the buffers of the sound card and the room.
	tail = 200 * time.Millisecond
	// noiseSuppress is how far noise is lowered at most, in dB.
	noiseSuppress = -15
	// echoSuppress is how far what is left of an echo is lowered: while the far side speaks alone, and in double talk.
	echoSuppress, echoSuppressActive = -45, -15
	// maxAhead is how many frames playback may be ahead of capture. More would put a sound's reference after its echo on
	// a card whose own buffers are short.
	maxAhead = 3
)

// Chain takes the echo of what is played out of what is captured, suppresses what is left of it, and lowers noise, by
// speexdsp at 48 kHz. The canceller learns a room within some seconds; sounds that come back later than 200 ms stay.
type Chain struct {
	echo       *C.SpeexEchoState
	preprocess *C.SpeexPreprocessState
	heard, out audio.Frame // of Process

	mu    sync.Mutex
	ahead [maxAhead]audio.Frame // played, not yet captured; a ring
	first int
	n     int
}

// NewChain makes a chain. Close frees it.
func NewChain() (*Chain, error) {
	c := &Chain{
		echo:       C.speex_echo_state_init(audio.FrameSamples, C.int(tail*audio.SampleRate/time.Second)),
		preprocess: C.speex_preprocess_state_init(audio.FrameSamples, audio.SampleRate),
	}
	if c.echo == nil || c.preprocess == nil {
		c.Close()
		return nil, errors.New("no memory for the echo canceller")
	}
	failed := C.set_echo(c.echo, C.SPEEX_ECHO_SET_SAMPLING_RATE, audio.SampleRate) |
		C.set_echo_state(c.preprocess, c.echo) |
		C.set_preprocess(c.preprocess, C.SPEEX_PREPROCESS_SET_DENOISE, 1) |
		C.set_preprocess(c.preprocess, C.SPEEX_PREPROCESS_SET_NOISE_SUPPRESS, noiseSuppress) |
		C.set_preprocess(c.preprocess, C.SPEEX_PREPROCESS_SET_ECHO_SUPPRESS, echoSuppress) |
		C.set_preprocess(c.preprocess, C.SPEEX_PREPROCESS_SET_ECHO_SUPPRESS_ACTIVE, echoSuppressActive)
	if failed != 0 {
		c.Close()
		return nil, errors.New("speexdsp refuses the echo canceller's settings")
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

// next takes the oldest frame that was played into heard: silence when there is none.
func (c *Chain) next() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == 0 {
		c.heard = audio.Frame{}
		return
	}
	c.heard = c.ahead[c.first]
	c.first = (c.first + 1) % maxAhead
	c.n--
}

// Process cleans a captured frame in place. It does not allocate. After Close it does nothing.
func (c *Chain) Process(f *audio.Frame) {
	if c.echo == nil {
		return
	}
	c.next()
	C.speex_echo_cancellation(c.echo, (*C.spx_int16_t)(&f[0]), (*C.spx_int16_t)(&c.heard[0]), (*C.spx_int16_t)(&c.out[0]))
	C.speex_preprocess_run(c.preprocess, (*C.spx_int16_t)(&c.out[0]))
	*f = c.out
}

// Close frees the chain. It must not run beside Process, and may be called twice.
func (c *Chain) Close() {
	if c.preprocess != nil {
		C.speex_preprocess_state_destroy(c.preprocess)
		c.preprocess = nil
	}
	if c.echo != nil {
		C.speex_echo_state_destroy(c.echo)
		c.echo = nil
	}
}
