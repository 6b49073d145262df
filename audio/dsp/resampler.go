// Package dsp works on samples: the chain that captured sound goes through, and a resampler. Some of it is speexdsp's, which
// is linked in statically.
package dsp

/*
#include <speex/speex_resampler.h>

// The counts travel by value, so that calling needs nothing on Go's heap.
typedef struct { spx_uint32_t consumed, written; int err; } processed;

static processed process(SpeexResamplerState *st, const spx_int16_t *in, spx_uint32_t in_len, spx_int16_t *out, spx_uint32_t out_len) {
	processed p = { in_len, out_len, 0 };
	p.err = speex_resampler_process_int(st, 0, in, &p.consumed, out, &p.written);
	return p;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"
)

// quality 8 of 0..10 keeps a voice's band whole and what folds back below hearing, at half the cost of 10.
const quality = 8

// Resampler changes the rate of a mono stream, by speexdsp's polyphase filter. Its output comes later than its input by
// Delay. It is not safe for concurrent use.
type Resampler struct {
	state           *C.SpeexResamplerState
	inRate, outRate int
}

// NewResampler makes a resampler from inRate to outRate, both in Hz. Close frees it.
func NewResampler(inRate, outRate int) (*Resampler, error) {
	if inRate < 1000 || inRate > 768000 || outRate < 1000 || outRate > 768000 {
		return nil, fmt.Errorf("cannot resample from %d Hz to %d Hz: rates go from 1000 to 768000 Hz", inRate, outRate)
	}
	var e C.int
	state := C.speex_resampler_init(1, C.spx_uint32_t(inRate), C.spx_uint32_t(outRate), quality, &e)
	if state == nil || e != 0 {
		return nil, fmt.Errorf("cannot resample from %d Hz to %d Hz: %s", inRate, outRate, C.GoString(C.speex_resampler_strerror(e)))
	}
	return &Resampler{state, inRate, outRate}, nil
}

// Process turns samples of in into samples of out until one of them is used up, and tells how many of each it used.
// It does not allocate.
func (r *Resampler) Process(in, out []int16) (consumed, written int) {
	if r.state == nil || len(in) == 0 || len(out) == 0 {
		return 0, 0
	}
	p := C.process(r.state,
		(*C.spx_int16_t)(unsafe.Pointer(unsafe.SliceData(in))), C.spx_uint32_t(len(in)),
		(*C.spx_int16_t)(unsafe.Pointer(unsafe.SliceData(out))), C.spx_uint32_t(len(out)))
	if p.err != 0 {
		return 0, 0 // only for a buffer that is missing, which cannot be here
	}
	return int(p.consumed), int(p.written)
}

// Delay is by how many samples, at the output's rate, the output is later than the input.
func (r *Resampler) Delay() int {
	if r.state == nil {
		return 0
	}
	return int(C.speex_resampler_get_output_latency(r.state))
}

// Close frees the resampler. It may be called twice.
func (r *Resampler) Close() {
	if r.state != nil {
		C.speex_resampler_destroy(r.state)
		r.state = nil
	}
}

// Resample changes the rate of the whole of in, from inRate to outRate Hz. The result begins when in begins, lasts as
// long, and lacks nothing at the end: the filter's delay is skipped at the head and flushed at the tail.
func Resample(in []int16, inRate, outRate int) ([]int16, error) {
	if inRate == outRate {
		return append([]int16(nil), in...), nil
	}
	r, err := NewResampler(inRate, outRate)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	C.speex_resampler_skip_zeros(r.state)
	out := make([]int16, (int64(len(in))*int64(outRate)+int64(inRate)/2)/int64(inRate))
	silence := make([]int16, 512) // pushes the last samples through the filter
	at := 0
	for at < len(out) {
		if len(in) == 0 {
			in = silence
		}
		consumed, written := r.Process(in, out[at:])
		if consumed == 0 && written == 0 {
			return nil, errors.New("the resampler stands still")
		}
		in, at = in[consumed:], at+written
	}
	return out, nil
}
