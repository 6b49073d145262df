package voice_test

import (
	"math"
	"testing"
	"time"

	"sidetone/audio"
	"sidetone/audio/g711"
	"sidetone/audio/opus"
	"sidetone/audio/voice"

	"github.com/pion/rtp"
)

// wire hands packets to a receiver 20 ms apart, under an SSRC that can change.
type wire struct {
	to   *voice.Receiver
	ssrc uint32
	now  time.Time
}

func (w *wire) WriteRTP(p *rtp.Packet) bool {
	q := *p
	q.SSRC = w.ssrc
	w.to.PushRTP(&q, w.now)
	return true
}

// TestChangeOfCodec runs a tone from a sender to a receiver while both change from Opus to PCMU and PCMA, and while the
// stream changes its SSRC: the tone goes on, and no change clicks.
func TestChangeOfCodec(t *testing.T) {
	type codec struct {
		enc voice.Encoder
		dec voice.Decoder
	}
	newOpus := func() codec {
		enc, err := opus.NewEncoder(opus.Config{Bitrate: 32000, Complexity: 5})
		if err != nil {
			t.Fatal(err)
		}
		dec, err := opus.NewDecoder()
		if err != nil {
			t.Fatal(err)
		}
		return codec{enc, dec}
	}
	now := time.Unix(1, 0)
	w := &wire{ssrc: 1, now: now}
	r := voice.NewReceiver(voice.ReceiverConfig{Now: func() time.Time { return w.now }})
	w.to = r
	s := voice.NewSender(voice.SenderConfig{Out: w})
	var f, out audio.Frame
	if s.PushFrame(&f) {
		t.Error("a frame was taken without an encoder")
	}
	r.PushRTP(&rtp.Packet{Payload: []byte{1}}, now) // without a decoder: dropped
	r.PullFrame(&out)

	n, last, click, quiet := 0, int16(0), 0, 0
	run := func(frames int, heard bool) {
		for range frames {
			for i := range f {
				f[i] = int16(8000 * math.Sin(2*math.Pi*440*float64(n)/48000))
				n++
			}
			s.PushFrame(&f)
			r.PullFrame(&out)
			w.now = w.now.Add(audio.FrameDuration)
			sum := 0.0
			for _, v := range out {
				if heard {
					click = max(click, int(math.Abs(float64(v)-float64(last))))
				}
				last = v
				sum += float64(v) * float64(v)
			}
			if heard && math.Sqrt(sum/float64(len(out))) < 2000 {
				quiet++
			}
		}
	}
	use := func(c codec) { s.SetEncoder(c.enc); r.SetDecoder(c.dec) }
	use(newOpus())
	run(25, false)
	run(50, true)
	if click > 700 || quiet > 0 {
		t.Fatalf("before any change: steps of %d, %d quiet frames", click, quiet)
	}
	for name, c := range map[string]func(){
		"to PCMU":         func() { use(codec{g711.NewEncoder(g711.PCMU), g711.NewDecoder(g711.PCMU)}) },
		"to PCMA":         func() { use(codec{g711.NewEncoder(g711.PCMA), g711.NewDecoder(g711.PCMA)}) },
		"to Opus":         func() { use(newOpus()) },
		"to another SSRC": func() { w.ssrc++ },
	} {
		click, quiet = 0, 0
		c()
		run(50, true)
		t.Logf("%s: largest step %d, %d quiet frames of 50", name, click, quiet)
		if click > 1200 || quiet > 15 {
			t.Errorf("%s: steps of %d, %d quiet frames", name, click, quiet)
		}
	}
}
