package echo

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"sidetone/audio"
	"sidetone/audio/echo"
	"sidetone/cmd/sidetone-bench/internal/cpu"
)

// canceller is what is measured.
type canceller interface {
	Play(far *audio.Frame)
	Capture(mic *audio.Frame)
	Latency() int // in samples
	Close()
}

type none struct{}

func (none) Play(*audio.Frame)    {}
func (none) Capture(*audio.Frame) {}
func (none) Latency() int         { return 0 }
func (none) Close()               {}

// cancellers by name; speexdsp joins where there is cgo.
var cancellers = map[string]func() (canceller, error){
	"none":   func() (canceller, error) { return none{}, nil },
	"kalman": func() (canceller, error) { return echo.New(), nil },
}

// Cancellers are the names of those that can be measured.
func Cancellers() []string { return slices.Sorted(maps.Keys(cancellers)) }

// Run lets the canceller of that name take the echo of far out of mic, all at 48 kHz, and compares with near, which
// is what mic has besides. Change is when the path changes; 0: it does not.
func Run(name string, far, near, mic []int16, change time.Duration) (*Result, error) {
	build := cancellers[name]
	if build == nil {
		return nil, fmt.Errorf("there is no canceller %q, only %s", name, strings.Join(Cancellers(), ", "))
	}
	c, err := build()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	latency := c.Latency()
	frames := (len(mic) + latency + audio.FrameSamples - 1) / audio.FrameSamples
	far, in := padded(far, frames), padded(mic, frames)

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := cpu.ThreadTime()
	for i := range frames {
		c.Play((*audio.Frame)(far[i*audio.FrameSamples:]))
		c.Capture((*audio.Frame)(in[i*audio.FrameSamples:]))
	}
	took := cpu.ThreadTime() - began
	runtime.ReadMemStats(&after)
	r := &Result{
		Canceller:   name,
		Delay:       float64(latency) * 1000 / audio.SampleRate,
		CPU:         float64(took.Microseconds()) / float64(max(1, frames)),
		Allocations: float64((after.Mallocs - before.Mallocs) / uint64(max(1, frames))),
		Out:         in[latency : latency+len(mic)],
	}
	r.measure(far, near, mic, r.Out, change)
	return r, nil
}

// padded gives pcm as so many frames.
func padded(pcm []int16, frames int) []int16 {
	out := make([]int16, frames*audio.FrameSamples)
	copy(out, pcm)
	return out
}
