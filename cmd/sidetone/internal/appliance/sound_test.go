package appliance

import (
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"
)

// ramp writes a WAV of which each frame's samples are that number.
func ramp(t *testing.T, path string, value int16) string {
	t.Helper()
	pcm := make([]int16, 20*audio.SampleRate)
	for i := range pcm {
		pcm[i] = value
	}
	if err := audiotest.WriteWAV(path, pcm, audio.SampleRate); err != nil {
		t.Fatal(err)
	}
	return "wav:" + path
}

// counter plays its own count, and notes what it hears.
type counter struct {
	played atomic.Int32
	heard  atomic.Int32
}

func (c *counter) PullFrame(f *audio.Frame) { f[0] = int16(c.played.Add(1)) }

func (c *counter) PushFrame(f *audio.Frame) bool {
	c.heard.Store(int32(f[0]))
	return true
}

// TestChangeOfDevice changes microphone and loudspeaker in mid-call, and to what does not open: then the old one goes on.
func TestChangeOfDevice(t *testing.T) {
	dir := t.TempDir()
	a, b := ramp(t, filepath.Join(dir, "a.wav"), 1000), ramp(t, filepath.Join(dir, "b.wav"), 2000)
	out, other := filepath.Join(dir, "out.wav"), filepath.Join(dir, "other.wav")
	synctest.Test(t, func(t *testing.T) {
		s := newSound(soundDeviceOf(a, "wav:"+out), slog.New(slog.DiscardHandler))
		var p part
		p.start(t.Context(), s.run)
		defer p.stop()
		c := &counter{}
		use := func(capture, playback string, good bool) {
			t.Helper()
			if err := s.use(t.Context(), soundDeviceOf(capture, playback)); (err == nil) != good {
				t.Errorf("%s and %s: %v", capture, playback, err)
			}
			c.heard.Store(0)
			time.Sleep(time.Second)
			synctest.Wait()
		}
		hears := func(want int32) {
			t.Helper()
			if got := c.heard.Load(); got != want {
				t.Errorf("the microphone gives %d, want %d", got, want)
			}
		}
		// At rest: nothing is recorded yet.
		use(b, "wav:"+out, true)
		use("wav:/none.wav", "wav:"+out, false)
		use(a, "wav:"+filepath.Join(dir, "no", "out.wav"), false)
		if _, err := recordedFrames(out); err == nil {
			t.Error("a device at rest recorded")
		}
		s.set(route{speaker: c, mic: c})
		time.Sleep(time.Second)
		synctest.Wait()
		hears(2000)
		use(a, "wav:"+out, true)
		hears(1000)
		use("card:None", "card:None", false)
		hears(1000)
		use("wav:/none.wav", "wav:"+out, false)
		hears(1000)
		use(a, "wav:/dev/full", false)
		hears(1000)
		use(a, "wav:"+other, true)
		hears(1000)
		use("null", "null", true)
		hears(0)
		if d := s.device.Load(); !d.dumb || d.card {
			t.Errorf("device %+v", d)
		}
		s.set(route{})
	})
	if n, err := recordedFrames(out); err != nil || n < 4*49 || n > 5*51 {
		t.Errorf("the first recording has %d frames, %v", n, err)
	}
	if n, err := recordedFrames(other); err != nil || n < 45 || n > 55 {
		t.Errorf("the second recording has %d frames, %v", n, err)
	}
	pcm, _, err := audiotest.ReadWAV(out)
	if err != nil {
		t.Fatal(err)
	}
	for i := audio.FrameSamples; i < len(pcm); i += audio.FrameSamples {
		if step := pcm[i] - pcm[i-audio.FrameSamples]; step < 1 || step > 2 { // the frame that failed to be written is not there
			t.Fatalf("the recording goes from %d to %d", pcm[i-audio.FrameSamples], pcm[i])
		}
	}
}

// recordedFrames gives the frames in a recording that holds any.
func recordedFrames(path string) (int, error) {
	pcm, _, err := audiotest.ReadWAV(path)
	if err == nil && len(pcm) == 0 {
		err = os.ErrNotExist
	}
	return len(pcm) / audio.FrameSamples, err
}
