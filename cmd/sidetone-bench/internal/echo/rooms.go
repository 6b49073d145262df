package echo

import (
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"

	"golang.org/x/sync/errgroup"
)

// The plan of a made recording: the far end speaks all the time, the near end from and until these moments.
const (
	length     = 40 * time.Second
	nearBegins = 16 * time.Second
	nearEnds   = 26 * time.Second
	changes    = 30 * time.Second
)

// Speakers makes who speaks in a made recording: far all the time, near between 16 s and 26 s.
func Speakers(seed uint64) (far, near []int16) {
	far, near = audiotest.Speech(seed, length), audiotest.Speech(seed+100, length)
	clear(near[:samples(nearBegins)])
	clear(near[samples(nearEnds):])
	return far, near
}

func samples(d time.Duration) int { return int(d.Seconds() * audio.SampleRate) }

// scene is a made room under a name.
type scene struct {
	name string
	audiotest.EchoScene
}

func scenes() []scene {
	const short, long = 300 * time.Millisecond, 600 * time.Millisecond
	base := audiotest.EchoScene{RT60: short, Delay: 30 * time.Millisecond, Noise: 75}
	list := []scene{{"RT60 0.3 s", base}}
	add := func(name string, change func(s *audiotest.EchoScene)) {
		s := base
		change(&s)
		list = append(list, scene{name, s})
	}
	add("RT60 0.6 s", func(s *audiotest.EchoScene) { s.RT60 = long })
	add("50 ppm", func(s *audiotest.EchoScene) { s.Drift = 50 })
	add("100 ppm", func(s *audiotest.EchoScene) { s.Drift = 100 })
	add("-100 ppm", func(s *audiotest.EchoScene) { s.Drift = -100 })
	add("clipping", func(s *audiotest.EchoScene) { s.Clip = 0.3 })
	add("path change", func(s *audiotest.EchoScene) { s.Change = changes })
	return list
}

// Rooms measures every canceller in made rooms, with so many seeds of each, and writes a table of means with the worst in
// brackets. Only names the scene to measure, all when empty. Where ours and speexdsp are both among those named, ours is held
// against it, and the error says where it is worse.
func Rooms(w io.Writer, seeds int, only string, names []string) error {
	fmt.Fprintf(w, "ERLE and double talk in dB; the mean of %d rooms, and the worst in brackets.\n%-12s %-9s | %15s %15s %15s | %15s %15s | %15s | %9s %6s\n",
		seeds, "", "", "ERLE at 1 s", "at 5 s", "steady", "near SDR", "gain", "recovery s", "us/frame", "allocs")
	var worse []string
	for _, s := range scenes() {
		if only != "" && s.name != only {
			continue
		}
		type recording struct{ far, near, mic []int16 }
		made := make([]recording, seeds)
		var g errgroup.Group
		g.SetLimit(runtime.GOMAXPROCS(0))
		for i := range made {
			g.Go(func() error {
				made[i].far, made[i].near = Speakers(uint64(i + 1))
				at := s.EchoScene
				at.Seed = uint64(i + 1)
				made[i].mic = at.Microphone(made[i].far, made[i].near)
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		measured := make(map[string]*[6]column)
		for _, name := range names {
			var rows [6]column
			var cost, allocations float64
			for _, m := range made {
				r, err := Run(name, m.far, m.near, m.mic, s.Change)
				if err != nil {
					return err
				}
				for i, v := range []*float64{r.ERLE.At1s, r.ERLE.At5s, r.ERLE.Steady, r.DoubleTalk.SDR, r.DoubleTalk.Gain, r.Recovery} {
					rows[i].add(v, i == 5)
				}
				cost += r.CPU / float64(seeds)
				allocations = max(allocations, r.Allocations)
			}
			fmt.Fprintf(w, "%-12s %-9s | %15s %15s %15s | %15s %15s | %15s | %9.0f %6.0f\n",
				s.name, name, rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], cost, allocations)
			measured[name] = &rows
			if allocations > 0 {
				worse = append(worse, fmt.Sprintf("%s: %s allocates %.0f times a frame", s.name, name, allocations))
			}
		}
		if ours, theirs := measured["kalman"], measured["speexdsp"]; ours != nil && theirs != nil {
			worse = append(worse, s.judge(ours, theirs)...)
		}
	}
	if len(worse) > 0 {
		return errors.New(strings.Join(worse, "\n"))
	}
	if slices.Contains(names, "kalman") && slices.Contains(names, "speexdsp") {
		fmt.Fprintln(w, "No worse than speexdsp in the mean of any column but CPU, which is not judged.")
	}
	return nil
}

// drifting is the least ERLE, in dB, that is good enough where two clocks differ.
const drifting = 28

// judge says in which columns ours is worse than theirs.
func (s scene) judge(ours, theirs *[6]column) (worse []string) {
	for i, name := range []string{"ERLE at 1 s", "ERLE at 5 s", "steady ERLE", "near SDR", "near gain", "recovery"} {
		a, b := ours[i], theirs[i]
		if b.n == 0 {
			continue // neither has a case of it, or only ours
		}
		less := a.mean() < b.mean()
		switch name {
		case "near gain": // the further from none
			less = math.Abs(a.mean()) > math.Abs(b.mean())
		case "recovery":
			less = a.mean() > b.mean()
		}
		if less || a.missing > b.missing {
			worse = append(worse, fmt.Sprintf("%s: worse than speexdsp: %s %s, %s", s.name, name, a, b))
		}
	}
	if steady := ours[2]; s.Drift != 0 && steady.worst < drifting {
		worse = append(worse, fmt.Sprintf("%s: steady ERLE %s, want %d at least", s.name, steady, drifting))
	}
	return worse
}

// column collects one figure of several rooms.
type column struct {
	sum, worst float64
	n, missing int
}

func (c *column) add(v *float64, low bool) {
	if v == nil {
		c.missing++
		return
	}
	if c.n == 0 || low && *v > c.worst || !low && *v < c.worst {
		c.worst = *v
	}
	c.sum += *v
	c.n++
}

func (c column) mean() float64 { return c.sum / float64(max(c.n, 1)) }

// String is the mean and the worst; "never" stands for rooms in which there was no such moment.
func (c column) String() string {
	switch {
	case c.n == 0:
		return "-"
	case c.missing > 0:
		return fmt.Sprintf("%.1f (never: %d)", c.mean(), c.missing)
	}
	return fmt.Sprintf("%.1f (%.1f)", c.mean(), c.worst)
}
