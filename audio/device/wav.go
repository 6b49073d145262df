package device

import (
	"context"
	"errors"
	"fmt"

	"sidetone/audio"
)

// WAV is a device made of files, a frame each 20 ms. In is captured, from its start in each Run, and silence after its
// end; it may have any rate and any number of channels. Out records what is played, as 48 kHz mono of 16 bit, anew in
// each Run. A side without a path is null.
type WAV struct {
	In, Out string

	at   int64 // in In, when the last Run ended, in samples of 48 kHz
	from *WAV  // whose files the next Run goes on with, where they are the same
}

var _ audio.Duplex = (*WAV)(nil)

// Resume makes next go on, in its first Run, where old stopped, whose Run has ended: with a file that both capture, from
// where it was; of one that both record, after what is in it. It is for a device that is changed in mid-call.
func Resume(next, old audio.Duplex) {
	n, ok := next.(*WAV)
	o, ok2 := old.(*WAV)
	if ok && ok2 {
		n.from = o
	}
}

// Run implements audio.Duplex. In moves on only as mic takes frames, so that its first sample goes out with the first
// packet. Out lasts from Run's start to its end, 20 ms of it for each 20 ms, and all but the last second of it can be
// read even if the process is killed. An error names the file.
func (w *WAV) Run(ctx context.Context, speaker audio.Source, mic audio.Sink) (err error) {
	in, err := openCaptured(w.In)
	if err != nil {
		return err
	}
	defer in.close()
	at, again := int64(0), false
	if f := w.from; f != nil {
		if again = f.Out == w.Out; f.In == w.In {
			at = f.at
		}
		w.from = nil
	}
	out, err := record(w.Out, again)
	if err != nil {
		return err
	}
	defer func() {
		w.at = at
		err = errors.Join(err, out.close())
	}()
	var f audio.Frame
	return pace(ctx, func(lost int) error {
		if err := out.skip(lost); err != nil {
			return err
		}
		speaker.PullFrame(&f)
		if err := out.write(&f); err != nil {
			return err
		}
		n, err := in.read(f[:], at)
		if err != nil {
			return fmt.Errorf("capture: %s: %w", w.In, err)
		}
		clear(f[n:])
		if mic.PushFrame(&f) {
			at += int64(n)
		}
		return nil
	})
}
