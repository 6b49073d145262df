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
)

// Speex takes the echo of what is played out of what is captured, suppresses what is left of it, and lowers noise, by
// speexdsp at 48 kHz. It learns a room within some seconds; sounds that come back later than 200 ms stay.
type Speex struct {
	echo       *C.SpeexEchoState
	preprocess *C.SpeexPreprocessState
	heard, out audio.Frame // of Process
}

// NewSpeex makes one. Close frees it.
func NewSpeex() (*Speex, error) {
	c := &Speex{
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

// Play takes the next frame that is played. Of two frames for one that is captured, speexdsp knows the second only.
func (c *Speex) Play(f *audio.Frame) { c.heard = *f }

// Capture cleans a captured frame in place.
func (c *Speex) Capture(f *audio.Frame) {
	C.speex_echo_cancellation(c.echo, (*C.spx_int16_t)(&f[0]), (*C.spx_int16_t)(&c.heard[0]), (*C.spx_int16_t)(&c.out[0]))
	C.speex_preprocess_run(c.preprocess, (*C.spx_int16_t)(&c.out[0]))
	*f, c.heard = c.out, audio.Frame{}
}

// Latency is by how many samples sound comes out later: the preprocessor's blocks overlap by a frame.
func (c *Speex) Latency() int { return audio.FrameSamples }

// Close frees it. It may be called twice.
func (c *Speex) Close() {
	if c.preprocess != nil {
		C.speex_preprocess_state_destroy(c.preprocess)
		c.preprocess = nil
	}
	if c.echo != nil {
		C.speex_echo_state_destroy(c.echo)
		c.echo = nil
	}
}
