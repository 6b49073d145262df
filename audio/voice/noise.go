package voice

import "sidetone/audio"

const (
	// loudestPause is the mean square of -35 dBFS: sound above it is no pause.
	loudestPause = 340_000
	// noisePiece is how much of the pause is taken at a time: 10 ms, half of them while the one before it fades.
	noisePiece = audio.FrameSamples / 2
	noiseStep  = noisePiece / 2
	// quietGrows is by what part per frame a pause must be louder than the quietest one to be taken in its place: noise
	// that grew is followed at 1.7 dB a second.
	quietGrows = 128
)

// noise makes comfort noise of the quietest frame that was heard of late: pieces of it, from places and with signs that are
// left to chance, fade into one another, so that it has the level and the colour of the pause. It uses integers only. The
// zero value is silent until it has heard a pause.
type noise struct {
	quiet  int64 // mean square of pause, that grows
	heard  bool
	chance uint32
	pause  audio.Frame
	tail   [noiseStep]int16 // the fading half of the piece before
	piece  [noiseStep]int16
	used   int // samples of piece
}

// listen takes sound that was received.
func (n *noise) listen(pcm []int16) {
	for ; len(pcm) >= audio.FrameSamples; pcm = pcm[audio.FrameSamples:] {
		f := (*audio.Frame)(pcm)
		var sum int64
		for _, v := range f {
			sum += int64(v) * int64(v)
		}
		square := sum / audio.FrameSamples
		n.quiet += n.quiet/quietGrows + 1
		if square <= loudestPause && (!n.heard || square <= n.quiet) {
			n.quiet, n.heard, n.pause = square, true, *f
		}
	}
}

// next is the noise's next sample.
func (n *noise) next() int {
	if !n.heard {
		return 0
	}
	if n.used == 0 {
		n.renew()
	}
	v := n.piece[n.used]
	n.used = (n.used + 1) % noiseStep
	return int(v)
}

// renew makes the next piece: it rises while the one before falls. The gains are those of powers, for the two have nothing
// in common.
func (n *noise) renew() {
	n.chance = n.chance*1664525 + 1013904223
	from := int(n.chance>>8) % (audio.FrameSamples - noisePiece)
	sign := 1 - 2*int(n.chance>>31)
	for i := range n.piece {
		v := sign * int(n.pause[from+i])
		n.piece[i] = int16((v*root(i) + int(n.tail[i])*root(noiseStep-1-i)) / full)
		n.tail[i] = int16(sign * max(int(n.pause[from+noiseStep+i]), -32767))
	}
}

// root is the gain, of full, whose square goes from 0 to 1 over noiseStep samples, nearly: 1-(1-x)² of the share x.
func root(i int) int {
	rest := noiseStep - 1 - i
	return full - full*rest*rest/((noiseStep-1)*(noiseStep-1))
}
