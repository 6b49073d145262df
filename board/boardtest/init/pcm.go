//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What <sound/asound.h> says of a PCM's device file on 64 bits.
const (
	ioctlHwParams = 0xc2604111
	ioctlPrepare  = 0x4140
	ioctlWriteI   = 0x40184150
	ioctlReadI    = 0x80184151

	accessRwInterleaved = 3
	formatS16LE         = 2

	// Indexes of hwParams.intervals; the others stay open.
	channels   = 2
	rate       = 3
	periodSize = 5
	bufferSize = 9
)

type interval struct{ min, max, flags uint32 }

// hwParams is struct snd_pcm_hw_params: what is wanted, and then what is.
type hwParams struct {
	flags     uint32
	masks     [3][8]uint32 // access, format, subformat
	_         [5][8]uint32
	intervals [12]interval
	_         [9]interval

	rmask, cmask, info, msbits, rateNum, rateDen uint32
	fifoSize                                     uint64
	_                                            [64]byte
}

// xferi is struct snd_xferi.
type xferi struct {
	result int64
	buf    unsafe.Pointer
	frames uint64
}

const (
	sampleRate    = 48000
	periodSamples = sampleRate / 50
)

// openPCM opens a device file for s16 mono at 48 kHz.
func openPCM(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return nil, err
	}
	p := hwParams{rmask: ^uint32(0)}
	for i := range p.masks {
		for j := range p.masks[i] {
			p.masks[i][j] = ^uint32(0)
		}
	}
	for i := range p.intervals {
		p.intervals[i].max = ^uint32(0)
	}
	p.masks[0] = [8]uint32{1 << accessRwInterleaved}
	p.masks[1] = [8]uint32{1 << formatS16LE}
	const isInteger = 1 << 2
	for i, v := range map[int]uint32{channels: 1, rate: sampleRate, periodSize: periodSamples, bufferSize: 10 * periodSamples} {
		p.intervals[i] = interval{v, v, isInteger}
	}
	err = ioctl(int(f.Fd()), ioctlHwParams, unsafe.Pointer(&p))
	if err == nil {
		err = ioctl(int(f.Fd()), ioctlPrepare, nil)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// transfer moves samples by one of the two calls; after an xrun it goes on.
func transfer(f *os.File, request uint, samples []int16) error {
	for len(samples) > 0 {
		x := xferi{buf: unsafe.Pointer(&samples[0]), frames: uint64(min(len(samples), periodSamples))}
		switch err := ioctl(int(f.Fd()), request, unsafe.Pointer(&x)); {
		case errors.Is(err, unix.EPIPE):
			if err := ioctl(int(f.Fd()), ioctlPrepare, nil); err != nil {
				return fmt.Errorf("%s: after an xrun: %w", f.Name(), err)
			}
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("%s: %w", f.Name(), err)
		default:
			samples = samples[x.result:]
		}
	}
	return nil
}

// record gives what comes in within so long.
func record(path string, length time.Duration) ([]byte, error) {
	f, err := openPCM(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	samples := make([]int16, int(length*sampleRate/time.Second))
	if err := transfer(f, ioctlReadI, samples); err != nil {
		return nil, err
	}
	return binary.Append(nil, binary.LittleEndian, samples)
}
