package voice

const (
	// pause is how far below the loud parts a frame is a pause between words: 25 dB, as a ratio of power.
	pause = 316
	// noise is the mean square of -50 dBFS: quieter than that is a pause in any case.
	noise = 5000
	// memory is the number of frames in which the loud parts are forgotten: 10 s.
	memory = 512
)

// loudness tells speech from the pauses in it.
type loudness struct {
	peak  int64 // mean square of the loud parts, slowly forgotten
	quiet bool  // the last frame was a pause
}

func (l *loudness) hear(pcm []int16) {
	var sum int64
	for _, v := range pcm {
		sum += int64(v) * int64(v)
	}
	mean := sum / int64(max(len(pcm), 1))
	l.peak = max(mean, l.peak-l.peak/memory)
	l.quiet = mean < noise || mean < l.peak/pause
}
