package opus

import (
	"math"
	"testing"

	"sidetone/audio"

	"gonum.org/v1/gonum/dsp/fourier"
)

// voiceLike is a frame of a 220 Hz harmonic tone with a syllable-like envelope, at sample offset at.
func voiceLike(at int) (f audio.Frame) {
	for i := range f {
		t := float64(at+i) / audio.SampleRate
		v := 0.0
		for h := 1; h <= 8; h++ {
			v += math.Sin(2*math.Pi*220*float64(h)*t) / float64(h)
		}
		f[i] = int16(6000 * v * (0.6 + 0.4*math.Sin(2*math.Pi*4*t)))
	}
	return f
}

func sine(hz float64, at int) (f audio.Frame) {
	for i := range f {
		f[i] = int16(10000 * math.Sin(2*math.Pi*hz*float64(at+i)/audio.SampleRate))
	}
	return f
}

func pair(t testing.TB, c Config) (*Encoder, *Decoder) {
	t.Helper()
	enc, err := NewEncoder(c)
	if err != nil {
		t.Fatal(err)
	}
	dec, err := NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	return enc, dec
}

// peak gives the strongest frequency in pcm, in Hz.
func peak(pcm []int16) float64 {
	x := make([]float64, len(pcm))
	for i, v := range pcm {
		x[i] = float64(v)
	}
	fft := fourier.NewFFT(len(x))
	best, at := 0.0, 0
	for i, c := range fft.Coefficients(nil, x) {
		if p := real(c)*real(c) + imag(c)*imag(c); p > best {
			best, at = p, i
		}
	}
	return fft.Freq(at) * audio.SampleRate
}

func TestToneSurvives(t *testing.T) {
	enc, dec := pair(t, Config{Complexity: 5})
	buf := make([]byte, MaxPacket)
	var heard []int16
	for i := range 50 {
		f := sine(1000, i*audio.FrameSamples)
		n, err := enc.Encode(&f, buf)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := Samples(buf[:n]); s != audio.FrameSamples || err != nil {
			t.Fatalf("Samples = %d, %v", s, err)
		}
		pcm := make([]int16, audio.FrameSamples)
		if got, err := dec.Decode(buf[:n], pcm); got != len(pcm) || err != nil {
			t.Fatalf("Decode = %d, %v", got, err)
		}
		heard = append(heard, pcm...)
	}
	if hz := peak(heard[len(heard)/2:]); math.Abs(hz-1000) > 5 {
		t.Errorf("1 kHz came back as %.0f Hz", hz)
	}
}

// TestFEC drops each fifth packet: with FEC the recovered frame must be nearer to what was sent than PLC's guess.
func TestFEC(t *testing.T) {
	enc, withFEC := pair(t, Config{Complexity: 5, FEC: true, PacketLossPercent: 20})
	_, withPLC := pair(t, Config{})
	_, whole := pair(t, Config{})
	buf := make([]byte, MaxPacket)
	var flagged, lost int
	var errFEC, errPLC float64
	reference, a, b := make([]int16, audio.FrameSamples), make([]int16, audio.FrameSamples), make([]int16, audio.FrameSamples)
	var lastReference []int16
	dropped := false
	for i := range 200 {
		f := voiceLike(i * audio.FrameSamples)
		n, err := enc.Encode(&f, buf)
		if err != nil {
			t.Fatal(err)
		}
		p := buf[:n]
		if HasFEC(p) {
			flagged++
		}
		if _, err := whole.Decode(p, reference); err != nil {
			t.Fatal(err)
		}
		if dropped && HasFEC(p) && i > 20 {
			lost++
			if err := withFEC.DecodeFEC(p, a); err != nil {
				t.Fatal(err)
			}
			if err := withPLC.DecodePLC(b); err != nil {
				t.Fatal(err)
			}
			errFEC += distance(a, lastReference)
			errPLC += distance(b, lastReference)
		}
		lastReference = append(lastReference[:0], reference...)
		if dropped = i%5 == 4; dropped {
			continue
		}
		withFEC.Decode(p, a)
		withPLC.Decode(p, b)
	}
	if flagged < 100 || lost < 15 {
		t.Fatalf("%d of 200 packets carry FEC, %d losses met one", flagged, lost)
	}
	if errFEC > errPLC {
		t.Errorf("FEC is further from the original (%.3g) than PLC (%.3g)", errFEC, errPLC)
	}
}

// distance compares spectra's magnitude, since recovered frames may be shifted in phase.
func distance(a, b []int16) (d float64) {
	fft := fourier.NewFFT(len(a))
	spectrum := func(v []int16) []complex128 {
		x := make([]float64, len(v))
		for i := range v {
			x[i] = float64(v[i])
		}
		return fft.Coefficients(nil, x)
	}
	sa, sb := spectrum(a), spectrum(b)
	for i := range sa {
		e := math.Hypot(real(sa[i]), imag(sa[i])) - math.Hypot(real(sb[i]), imag(sb[i]))
		d += e * e
	}
	return d
}

func TestNoFECWithoutAsking(t *testing.T) {
	enc, _ := pair(t, Config{})
	buf := make([]byte, MaxPacket)
	for i := range 100 {
		f := voiceLike(i * audio.FrameSamples)
		n, err := enc.Encode(&f, buf)
		if err != nil {
			t.Fatal(err)
		}
		if HasFEC(buf[:n]) {
			t.Fatalf("packet %d claims FEC", i)
		}
	}
}

func TestSamples(t *testing.T) {
	for _, c := range []struct {
		payload []byte
		want    int // 0: refused
	}{
		{nil, 0},
		{[]byte{0x78}, 960},       // hybrid fullband 20 ms, one frame
		{[]byte{0x79}, 1920},      // two equal frames
		{[]byte{0xe0}, 120},       // CELT 2.5 ms
		{[]byte{0x1b}, 0},         // code 3 without its count
		{[]byte{0x1b, 2}, 5760},   // two of 60 ms
		{[]byte{0x1b, 3}, 0},      // 180 ms
		{[]byte{0x1b, 0}, 0},      // no frame
		{[]byte{0x08, 0, 0}, 960}, // SILK narrowband 20 ms
		{[]byte{0x00, 0x00}, 480}, // SILK narrowband 10 ms
	} {
		got, err := Samples(c.payload)
		if got != c.want || (err != nil) != (c.want == 0) {
			t.Errorf("Samples(%x) = %d, %v; want %d", c.payload, got, err, c.want)
		}
	}
}

func FuzzPacket(f *testing.F) {
	enc, dec := pair(f, Config{FEC: true, PacketLossPercent: 20})
	buf := make([]byte, MaxPacket)
	for i := range 5 {
		frame := voiceLike(i * audio.FrameSamples)
		n, _ := enc.Encode(&frame, buf)
		f.Add(append([]byte(nil), buf[:n]...))
	}
	f.Add([]byte{0x1b, 0xff, 0xff})
	pcm := make([]int16, maxSamples)
	f.Fuzz(func(t *testing.T, p []byte) {
		HasFEC(p)
		n, err := Samples(p)
		got, derr := dec.Decode(p, pcm)
		if derr == nil && (err != nil || got != n) {
			t.Errorf("libopus decodes %d samples of %x, Samples says %d, %v", got, p, n, err)
		}
		dec.DecodeFEC(p, pcm[:audio.FrameSamples])
		if err := dec.DecodePLC(pcm[:audio.FrameSamples]); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	for _, complexity := range []int{0, 5, 9} {
		b.Run("complexity"+string(rune('0'+complexity)), func(b *testing.B) {
			enc, _ := pair(b, Config{Complexity: complexity, FEC: true})
			buf := make([]byte, MaxPacket)
			frames := make([]audio.Frame, 50)
			for i := range frames {
				frames[i] = voiceLike(i * audio.FrameSamples)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := enc.Encode(&frames[i%len(frames)], buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	enc, dec := pair(b, Config{Complexity: 5})
	buf, pcm := make([]byte, MaxPacket), make([]int16, audio.FrameSamples)
	f := voiceLike(0)
	n, err := enc.Encode(&f, buf)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := dec.Decode(buf[:n], pcm); err != nil {
			b.Fatal(err)
		}
	}
}
