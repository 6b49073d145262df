package device

import (
	"context"
	"time"

	"sidetone/audio"
)

// maxCatchUp is how many frames a clock makes up for at once: about what the far side's jitter buffer takes in its stride.
const maxCatchUp = 5

// catchUpPause is how far apart the frames of a catch-up are: while the machine slept, packets came too, and their reader
// needs its turn before sound is missed that is there already.
const catchUpPause = 2 * time.Millisecond

// pace is the clock of the devices that have none: it calls frame once for each 20 ms that have gone by, until ctx ends
// or frame fails. The schedule is counted from the start, so it never drifts. When the machine let it sleep, it catches
// up, catchUpPause apart, by maxCatchUp frames at most; time beyond that is lost, as a card would have lost it, and the next call
// says how many frames that was.
func pace(ctx context.Context, frame func(lost int) error) error {
	next := time.Now().Add(audio.FrameDuration)
	timer := time.NewTimer(audio.FrameDuration)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if ctx.Err() != nil { // both came while a frame took its time
			return nil
		}
		due := int(time.Since(next)/audio.FrameDuration) + 1
		next = next.Add(time.Duration(due) * audio.FrameDuration)
		lost := max(0, due-maxCatchUp)
		for n := range due - lost {
			if n > 0 {
				time.Sleep(catchUpPause)
			}
			if err := frame(lost); err != nil {
				return err
			}
			lost = 0
		}
		wait := time.Until(next)
		if wait <= 0 {
			wait = catchUpPause
		}
		timer.Reset(wait)
	}
}
