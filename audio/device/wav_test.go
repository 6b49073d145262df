package device

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"
)

// wavFile lays out a WAV file as writers do.
type wavFile struct {
	format, channels, rate, bits int
	extensible                   bool
	riffSize, dataSize           uint32 // 0 is the true size
	before                       []byte // chunks before the sound
	data, after                  []byte
}

func (w wavFile) bytes() []byte {
	le := binary.LittleEndian
	block := w.channels * ((w.bits + 7) / 8)
	tag, size := w.format, 16
	if w.extensible {
		tag, size = formatExtensible, 40
	}
	b := append([]byte("RIFF\x00\x00\x00\x00WAVE"), w.before...)
	b = le.AppendUint32(append(b, "fmt "...), uint32(size))
	b = le.AppendUint16(b, uint16(tag))
	b = le.AppendUint16(b, uint16(w.channels))
	b = le.AppendUint32(b, uint32(w.rate))
	b = le.AppendUint32(b, uint32(w.rate*block))
	b = le.AppendUint16(b, uint16(block))
	b = le.AppendUint16(b, uint16(w.bits))
	if w.extensible {
		b = le.AppendUint16(b, 22)
		b = le.AppendUint16(b, uint16(w.bits))
		b = le.AppendUint32(b, 0)
		b = le.AppendUint16(b, uint16(w.format))
		b = append(b, "\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"...)
	}
	if w.dataSize == 0 {
		w.dataSize = uint32(len(w.data))
	}
	b = append(le.AppendUint32(append(b, "data"...), w.dataSize), w.data...)
	b = append(b, w.after...)
	if w.riffSize == 0 {
		w.riffSize = uint32(len(b) - 8)
	}
	le.PutUint32(b[4:], w.riffSize)
	return b
}

// encode puts pcm into samples of a format, the same in each channel.
func encode(pcm []int16, format, bits, channels int) []byte {
	le := binary.LittleEndian
	var b []byte
	for _, v := range pcm {
		for range channels {
			switch {
			case format == formatFloat && bits == 32:
				b = le.AppendUint32(b, math.Float32bits(float32(v)/32768))
			case format == formatFloat:
				b = le.AppendUint64(b, math.Float64bits(float64(v)/32768))
			case bits == 8:
				b = append(b, byte(int(v)>>8+128))
			case bits == 16:
				b = le.AppendUint16(b, uint16(v))
			case bits == 24:
				b = append(b, 0, byte(v), byte(v>>8))
			case bits == 32:
				b = le.AppendUint32(b, uint32(int32(v)<<16))
			}
		}
	}
	return b
}

func TestDecodeFormats(t *testing.T) {
	in := audiotest.Speech(5, 100*time.Millisecond)
	for _, rate := range []int{8000, 22050, 48000} {
		for _, channels := range []int{1, 2, 6} {
			for _, f := range []struct{ format, bits int }{
				{formatPCM, 8}, {formatPCM, 16}, {formatPCM, 24}, {formatPCM, 32}, {formatFloat, 32}, {formatFloat, 64},
			} {
				for _, extensible := range []bool{false, true} {
					w := wavFile{format: f.format, channels: channels, rate: rate, bits: f.bits, extensible: extensible,
						data: encode(in, f.format, f.bits, channels)}
					got, gotRate, err := decodeWAV(w.bytes())
					if err != nil || gotRate != rate {
						t.Fatalf("%d Hz, %+v: %d Hz, %v", channels, f, gotRate, err)
					}
					want := in
					if f.bits == 8 {
						want = slices.Clone(in)
						for i := range want {
							want[i] = want[i] >> 8 << 8
						}
					}
					if !slices.Equal(got, want) {
						t.Errorf("%d Hz, %d channels, %+v, extensible %v: the samples changed", rate, channels, f, extensible)
					}
				}
			}
		}
	}
}

// TestDecodeMix takes the mean of channels, and keeps what floating point says above full scale within it.
func TestDecodeMix(t *testing.T) {
	pcm, _, err := decodeWAV(wavFile{format: formatPCM, channels: 2, rate: 48000, bits: 16, data: encode([]int16{1000, 3000, -32768, -32768}, formatPCM, 16, 1)}.bytes())
	if err != nil || !slices.Equal(pcm, []int16{2000, -32768}) {
		t.Errorf("mixed to %v, %v", pcm, err)
	}
	var loud []byte
	for _, v := range []float32{2, -2, float32(math.NaN()), float32(math.Inf(1))} {
		loud = binary.LittleEndian.AppendUint32(loud, math.Float32bits(v))
	}
	pcm, _, err = decodeWAV(wavFile{format: formatFloat, channels: 1, rate: 48000, bits: 32, data: loud}.bytes())
	if err != nil || !slices.Equal(pcm, []int16{32767, -32768, 0, 32767}) {
		t.Errorf("clipped to %v, %v", pcm, err)
	}
}

// TestDecodeSizes reads what programs write: sizes nobody could fill in, and chunks around the sound.
func TestDecodeSizes(t *testing.T) {
	in := []int16{1, -2, 3}
	list := []byte("LIST\x05\x00\x00\x00INFOx\x00") // odd, so padded
	base := wavFile{format: formatPCM, channels: 1, rate: 48000, bits: 16, data: encode(in, formatPCM, 16, 1)}
	for name, change := range map[string]func(*wavFile){
		"plain":             func(*wavFile) {},
		"list before":       func(w *wavFile) { w.before = list },
		"list after":        func(w *wavFile) { w.after = list },
		"espeak to a pipe":  func(w *wavFile) { w.riffSize, w.dataSize = 0x7ffff024, 0x7ffff000 },
		"ffmpeg to a pipe":  func(w *wavFile) { w.riffSize, w.dataSize = math.MaxUint32, math.MaxUint32 },
		"cut off":           func(w *wavFile) { w.dataSize = 4000 },
		"half a sample":     func(w *wavFile) { w.data = append(w.data, 7) },
		"never closed":      func(w *wavFile) { w.riffSize = math.MaxUint32 },
		"riff size too big": func(w *wavFile) { w.riffSize = 1 << 20 },
	} {
		w := base
		w.data = slices.Clone(w.data)
		change(&w)
		if got, _, err := decodeWAV(w.bytes()); err != nil || !slices.Equal(got, in) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	// sox to a pipe, and a writer that was killed: no size at all.
	b := base.bytes()
	clear(b[40:44])
	for _, riff := range []uint32{0, 36} {
		binary.LittleEndian.PutUint32(b[4:], riff)
		if got, _, err := decodeWAV(b); err != nil || !slices.Equal(got, in) {
			t.Errorf("no size of sound, %d of all: %v, %v", riff, got, err)
		}
	}
	clear(b[4:8])
	if got, _, err := decodeWAV(b); err != nil || !slices.Equal(got, in) {
		t.Errorf("no sizes: %v, %v", got, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	ok := wavFile{format: formatPCM, channels: 1, rate: 48000, bits: 16, data: make([]byte, 100)}
	broken := func(change func(*wavFile)) []byte {
		w := ok
		change(&w)
		return w.bytes()
	}
	for want, b := range map[string][]byte{
		"not a WAV file":         []byte("fLaC and so on, quite long enough"),
		"no sound":               ok.bytes()[:36],
		"holds no sound":         broken(func(w *wavFile) { w.data = nil }),
		"format 7 and 8 bits":    broken(func(w *wavFile) { w.format, w.bits = 7, 8 }),
		"format 1 and 64 bits":   broken(func(w *wavFile) { w.bits = 64 }),
		"0 channels":             broken(func(w *wavFile) { w.channels = 0 }),
		"1 channels at 0 Hz":     broken(func(w *wavFile) { w.rate = 0 }),
		"comes before its form":  broken(func(w *wavFile) { w.before = []byte("data\x02\x00\x00\x00xx") }),
		"format is cut short":    []byte("RIFF\x10\x00\x00\x00WAVEfmt \x04\x00\x00\x00abcd"),
		"in blocks of":           append(ok.bytes()[:32], append([]byte{9}, ok.bytes()[33:]...)...),
		"does not begin with RI": nil,
	} {
		if _, _, err := decodeWAV(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

func FuzzDecodeWAV(f *testing.F) {
	f.Add(wavFile{format: formatPCM, channels: 2, rate: 44100, bits: 24, extensible: true, data: make([]byte, 60)}.bytes())
	f.Add(wavFile{format: formatFloat, channels: 1, rate: 8000, bits: 32, dataSize: math.MaxUint32, data: make([]byte, 60)}.bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		pcm, rate, err := decodeWAV(b)
		if err == nil && (rate <= 0 || len(pcm) == 0 || len(pcm) > len(b)) {
			t.Errorf("%d samples at %d Hz of %d bytes", len(pcm), rate, len(b))
		}
	})
}

// TestEspeakPipe reads what espeak-ng really writes to a pipe.
func TestEspeakPipe(t *testing.T) {
	const program = "espeak-ng"
	if _, err := exec.LookPath(program); err != nil {
		t.Logf("no %s here; its sizes are in TestDecodeSizes", program)
		return
	}
	b, err := exec.Command(program, "--stdout", "A parcel for you.").Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "espeak.wav")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	pcm, err := ReadWAV(path)
	if err != nil || len(pcm) < audio.SampleRate/2 || audiotest.Level(pcm) < -40 {
		t.Errorf("%d samples, %v", len(pcm), err)
	}
}

// TestWAVBothWays plays speech of another rate into a call that begins late, and records what comes back.
func TestWAVBothWays(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.wav"), filepath.Join(dir, "out.wav")
	speech := audiotest.Speech(6, 1010*time.Millisecond)
	if err := audiotest.WriteWAV(in, speech, audio.SampleRate); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		dev, err := Open("wav:"+in, "wav:"+out)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // a second call begins anew
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second+time.Millisecond)
			r := room{refuse: 30}
			if err := dev.Run(ctx, &r, &r); err != nil {
				t.Fatal(err)
			}
			cancel()
			var heard []int16
			for _, f := range r.heard {
				heard = append(heard, f[:]...)
			}
			if len(r.heard) != 120 || !slices.Equal(heard[:len(speech)], speech) {
				t.Errorf("%d frames were heard, and not the speech from its start", len(r.heard))
			}
			if !slices.Equal(heard[len(speech):], make([]int16, len(heard)-len(speech))) {
				t.Error("no silence after the end")
			}
		}
	})
	pcm, rate, err := audiotest.ReadWAV(out)
	if err != nil || rate != audio.SampleRate || len(pcm) != 150*audio.FrameSamples {
		t.Fatalf("recorded %d samples at %d Hz, %v", len(pcm), rate, err)
	}
	for i, v := range pcm {
		if want := int16(i/audio.FrameSamples + 1); v != want {
			t.Fatalf("sample %d is %d, want %d", i, v, want)
		}
	}
}

func TestWAVResamples(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.wav")
	speech := audiotest.Speech(7, 2*time.Second)
	// Every third sample of a sound without high tones is the same sound at 16 kHz.
	tone := make([]int16, len(speech)/3)
	for i := range tone {
		tone[i] = int16(9000 * math.Sin(2*math.Pi*500*float64(i)/16000))
	}
	if err := audiotest.WriteWAV(path, tone, 16000); err != nil {
		t.Fatal(err)
	}
	pcm, err := ReadWAV(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(pcm) != len(speech) || !audiotest.HasTone(pcm, 500) {
		t.Errorf("%d samples with the tones %v", len(pcm), audiotest.Tones(pcm))
	}
}

// TestCapturedReads has a file that is read as it is said, and one that is decoded before, say the same, from the start, from
// any place, and to the end.
func TestCapturedReads(t *testing.T) {
	dir := t.TempDir()
	speech := audiotest.Speech(5, 3*time.Second)
	speech = speech[:len(speech)-100] // not whole frames
	plain, wide := filepath.Join(dir, "plain.wav"), filepath.Join(dir, "wide.wav")
	if err := audiotest.WriteWAV(plain, speech, audio.SampleRate); err != nil {
		t.Fatal(err)
	}
	double := make([]int16, 0, 2*len(speech))
	for _, v := range speech {
		double = append(double, v, v)
	}
	w := wavFile{format: formatPCM, channels: 2, rate: audio.SampleRate, bits: 16, data: encode(double, formatPCM, 16, 1)}
	if err := os.WriteFile(wide, w.bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	for path, streams := range map[string]bool{plain: true, wide: false} {
		c, err := openCaptured(path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		if (c.file != nil) != streams {
			t.Errorf("%s is read as it is said: %v", path, c.file != nil)
		}
		for _, from := range []int64{0, 70001, 1234} {
			var got []int16
			for at := from; ; {
				var f audio.Frame
				n, err := c.read(f[:], at)
				if err != nil {
					t.Fatal(err)
				}
				if got, at = append(got, f[:n]...), at+int64(n); n < len(f) {
					break
				}
			}
			if !slices.Equal(got, speech[from:]) {
				t.Errorf("%s from %d on: %d samples, want %d of the same", path, from, len(got), len(speech)-int(from))
			}
		}
		if n, err := c.read(make([]int16, 960), int64(len(speech))+5000); n != 0 || err != nil {
			t.Errorf("%s after its end: %d, %v", path, n, err)
		}
		var f audio.Frame
		at := int64(0)
		if n := testing.AllocsPerRun(100, func() { c.read(f[:], at); at += 960 }); n != 0 {
			t.Errorf("%s: %v allocations a frame", path, n)
		}
	}
}

// TestRecordingSurvivesKill looks at the file while it is written, as a killed process would leave it.
func TestRecordingSurvivesKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.wav")
	r, err := record(path, false)
	if err != nil {
		t.Fatal(err)
	}
	var f audio.Frame
	for i := range 120 {
		f[0] = int16(i)
		if err := r.write(&f); err != nil {
			t.Fatal(err)
		}
	}
	left, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The two whole seconds are in the file, and the header counts them.
	if pcm, rate, err := decodeWAV(left); err != nil || rate != audio.SampleRate || len(pcm) != 2*audio.SampleRate {
		t.Errorf("%d samples at %d Hz, %v", len(pcm), rate, err)
	}
	if len(left) != wavHeader+100*frameBytes {
		t.Errorf("%d bytes are in the file", len(left))
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if pcm, _, err := audiotest.ReadWAV(path); err != nil || len(pcm) != 120*audio.FrameSamples {
		t.Errorf("%d samples in the end, %v", len(pcm), err)
	}
}

// TestRecordingKeepsTime loses time in the middle: the file has silence there, and lasts as long as the run.
func TestRecordingKeepsTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.wav")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second+time.Millisecond)
		defer cancel()
		var r room
		r.hear = func() {
			if r.pulled == 50 {
				time.Sleep(time.Second)
			}
		}
		if err := (&WAV{Out: path}).Run(ctx, &r, &r); err != nil {
			t.Fatal(err)
		}
	})
	pcm, _, err := audiotest.ReadWAV(path)
	if err != nil || len(pcm) != 150*audio.FrameSamples {
		t.Fatalf("recorded %d samples, %v", len(pcm), err)
	}
	for i, v := range pcm {
		want := i/audio.FrameSamples + 1
		if want > 95 {
			want -= 45
		} else if want > 50 {
			want = 0
		}
		if v != int16(want) {
			t.Fatalf("sample %d of frame %d is %d, want %d", i, i/audio.FrameSamples, v, want)
		}
	}
}

// TestRecordingSurvivesSIGKILL kills a process that records.
func TestRecordingSurvivesSIGKILL(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.wav")
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelperRecords$")
	cmd.Env = append(os.Environ(), "SIDETONE_TEST_RECORD="+path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	deadline := time.Now().Add(30 * time.Second)
	for {
		if info, err := os.Stat(path); err == nil && info.Size() > wavHeader+2*audio.SampleRate { // more than the first second: its header is written
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is recorded")
		}
		time.Sleep(20 * time.Millisecond)
	}
	cmd.Process.Kill()
	cmd.Wait()
	pcm, rate, err := audiotest.ReadWAV(path)
	if err != nil || rate != audio.SampleRate || len(pcm) < audio.SampleRate || len(pcm)%audio.SampleRate != 0 {
		t.Errorf("%d samples at %d Hz, %v", len(pcm), rate, err)
	}
	for i, v := range pcm {
		if v != int16(i/audio.FrameSamples+1) {
			t.Fatalf("sample %d is %d", i, v)
		}
	}
}

// TestHelperRecords is the process that TestRecordingSurvivesSIGKILL kills, and nothing in a run of its own.
func TestHelperRecords(t *testing.T) {
	if path := os.Getenv("SIDETONE_TEST_RECORD"); path != "" {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var r room
		t.Log((&WAV{Out: path}).Run(ctx, &r, &r))
	}
}

func TestErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.wav")
	if err := os.WriteFile(text, bytes.Repeat([]byte("hello "), 10), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ capture, playback, want string }{
		{"wav:" + dir + "/none.wav", "null", "none.wav: no such file"},
		{"wav:" + text, "null", "text.wav: not a WAV file"},
		{"null", "wav:" + dir + "/no/dir.wav", "no/dir.wav: no such file"},
	} {
		dev, err := Open(c.capture, c.playback)
		if err == nil {
			var k counter
			err = dev.Run(t.Context(), &k, &k)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %s: %v, want %q in it", c.capture, c.playback, err, c.want)
		}
	}
	// A disk that is full ends the run and says so.
	if _, err := os.Stat("/dev/full"); err == nil {
		var k counter
		err := (&WAV{Out: "/dev/full"}).Run(t.Context(), &k, &k)
		if err == nil || !strings.Contains(err.Error(), "/dev/full") {
			t.Errorf("a full disk: %v", err)
		}
	}
}

func ExampleKindOf() {
	for _, setting := range []string{"null", "wav:door.wav", "card:Device", "gramophone"} {
		kind, err := KindOf(setting)
		fmt.Println(kind, err)
	}
	// Output:
	// null <nil>
	// wav <nil>
	// card <nil>
	//  no sound device "gramophone": say auto, null, wav:PATH or card:NAME
}

// TestResume changes one file in the middle and keeps the other: what is kept goes on where it was.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	ramp := func(name string, step int16) string {
		pcm := make([]int16, 4*audio.SampleRate)
		for i := range pcm {
			pcm[i] = int16(i/audio.FrameSamples) * step // the number of its frame
		}
		path := filepath.Join(dir, name)
		if err := audiotest.WriteWAV(path, pcm, audio.SampleRate); err != nil {
			t.Fatal(err)
		}
		return path
	}
	up, down := ramp("up.wav", 1), ramp("down.wav", -1)
	out, other := filepath.Join(dir, "out.wav"), filepath.Join(dir, "other.wav")
	synctest.Test(t, func(t *testing.T) {
		var said []int16 // of each frame that was captured
		var played int16
		run := func(w *WAV) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second+time.Millisecond)
			defer cancel()
			said = nil
			if err := w.Run(ctx, sourceFunc(func(f *audio.Frame) {
				played++
				f[0] = played
			}), sinkFunc(func(f *audio.Frame) bool {
				said = append(said, f[0])
				return true
			})); err != nil {
				t.Error(err)
			}
		}
		open := func(in, out string) *WAV {
			d, err := Open("wav:"+in, "wav:"+out)
			if err != nil {
				t.Fatal(err)
			}
			return d.(*WAV)
		}
		first, second, third := open(up, out), open(down, out), open(down, other)
		run(first)
		if len(said) != 50 || said[0] != 0 || said[49] != 49 {
			t.Errorf("captured %v", said)
		}
		Resume(second, first)
		run(second)
		if len(said) != 50 || said[0] != 0 || said[49] != -49 {
			t.Errorf("the other file: captured %v", said)
		}
		Resume(third, second)
		run(third)
		if len(said) != 50 || said[0] != -50 || said[49] != -99 {
			t.Errorf("the same file with another recording: captured %v", said)
		}
		Resume(third, Null{})
		Resume(Null{}, third)
		run(third)
		if said[0] != 0 {
			t.Errorf("a run of its own begins at %d", said[0])
		}
	})
	for path, frames := range map[string][]int16{out: {1, 100}, other: {151, 200}} {
		pcm, _, err := audiotest.ReadWAV(path)
		if err != nil {
			t.Fatal(err)
		}
		first, last := pcm[0], pcm[len(pcm)-audio.FrameSamples]
		if n := len(pcm) / audio.FrameSamples; n != int(frames[1]-frames[0])+1 || first != frames[0] || last != frames[1] {
			t.Errorf("%s has %d frames from %d to %d, want %v", filepath.Base(path), n, first, last, frames)
		}
	}
}

type sourceFunc func(*audio.Frame)

func (f sourceFunc) PullFrame(frame *audio.Frame) { f(frame) }

type sinkFunc func(*audio.Frame) bool

func (f sinkFunc) PushFrame(frame *audio.Frame) bool { return f(frame) }

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	if err := Check("null", "wav:"+filepath.Join(dir, "out.wav")); err != nil {
		t.Error(err)
	}
	for _, d := range [][2]string{
		{"wav:" + filepath.Join(dir, "none.wav"), "null"}, {"null", "wav:" + filepath.Join(dir, "no", "out.wav")},
		{"null", "card:X"}, {"tape", "null"},
	} {
		if Check(d[0], d[1]) == nil {
			t.Errorf("%v is good", d)
		}
	}
}
