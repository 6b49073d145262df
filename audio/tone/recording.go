package tone

import "sidetone/audio"

// recording plays samples.
type recording struct {
	pcm    []int16
	at     int
	repeat bool
}

// Recording plays 48 kHz mono samples: over and over with repeat, else once, with silence after it. It does not change
// them.
func Recording(pcm []int16, repeat bool) audio.Source { return &recording{pcm: pcm, repeat: repeat} }

// PullFrame implements audio.Source.
func (r *recording) PullFrame(f *audio.Frame) {
	for i := 0; i < len(f); {
		n := copy(f[i:], r.pcm[r.at:])
		i, r.at = i+n, r.at+n
		if r.at < len(r.pcm) {
			continue
		}
		if !r.repeat || len(r.pcm) == 0 {
			clear(f[i:])
			return
		}
		r.at = 0
	}
}
