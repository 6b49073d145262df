package device

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// withMachine puts the /proc/asound of a machine in testdata in place of the kernel's.
func withMachine(t *testing.T, name string) []SoundCard {
	t.Helper()
	old := asound
	t.Cleanup(func() { asound = old })
	asound = os.DirFS(filepath.Join("testdata", "asound", name))
	cards, err := SoundCards()
	if err != nil {
		t.Fatal(err)
	}
	return cards
}

// TestSoundCards reads machines whole.
func TestSoundCards(t *testing.T) {
	for name, want := range map[string]string{
		"rpi4-usb": "0 Headphones bcm2835_headpho [bcm2835 Headphones] usb=; 0 -p|" +
			"1 vc4hdmi0 vc4-hdmi [vc4-hdmi-0] usb=; 0 -p|" +
			"2 vc4hdmi1 vc4-hdmi [vc4-hdmi-1] usb=; 0 -p|" +
			"3 Device USB-Audio [USB PnP Sound Device] usb=0d8c:0014; 0 cp",
		"rpi3-wm8960": "0 Headphones bcm2835_headpho [bcm2835 Headphones] usb=; 0 -p|" +
			"1 seeed2micvoicec seeed-2mic-voic [seeed-2mic-voicecard] usb=; 0 cp",
		"rpi-zero-i2s": "0 sndrpigooglevoi RPi-simple [snd_rpi_googlevoicehat_soundcar] usb=; 0 cp",
		"laptop": "0 PCH HDA-Intel [HDA Intel PCH] usb=; 0 cp 2 c- 3 -p 7 -p|" +
			"2 Loopback Loopback [Loopback] usb=; 0 cp 1 cp",
		"none": "",
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, c := range withMachine(t, name) {
				got = append(got, describeCard(c))
			}
			if all := strings.Join(got, "|"); all != want {
				t.Errorf("got  %s\nwant %s", all, want)
			}
		})
	}
	if c := withMachine(t, "rpi4-usb"); c[3].LongName != "C-Media Electronics Inc. USB PnP Sound Device at usb-0000:01:00.0-1.3, full spe" {
		t.Errorf("long name %q", c[3].LongName)
	}
}

func describeCard(c SoundCard) string {
	var b strings.Builder
	b.WriteString(strings.Join([]string{string(rune('0' + c.Number)), c.ID, c.Driver, "[" + c.Name + "]", "usb=" + c.USB + ";"}, " "))
	for _, p := range c.PCMs {
		b.WriteString(" " + string(rune('0'+p.Device)) + " ")
		for _, s := range []struct {
			is   bool
			sign string
		}{{p.Capture, "c"}, {p.Playback, "p"}} {
			if s.is {
				b.WriteString(s.sign)
			} else {
				b.WriteString("-")
			}
		}
	}
	return b.String()
}

// TestNamedPCM finds cards by what people may know of them.
func TestNamedPCM(t *testing.T) {
	again := parseCards(" 4 [Device_1       ]: USB-Audio - USB PnP Sound Device\n                      C-Media\n", "04-00: USB Audio : USB Audio : playback 1 : capture 1\n")
	for _, c := range []struct {
		machine, name string
		has           side
		want          string
	}{
		{"rpi4-usb", "Device", playing, "plughw:CARD=Device,DEV=0"},
		{"rpi4-usb", "usb pnp sound device", playing, "plughw:CARD=Device,DEV=0"},
		{"rpi4-usb", "usb:0D8C:0014", capturing, "plughw:CARD=Device,DEV=0"},
		{"rpi4-usb", "usb:0d8c:ffff", capturing, "plughw:CARD=usb:0d8c:ffff,DEV=0"},
		{"rpi4-usb", "usb", capturing, "plughw:CARD=Device,DEV=0"},
		{"rpi3-wm8960", "usb", capturing, "plughw:CARD=usb,DEV=0"},
		{"rpi4-usb", "hw:0,0", playing, "hw:0,0"},
		{"laptop", "default", playing, "default"},
		{"laptop", "PCH", playing, "plughw:CARD=PCH,DEV=0"},
		{"laptop", "PCH,3", playing, "plughw:CARD=PCH,DEV=3"},
		{"laptop", "Loopback,1", capturing, "plughw:CARD=Loopback,DEV=1"},
		{"laptop", "Absent", capturing, "plughw:CARD=Absent,DEV=0"},
		{"", "Device", capturing, "plughw:CARD=Device_1,DEV=0"},
		{"", "Dev", capturing, "plughw:CARD=Dev,DEV=0"},
	} {
		cards := again
		if c.machine != "" {
			cards = withMachine(t, c.machine)
		}
		if got := namedPCM(cards, c.name, c.has); got != c.want {
			t.Errorf("%s on %s is %s, want %s", c.name, c.machine, got, c.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	withMachine(t, "rpi4-usb")
	for _, c := range []*struct {
		card Card
		want []int
	}{
		{Card{Capture: "plughw:CARD=Device,DEV=0", Playback: "plughw:CARD=Device,DEV=0"}, []int{3}},
		{Card{Capture: "plughw:CARD=Device,DEV=0", Playback: "hw:Headphones"}, []int{3, 0}},
		{Card{Capture: "hw:3,0", Playback: "hw:Gone"}, []int{3}},
		{Card{Capture: "default", Playback: "default"}, nil},
	} {
		if got := c.card.Numbers(); !slices.Equal(got, c.want) {
			t.Errorf("%s and %s are %v, want %v", c.card.Capture, c.card.Playback, got, c.want)
		}
	}
}

// FuzzParseCards holds that whatever the kernel writes, a card has an id, and a number that it has alone or first.
func FuzzParseCards(f *testing.F) {
	machines, err := filepath.Glob("testdata/asound/*")
	if err != nil || len(machines) == 0 {
		f.Fatal("no machines in testdata", err)
	}
	for _, m := range machines {
		cards, _ := os.ReadFile(filepath.Join(m, "cards"))
		pcm, _ := os.ReadFile(filepath.Join(m, "pcm"))
		f.Add(string(cards), string(pcm))
	}
	f.Fuzz(func(t *testing.T, cards, pcm string) {
		for _, c := range parseCards(cards, pcm) {
			if c.ID == "" || c.Number < 0 || strings.ContainsAny(c.ID+c.Name+c.LongName, "\n") {
				t.Errorf("%+v", c)
			}
			for _, p := range c.PCMs {
				if p.Device < 0 {
					t.Errorf("%+v", c)
				}
			}
		}
	})
}
