package g711

import (
	"errors"
	"math"
	"testing"

	"sidetone/audio"
	"sidetone/audio/audiotest"
	"sidetone/audio/voice"
)

var (
	_ voice.Decoder = (*Decoder)(nil)
	_ voice.Encoder = (*Encoder)(nil)
)

// TestKnownCodes: values of G.711's tables 1 and 2, at full scale, at zero and at a segment's edge.
func TestKnownCodes(t *testing.T) {
	mu, a := lawTables[PCMU](), lawTables[PCMA]()
	for code, want := range map[byte]int16{0x80: 32124, 0x00: -32124, 0xff: 0, 0x7f: 0, 0xfe: 8, 0x7e: -8, 0xf0: 120, 0xef: 132} {
		if got := mu.expand[code]; got != want {
			t.Errorf("mu %#02x: %d, want %d", code, got, want)
		}
	}
	for code, want := range map[byte]int16{0xaa: 32256, 0x2a: -32256, 0xd5: 8, 0x55: -8, 0xd4: 24, 0x80: 5504, 0xda: 248, 0xc5: 264} {
		if got := a.expand[code]; got != want {
			t.Errorf("A %#02x: %d, want %d", code, got, want)
		}
	}
}

// TestEveryValue codes all 65,536 samples: each gets a code whose value is at most half a step away, in order, and every
// code's own value comes back as that code.
func TestEveryValue(t *testing.T) {
	for name, law := range map[string]Law{"PCMU": PCMU, "PCMA": PCMA} {
		table := lawTables[law]()
		used := map[byte]bool{}
		last := math.MinInt32
		for v := math.MinInt16; v <= math.MaxInt16; v++ {
			code := table.code(int16(v))
			used[code] = true
			got := int(table.expand[code])
			if got < last {
				t.Fatalf("%s: %d decodes to %d, less than %d", name, v, got, last)
			}
			last = got
			// In its segment a value is off by half a step at most; decisions are taken on 14 or 13 bits, so our lowest bits
			// do not count. Beyond the last step everything is clipped.
			step := 8 << (^code >> 4 & 7)
			if law == PCMA {
				step = 16 << max(int((code^0x55)>>4&7)-1, 0)
			}
			if off := abs(v - got); off > step/2+(1<<table.shift) && abs(v) < 32124 {
				t.Fatalf("%s: %d decodes to %d, more than half a step of %d off", name, v, got, step)
			}
			if (v < 0) != (code&0x80 == 0) {
				t.Fatalf("%s: %d has the wrong sign", name, v)
			}
		}
		if len(used) != 256 {
			t.Errorf("%s: %d codes are in use", name, len(used))
		}
		for code, v := range table.expand {
			if back := table.code(v); back != byte(code) && v != 0 {
				t.Errorf("%s: %#02x comes back as %#02x", name, code, back)
			}
		}
	}
}

func abs(v int) int { return max(v, -v) }

// through sends pcm through a codec, frame by frame; lost frames are guessed.
func through(t *testing.T, law Law, pcm []int16, lost func(frame int) bool) []int16 {
	t.Helper()
	enc, dec := NewEncoder(law), NewDecoder(law)
	var out []int16
	var f audio.Frame
	var buf [200]byte
	for i := 0; (i+1)*len(f) <= len(pcm); i++ {
		copy(f[:], pcm[i*len(f):])
		n, err := enc.Encode(&f, buf[:])
		if err != nil || n != 160 {
			t.Fatal(n, err)
		}
		got := make([]int16, audio.FrameSamples)
		if lost != nil && lost(i) {
			err = dec.DecodePLC(got)
		} else if n, e := dec.Decode(buf[:n], got); n != len(got) {
			err = errors.Join(e, errors.New("not a frame"))
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, got...)
	}
	return out
}

func sine(hz, level float64, n int) []int16 {
	out := make([]int16, n)
	for i := range out {
		out[i] = int16(level * 32767 * math.Sin(2*math.Pi*hz*float64(i)/48000))
	}
	return out
}

func rms(pcm []int16) float64 {
	sum := 0.0
	for _, v := range pcm {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(len(pcm)))
}

// TestBand: a telephone's band passes, and what 8 kHz cannot hold is gone, with its images.
func TestBand(t *testing.T) {
	for _, law := range []Law{PCMU, PCMA} {
		for hz, want := range map[float64][2]float64{
			300: {-0.3, 0.3}, 1000: {-0.3, 0.3}, 3000: {-0.3, 0.3}, 3400: {-1.5, 0.5}, 4400: {-300, -45}, 7000: {-300, -45}, 15000: {-300, -45},
		} {
			in := sine(hz, 0.5, 48000)
			out := through(t, law, in, nil)
			db := 20 * math.Log10((rms(out[4800:])+1e-9)/rms(in[4800:]))
			if db < want[0] || db > want[1] {
				t.Errorf("law %d, %v Hz: %.2f dB", law, hz, db)
			}
		}
		// The rest beside a tone: companding's own noise, 38 dB down, and no image at 8 kHz minus it.
		in := sine(1000, 0.5, 48000)
		out := through(t, law, in, nil)
		rest, delay := 0.0, taps-ratio // of both filters, less the samples that a frame already has
		for i := 4800; i < 40000; i++ {
			d := float64(out[i]) - float64(in[i-delay])
			rest += d * d
		}
		snr := 20 * math.Log10(rms(in)/math.Sqrt(rest/35200))
		t.Logf("law %d: %.1f dB of signal to noise at 1 kHz", law, snr)
		if snr < 33 {
			t.Errorf("law %d: %.1f dB", law, snr)
		}
	}
}

func TestSpeech(t *testing.T) {
	in := audiotest.Speech(1, 6e9)
	for _, law := range []Law{PCMU, PCMA} {
		if d := audiotest.LevelDifference(in, through(t, law, in, nil)); math.Abs(d) > 1.5 {
			t.Errorf("law %d: the level changes by %.1f dB", law, d)
		}
	}
}

// TestGuess: a lost frame of a steady sound is not heard: no gap and no click.
func TestGuess(t *testing.T) {
	in := sine(150, 0.3, 96000)
	for i, v := range sine(450, 0.2, 96000) {
		in[i] += v
	}
	whole := through(t, PCMU, in, nil)
	lossy := through(t, PCMU, in, func(i int) bool { return i%10 == 9 })
	step := func(pcm []int16) (most int) {
		for i := 4801; i < len(pcm); i++ {
			most = max(most, abs(int(pcm[i])-int(pcm[i-1])))
		}
		return most
	}
	t.Logf("largest step %d, with losses %d", step(whole), step(lossy))
	if step(lossy) > 2*step(whole) {
		t.Errorf("clicks: a step of %d, without loss %d", step(lossy), step(whole))
	}
	if r := rms(lossy) / rms(whole); r < 0.95 || r > 1.05 {
		t.Errorf("level with losses: %.2f", r)
	}
}

func TestOddLengths(t *testing.T) {
	d := NewDecoder(PCMA)
	if err := d.DecodePLC(make([]int16, 10)); !errors.Is(err, ErrNoPLC) {
		t.Errorf("%v", err)
	}
	if _, err := d.Decode(nil, make([]int16, 10)); !errors.Is(err, ErrEmpty) {
		t.Errorf("%v", err)
	}
	if _, err := d.Decode(make([]byte, 160), make([]int16, 959)); !errors.Is(err, ErrShort) {
		t.Errorf("%v", err)
	}
	if _, err := NewEncoder(PCMA).Encode(&audio.Frame{}, make([]byte, 159)); err == nil {
		t.Error("159 bytes were enough")
	}
	if d.HasFEC(nil) || d.DecodeFEC(nil, nil) == nil {
		t.Error("FEC")
	}
	pcm := make([]int16, 6*960)
	for range 3 {
		if n, err := d.Decode(make([]byte, 320), pcm); n != 1920 || err != nil { // 40 ms, as FreeSWITCH may send
			t.Fatal(n, err)
		}
	}
	for n := range 50 {
		if err := d.DecodePLC(pcm[:n]); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0, 255, 128}, uint8(7))
	f.Fuzz(func(t *testing.T, payload []byte, lost uint8) {
		d := NewDecoder(PCMU)
		pcm := make([]int16, 6*960)
		n, err := d.Decode(payload, pcm)
		if err == nil && n != 6*len(payload) {
			t.Errorf("%d samples of %d bytes", n, len(payload))
		}
		_ = d.DecodePLC(pcm[:lost])
		_, _ = d.Decode(payload, pcm)
	})
}

func BenchmarkEncode(b *testing.B) {
	e, f, buf := NewEncoder(PCMU), &audio.Frame{}, make([]byte, 160)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = e.Encode(f, buf)
	}
}

func BenchmarkDecode(b *testing.B) {
	d, buf, pcm := NewDecoder(PCMU), make([]byte, 160), make([]int16, 960)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = d.Decode(buf, pcm)
	}
}
