package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"sidetone/audio"
	"sidetone/cmd/internal/atomicfile"
	"sidetone/cmd/sidetone/internal/control"
)

// role is what a sound is for; each has a volume of its own.
type role int

const (
	ringRole   role = iota // a call rings here
	talkRole               // what the far side says, and the ringback
	promptRole             // what the device has to say itself: chime, busy, error
	roles
)

var roleNames = [roles]string{"ring", "talk", "prompt"}

// volumes are those that somebody set on the running device; they win over the config's, over restarts, too.
type volumes struct {
	set  [roles]atomic.Int32 // percent, and 1 more; 0: nobody set it
	file string              // "": nothing is kept

	mu sync.Mutex // of the file
}

const fullVolume = 100

// load reads what was set before.
func (v *volumes) load() error {
	b, err := os.ReadFile(v.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	kept := map[string]int{}
	if err == nil {
		err = json.Unmarshal(b, &kept)
	}
	for r, name := range roleNames {
		if percent, ok := kept[name]; ok && percent >= 0 && percent <= fullVolume {
			v.set[r].Store(int32(percent) + 1)
		}
	}
	return err
}

// save keeps them.
func (v *volumes) save() error {
	kept := map[string]int{}
	for r, name := range roleNames {
		if n := v.set[r].Load(); n > 0 {
			kept[name] = int(n) - 1
		}
	}
	b, err := json.Marshal(kept)
	if err != nil || v.file == "" {
		return err
	}
	return atomicfile.Write(v.file, b, 0o600)
}

// volumeFile is where they are kept.
func volumeFile(stateDir string) string { return filepath.Join(stateDir, "volume.json") }

// volume is how loud sounds of that role are, in percent of their amplitude. It waits for nothing.
func (a *Appliance) volume(r role) int {
	if n := a.volumes.set[r].Load(); n > 0 {
		return int(n) - 1
	}
	return [roles]int{a.cfg.Audio.RingVolume, a.cfg.Audio.TalkVolume, a.cfg.Audio.PromptVolume}[r]
}

// Volume implements control.Device.
func (a *Appliance) Volume(ctx context.Context, name string, percent *int) (control.Volumes, error) {
	if percent != nil {
		r := slices.Index(roleNames[:], name)
		if r < 0 {
			return control.Volumes{}, fmt.Errorf("there is no volume of %q; there are %s", name, strings.Join(roleNames[:], ", "))
		}
		if *percent < 0 || *percent > fullVolume {
			return control.Volumes{}, fmt.Errorf("a volume is from 0 to %d %%, not %d", fullVolume, *percent)
		}
		a.volumes.mu.Lock()
		a.volumes.set[r].Store(int32(*percent) + 1)
		err := a.volumes.save()
		a.volumes.mu.Unlock()
		if err != nil {
			return control.Volumes{}, fmt.Errorf("the volume is changed, but not kept for the next start: %w", err)
		}
		if err := a.do(ctx, func() {}); err != nil { // the loop looks anew at what is to be heard
			return control.Volumes{}, err
		}
	}
	return control.Volumes{Ring: a.volume(ringRole), Talk: a.volume(talkRole), Prompt: a.volume(promptRole)}, nil
}

// fader is a source at a volume in percent, which may change while it plays; it moves within a frame, without a click.
type fader struct {
	audio.Source
	volume func() int

	gain    float64
	started bool
}

// PullFrame implements audio.Source.
func (s *fader) PullFrame(f *audio.Frame) {
	s.Source.PullFrame(f)
	to := float64(s.volume()) / fullVolume
	if !s.started {
		s.started, s.gain = true, to
	}
	if s.gain == 1 && to == 1 {
		return
	}
	step := (to - s.gain) / audio.FrameSamples
	for i, v := range f {
		f[i] = int16(math.Round(float64(v) * (s.gain + step*float64(i+1))))
	}
	s.gain = to
}
