package device

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
	"unsafe"

	"sidetone/audio"

	"github.com/gen2brain/malgo"
)

// backendNull is miniaudio's device without hardware. The binding's own constant is one too low, as it lacks "custom".
const backendNull malgo.Backend = 14

// TestCard runs the whole of Card on miniaudio's device without hardware.
func TestCard(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	c := &Card{Backends: []malgo.Backend{backendNull}}
	var r room
	start := time.Now()
	if err := c.Run(ctx, &r, &r); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it ended after %v", d)
	}
	// 100 frames each way and what the playback's buffers took in advance; a busy machine may lose some.
	if r.pulled < 50 || r.pulled > 125 || len(r.heard) < 50 || len(r.heard) > 105 {
		t.Errorf("%d frames played, %d captured in 2 s", r.pulled, len(r.heard))
	}
	for _, f := range r.heard {
		if f != (audio.Frame{}) {
			t.Fatal("a device without a microphone heard something")
		}
	}
	t.Logf("%d frames played, %d captured, %+v", r.pulled, len(r.heard), c.Stats())
}

// TestCardAgain opens and closes often: nothing may be left behind, in threads or descriptors.
func TestCardAgain(t *testing.T) {
	c := &Card{Backends: []malgo.Backend{backendNull}}
	run := func() {
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
		defer cancel()
		var k counter
		if err := c.Run(ctx, &k, &k); err != nil {
			t.Fatal(err)
		}
	}
	entries := func(dir string) int {
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	run()
	files, threads := entries("/proc/self/fd"), entries("/proc/self/task")
	for range 20 {
		run()
	}
	if now := entries("/proc/self/fd"); now > files+1 {
		t.Errorf("%d descriptors became %d", files, now)
	}
	if now := entries("/proc/self/task"); now > threads+10 { // Go starts some of its own
		t.Errorf("%d threads became %d", threads, now)
	}
}

// fakeCard is what a driver does to the streams of a mover: it calls with a period each 20 ms.
type fakeCard struct {
	m       *mover
	overrun atomic.Uint64
	played  []int16
	spoken  int16
}

func newFakeCard(speaker audio.Source, mic audio.Sink) *fakeCard {
	c := &fakeCard{m: &mover{captured: newRing(ringSamples), toPlay: newRing(ringSamples), speaker: speaker, mic: mic}}
	c.m.streams = []*stream{
		{kind: malgo.Capture, name: "in", captured: c.m.captured, xruns: &c.overrun},
		{kind: malgo.Playback, name: "out", toPlay: c.m.toPlay, xruns: &c.overrun},
	}
	return c
}

// period is one callback of each side. What is captured counts samples.
func (c *fakeCard) period() {
	in, out := make([]int16, audio.FrameSamples), make([]int16, audio.FrameSamples)
	for i := range in {
		in[i] = c.spoken
		c.spoken++
	}
	c.m.streams[0].data(nil, bytesOf(in), audio.FrameSamples)
	c.m.streams[1].data(bytesOf(out), nil, audio.FrameSamples)
	c.played = append(c.played, out...)
}

func bytesOf(pcm []int16) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(pcm))), 2*len(pcm))
}

// TestSoundPassesThrough looks at each sample on its way to and from a card's callbacks.
func TestSoundPassesThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second+time.Millisecond)
		defer cancel()
		var r room
		c := newFakeCard(&r, &r)
		c.m.fill(ahead)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ctx.Err() == nil {
				time.Sleep(audio.FrameDuration)
				c.period()
			}
		}()
		if err := c.m.run(ctx); err != nil {
			t.Fatal(err)
		}
		<-done
		if len(r.heard) < 98 || c.overrun.Load() != 0 {
			t.Errorf("2 s had %d frames captured, %d xruns", len(r.heard), c.overrun.Load())
		}
		n := int16(0)
		for _, f := range r.heard {
			for i, v := range f {
				if v != n {
					t.Fatalf("captured sample %d is %d, want %d", i, v, n)
				}
				n++
			}
		}
		for i, v := range c.played {
			if want := int16(i/audio.FrameSamples + 1); v != want {
				t.Fatalf("played sample %d is %d, want %d", i, v, want)
			}
		}
		if late := int(r.pulled) - len(c.played)/audio.FrameSamples; late > 2 {
			t.Errorf("playback is kept %d frames ahead", late)
		}
	})
}

// TestStallIsSeen has a card that stops calling, or never begins.
func TestStallIsSeen(t *testing.T) {
	for _, c := range []struct {
		periods int
		after   time.Duration // since its last word
		want    string
	}{
		{0, startTime, "sound device stalled: in: no callback for 1s"},
		{30, stallTime, "sound device stalled: in: no callback for 200ms"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var k counter
			card := newFakeCard(&k, &k)
			last := time.Now()
			go func() {
				for range c.periods {
					time.Sleep(audio.FrameDuration + time.Millisecond)
					card.period()
					last = time.Now()
				}
			}()
			err := card.m.run(t.Context())
			if !errors.Is(err, ErrStalled) || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
			synctest.Wait()
			if d := time.Since(last); d < c.after || d > c.after+2*pollInterval {
				t.Errorf("seen after %v, want %v", d, c.after)
			}
		})
	}
}

// slow is a far end for which the machine is too slow: while it takes a frame, the next one is captured.
type slow struct {
	counter
	card *fakeCard
}

func (s *slow) PushFrame(f *audio.Frame) bool {
	time.Sleep(audio.FrameDuration)
	s.card.m.captured.write(f[:])
	return true
}

// TestStallIsSeenOnASlowMachine has a card that stops playing while there is always more to take of what was captured.
func TestStallIsSeenOnASlowMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s slow
		s.card = newFakeCard(&s, &s)
		s.card.m.captured.write(make([]int16, audio.FrameSamples))
		if err := s.card.m.run(t.Context()); !errors.Is(err, ErrStalled) {
			t.Errorf("got %v, want %v", err, ErrStalled)
		}
	})
}

// TestHeldUpProcess does not blame the card for time in which the process did not run.
func TestHeldUpProcess(t *testing.T) {
	s := stream{name: "in"}
	s.callbacks.Add(1)
	for range 5 {
		if err := s.check(); err != nil { // however much time there is between checks
			t.Fatal(err)
		}
	}
	s.stopped.Store(true)
	if err := s.check(); !errors.Is(err, ErrStopped) {
		t.Errorf("got %v", err)
	}
}

// TestCallback counts what does not fit, plays silence where nothing is, and allocates nothing.
func TestCallback(t *testing.T) {
	var over, under atomic.Uint64
	in := stream{captured: newRing(64), xruns: &over}
	out := stream{toPlay: newRing(64), xruns: &under}
	block := make([]byte, 2*48)
	out.toPlay.write(make([]int16, 50))
	for range 2 {
		in.data(nil, block, 48)
		out.data(block, nil, 48)
	}
	if over.Load() != 1 || under.Load() != 1 {
		t.Errorf("%d overruns, %d underruns", over.Load(), under.Load())
	}
	if allocs := testing.AllocsPerRun(100, func() { in.data(nil, block, 48); out.data(block, nil, 48) }); allocs != 0 {
		t.Errorf("the callback allocates %v times", allocs)
	}
}

// BenchmarkCard is the work of one 20 ms period, both callbacks and the goroutine's.
func BenchmarkCard(b *testing.B) {
	var k counter
	c := newFakeCard(&k, &k)
	in, out := make([]byte, frameBytes), make([]byte, frameBytes)
	b.ReportAllocs()
	for b.Loop() {
		c.m.streams[0].data(nil, in, audio.FrameSamples)
		c.m.streams[1].data(out, nil, audio.FrameSamples)
		c.m.drain()
		c.m.fill(ahead)
	}
}

func TestMissingCard(t *testing.T) {
	withCards(t, headphones+usb, headphonesPCM+usbPCM)
	dev, err := Open("card:NoSuchCard", "card:NoSuchCard")
	if err != nil {
		t.Fatal(err)
	}
	var k counter
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err = dev.Run(ctx, &k, &k)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "plughw:CARD=NoSuchCard,DEV=0 does not open") ||
		!strings.Contains(err.Error(), "(this machine has Device, Headphones)") {
		t.Errorf("got %v", err)
	}
}

// TestConfigurationInMemory opens a card by our own alsa.conf in a process that has no other. ALSA must understand it
// as far as asking the kernel for the card, which is not there.
func TestConfigurationInMemory(t *testing.T) {
	for _, name := range []string{"plughw:CARD=NoSuchCard,DEV=0", "hw:NoSuchCard,1"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestHelperOpens$", "-test.v")
		cmd.Env = append(os.Environ(), "SIDETONE_TEST_CARD="+name)
		b, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		out := string(b)
		if !strings.Contains(out, "alsa.conf is ours") || !strings.Contains(out, "does not open") {
			t.Errorf("%s: not what was to be tried:\n%s", name, out)
		}
		if !strings.Contains(out, "card index for NoSuchCard") {
			t.Errorf("%s: ALSA does not understand our configuration:\n%s", name, out)
		}
	}
}

// TestHelperOpens is the process of TestConfigurationInMemory, and nothing in a run of its own.
func TestHelperOpens(t *testing.T) {
	name := os.Getenv("SIDETONE_TEST_CARD")
	if name == "" {
		return
	}
	if err := configureALSAFromMemory(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(os.Getenv("ALSA_CONFIG_PATH")); err == nil && string(b) == alsaConf {
		t.Log("alsa.conf is ours")
	}
	var k counter
	t.Log((&Card{Capture: name, Playback: name}).Run(t.Context(), &k, &k))
}

// withCards puts lists of sound cards in place of the kernel's.
func withCards(t *testing.T, cards, pcm string) {
	t.Helper()
	old := asound
	t.Cleanup(func() { asound = old })
	files := fstest.MapFS{}
	if cards != "" {
		files["cards"] = &fstest.MapFile{Data: []byte(cards)}
		files["pcm"] = &fstest.MapFile{Data: []byte(pcm)}
	}
	asound = files
}

const (
	headphones = " 0 [Headphones     ]: bcm2835_headpho - bcm2835 Headphones\n                      bcm2835 Headphones\n"
	usb        = " 1 [Device         ]: USB-Audio - USB Audio Device\n                      C-Media USB Audio Device at usb-1\n"
	microphone = " 2 [Mic            ]: USB-Audio - Microphone\n                      A Microphone\n"

	headphonesPCM = "00-00: bcm2835 Headphones : bcm2835 Headphones : playback 8\n"
	usbPCM        = "01-00: USB Audio : USB Audio : playback 1 : capture 1\n"
	microphonePCM = "02-01: USB Audio : USB Audio : capture 1\n"
)

func TestAutoPicksACard(t *testing.T) {
	for name, c := range map[string]struct{ cards, pcm, capture, playback, err string }{
		"no sound in the kernel": {err: "has no sound card"},
		"no cards":               {cards: "--- no soundcards ---\n", err: "has no sound card"},
		"playback only":          {cards: headphones, pcm: headphonesPCM, err: "microphone"},
		"capture only":           {cards: microphone, pcm: microphonePCM, err: "loudspeaker"},
		"both in one":            {cards: headphones + usb, pcm: headphonesPCM + usbPCM, capture: "plughw:CARD=Device,DEV=0", playback: "plughw:CARD=Device,DEV=0"},
		"one for each":           {cards: headphones + microphone, pcm: headphonesPCM + microphonePCM, capture: "plughw:CARD=Mic,DEV=1", playback: "plughw:CARD=Headphones,DEV=0"},
		"nonsense":               {cards: headphones + "what\n", pcm: "so: be it\nxx-yy: z : capture 1\n07-00: gone : capture 1\n", err: "has no sound card"},
	} {
		t.Run(name, func(t *testing.T) {
			withCards(t, c.cards, c.pcm)
			cards, err := SoundCards()
			if err != nil {
				t.Fatal(err)
			}
			card, err := autoCard(cards)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %q in it", err, c.err)
				}
			} else if err != nil || card.Capture != c.capture || card.Playback != c.playback {
				t.Errorf("got %+v, %v", card, err)
			}
			if HasCard() != (c.err == "") {
				t.Errorf("HasCard is %v", HasCard())
			}
		})
	}
}

func TestOpen(t *testing.T) {
	withCards(t, "", "")
	for _, c := range []struct{ capture, playback, err string }{
		{"auto", "auto", ""},
		{"null", "auto", ""},
		{"auto", "wav:/tmp/x.wav", ""},
		{"card:Device", "card:hw:Other,1", ""},
		{"card:Device", "null", "do not go together"},
		{"auto", "card:Device", "do not go together"},
		{"", "null", "capture: no sound device"},
		{"null", "wav:", "playback: no sound device"},
		{"card:", "card:", "no sound device"},
	} {
		_, err := Open(c.capture, c.playback)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("Open(%q, %q): %v, want %q", c.capture, c.playback, err, c.err)
		}
	}
	dev, err := Open("card:Device", "card:hw:Other,1")
	if card, ok := dev.(*Card); err != nil || !ok || card.Capture != "plughw:CARD=Device,DEV=0" || card.Playback != "hw:Other,1" {
		t.Errorf("got %#v, %v", dev, err)
	}
	if dev, err := Open("card:Device,1", "card:Device"); err != nil || dev.(*Card).Capture != "plughw:CARD=Device,DEV=1" {
		t.Errorf("got %#v, %v", dev, err)
	}
	withCards(t, usb, usbPCM)
	if dev, err := Open("auto", "card:Other"); err != nil || dev.(*Card).Capture != "plughw:CARD=Device,DEV=0" || dev.(*Card).Playback != "plughw:CARD=Other,DEV=0" {
		t.Errorf("got %#v, %v", dev, err)
	}
	if _, err := fs.Stat(asound, "cards"); errors.Is(err, fs.ErrNotExist) {
		t.Error("the list of cards is not used")
	}
}

func TestIsCard(t *testing.T) {
	for _, c := range []struct {
		capture, playback string
		without, with     bool // a card in the machine
	}{
		{"auto", "auto", false, true},
		{"card:Device", "card:Device", true, true},
		{"auto", "card:Device", false, true},
		{"auto", "null", false, false}, // "auto" goes by the other side
		{"wav:/x.wav", "auto", false, false},
		{"card:Device", "null", false, false},
		{"gramophone", "auto", false, false},
	} {
		withCards(t, "", "")
		if got := IsCard(c.capture, c.playback); got != c.without {
			t.Errorf("IsCard(%q, %q) is %v without a card", c.capture, c.playback, got)
		}
		withCards(t, usb, usbPCM)
		if got := IsCard(c.capture, c.playback); got != c.with {
			t.Errorf("IsCard(%q, %q) is %v with a card", c.capture, c.playback, got)
		}
		if dev, err := Open(c.capture, "null"); c.capture == "auto" && (err != nil || dev != audio.Duplex(Null{})) {
			t.Errorf("auto and null are %#v, %v", dev, err)
		}
	}
}

// TestNullBackendNumber notices when the binding's own constant is put right.
func TestNullBackendNumber(t *testing.T) {
	if malgo.BackendNull+1 != backendNull {
		t.Errorf("malgo.BackendNull is %d now", malgo.BackendNull)
	}
}
