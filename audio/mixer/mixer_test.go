package mixer

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fake is a card's control device.
type fake struct {
	elements []*element
	writes   int
}

// element is a control of it.
type element struct {
	name        string
	index       uint32
	kind        int32
	access      uint32
	least, most int
	items       []string
	tlv         []uint32
	values      []int
}

func (f *fake) Close() error { return nil }

func (f *fake) Ioctl(request uintptr, arg unsafe.Pointer) error {
	at := func(id *elemID) *element {
		if id.numID == 0 || int(id.numID) > len(f.elements) {
			return nil
		}
		return f.elements[id.numID-1]
	}
	switch request {
	case requestList:
		l := (*elemList)(arg)
		l.count, l.used = uint32(len(f.elements)), min(l.space, uint32(len(f.elements)))
		for i := range l.used {
			id := &unsafe.Slice(l.ids, l.space)[i]
			id.numID, id.iface, id.index = i+1, 2, f.elements[i].index
			copy(id.name[:], f.elements[i].name)
		}
	case requestInfo:
		i := (*elemInfo)(arg)
		e := at(&i.id)
		if e == nil {
			return unix.ENOENT
		}
		item := *i.item()
		i.kind, i.access, i.count = e.kind, e.access, uint32(len(e.values))
		if e.kind == kindEnum {
			*i.items() = uint32(len(e.items))
			if int(item) < len(e.items) {
				copy(i.value[8:], e.items[item]+"\x00")
			}
		} else {
			*(*[2]int)(unsafe.Pointer(&i.value)) = [2]int{e.least, e.most}
		}
	case requestRead, requestWrite:
		v := (*elemValue)(arg)
		e := at(&v.id)
		if e == nil {
			return unix.ENOENT
		}
		for n := range e.values {
			switch place := &v.value[n]; {
			case request == requestRead && e.kind == kindEnum:
				*v.choice(n) = uint32(e.values[n])
			case request == requestRead:
				*place = e.values[n]
			case e.kind == kindEnum:
				e.values[n] = int(*v.choice(n))
			default:
				e.values[n] = *place
			}
		}
		if request == requestWrite {
			f.writes++
		}
	case requestTLV:
		t := (*elemTLV)(arg)
		if t.numID == 0 || int(t.numID) > len(f.elements) {
			return unix.ENOENT
		}
		copy(t.words[:t.length/4], f.elements[t.numID-1].tlv)
	default:
		return unix.ENOTTY
	}
	return nil
}

func signed(n int32) uint32 { return uint32(n) }

// wm8960 has some of the codec's controls, with the driver's own numbers.
func wm8960() *fake {
	return &fake{elements: []*element{
		{name: "Speaker Playback Volume", kind: kindInteger, access: 3 | accessTLVRead, most: 127, tlv: []uint32{tlvScale, 8, signed(-12100), 100 | scaleMute}, values: []int{0, 0}},
		{name: "Capture Volume", kind: kindInteger, access: 3 | accessTLVRead, most: 63, tlv: []uint32{tlvScale, 8, signed(-1725), 75}, values: []int{23, 23}},
		{name: "Capture Switch", kind: kindSwitch, access: 3, most: 1, values: []int{0, 0}},
		{name: "DAC Mono Mix", kind: kindEnum, access: 3, items: []string{"Stereo", "Mono"}, values: []int{0}},
		{name: "Speaker DC Volume", kind: kindInteger, access: 3, most: 5, values: []int{0}},
		{name: "Speaker DC Volume", index: 1, kind: kindInteger, access: 3, most: 5, values: []int{0}},
		{name: "Headphone Jack", kind: kindSwitch, access: 1, most: 1, values: []int{0}},
		{name: "Noise", kind: 4, access: 3, values: []int{0}},
	}}
}

func TestApply(t *testing.T) {
	card := wm8960()
	settings := []Setting{
		{"Speaker Playback Volume", "-6dB"}, {"Capture Volume", "6.1 dB"}, {"Capture Switch", "on"}, {"DAC Mono Mix", "Mono"},
		{"Speaker DC Volume", "4"}, {"Speaker DC Volume,1", "60%"},
	}
	if err := Apply(card, settings); err != nil {
		t.Fatal(err)
	}
	want := [][]int{{115, 115}, {31, 31}, {1, 1}, {1}, {4}, {3}}
	for i, w := range want {
		if got := card.elements[i].values; !slices.Equal(got, w) {
			t.Errorf("%s is %v, want %v", card.elements[i].name, got, w)
		}
	}
	before := card.writes
	if err := Apply(card, settings); err != nil || card.writes != before {
		t.Errorf("%d controls were written again, %v", card.writes-before, err)
	}
}

// TestApplyRefuses holds that each thing wrong is told, with what to do, and that the rest is done.
func TestApplyRefuses(t *testing.T) {
	for _, c := range []struct{ control, value, want string }{
		{"Speaker Playback Volum", "-6dB", "the nearest are Speaker Playback Volume, "},
		{"Speaker Playback Volume", "loud", "it can be a number from 0 to 127, a percentage, or a level from -InfdB to 6.00dB"},
		{"Speaker Playback Volume", "128", "it can be"},
		{"Speaker Playback Volume", "101%", "it can be"},
		{"Speaker DC Volume", "3dB", "a number from 0 to 5, a percentage"},
		{"Capture Switch", "1", "it can be on or off"},
		{"DAC Mono Mix", "mono", "it can be Stereo or Mono"},
		{"Headphone Jack", "on", "does not let it be set"},
		{"Noise", "1", "type 4 cannot be set"},
	} {
		card := wm8960()
		err := Apply(card, []Setting{{c.control, c.value}, {"Capture Switch", "on"}})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", c.control)) {
			t.Errorf("%s = %s: %v, want %q in it", c.control, c.value, err, c.want)
		}
		if card.elements[2].values[1] != 1 || card.writes != 1 {
			t.Errorf("%s = %s: the rest was not done, or more", c.control, c.value)
		}
	}
	if err := Apply(&fake{}, []Setting{{"Master", "on"}}); err == nil || !strings.Contains(err.Error(), "none at all") {
		t.Error(err)
	}
}

func TestList(t *testing.T) {
	all, err := List(wm8960())
	if err != nil || len(all) != 8 {
		t.Fatal(all, err)
	}
	if c := all[1]; c.Values != "23 (0.00dB)" || !strings.Contains(c.Range, "-17.25dB to 30.00dB") {
		t.Errorf("%+v", c)
	}
	if c := all[5]; c.Name != "Speaker DC Volume,1" {
		t.Errorf("%+v", c)
	}
}

func TestDecibels(t *testing.T) {
	ranges := []uint32{tlvRange, 48,
		0, 3, tlvScale, 8, signed(-5000), 1000,
		4, 10, tlvMinMax, 8, signed(-2000), 400}
	for _, c := range []struct {
		tlv                 []uint32
		least, most, number int
		want                float64
		unknown             bool
	}{
		{tlv: []uint32{tlvScale, 8, signed(-6000), 50}, most: 120, number: 120},
		{tlv: []uint32{tlvScale, 8, signed(-6000), 50 | scaleMute}, most: 120, want: math.Inf(-1)},
		{tlv: []uint32{tlvMinMax, 8, signed(-2837), signed(-100)}, most: 37, number: 37, want: -1},
		{tlv: []uint32{tlvMinMaxMute, 8, signed(-2837), 0}, least: -10, most: 27, number: -10, want: math.Inf(-1)},
		{tlv: []uint32{tlvLinear, 8, signed(gainMute), 0}, most: 100, number: 50, want: -6.0206},
		{tlv: ranges, most: 10, number: 3, want: -20},
		{tlv: ranges, most: 10, number: 10, want: 4},
		{tlv: append([]uint32{tlvContainer, uint32(4 * len(ranges))}, ranges...), most: 10, number: 4, want: -20},
		{tlv: ranges, most: 10, number: 11, unknown: true},
		{tlv: ranges[:9], most: 10, number: 3, unknown: true},
		{tlv: []uint32{tlvScale, 4, 1}, most: 1, unknown: true},
		{tlv: []uint32{99, 8, 1, 1}, most: 1, unknown: true},
		{most: 1, unknown: true},
	} {
		got, ok := decibels(c.tlv, c.least, c.most, c.number)
		if ok == c.unknown || ok && got != c.want && math.Abs(got-c.want) > 1e-3 {
			t.Errorf("%v at %d: %v, %v; want %v", c.tlv, c.number, got, ok, c.want)
		}
	}
}

// FuzzDecibels holds that no description that a driver gives makes it fall over.
func FuzzDecibels(f *testing.F) {
	f.Add([]byte{3, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0}, 0, 10)
	f.Fuzz(func(t *testing.T, b []byte, least, most int) {
		words := make([]uint32, len(b)/4)
		for i := range words {
			words[i] = uint32(b[4*i]) | uint32(b[4*i+1])<<8 | uint32(b[4*i+2])<<16 | uint32(b[4*i+3])<<24
		}
		least, most = least%1000, most%1000
		if n, ok := nearest(words, least, most, -6); ok && (n < least || n > most) {
			t.Errorf("%d is not from %d to %d", n, least, most)
		}
	})
}

// compilers make C for the processors that we build for.
var compilers = map[string]string{"amd64": "x86_64-linux-gnu-gcc", "arm64": "aarch64-linux-gnu-gcc", "arm": "arm-linux-gnueabihf-gcc"}

// TestABI holds sizes, places and requests against the kernel's own header.
func TestABI(t *testing.T) {
	cc := compilers[runtime.GOARCH]
	if _, err := exec.LookPath(cc); err != nil {
		t.Skipf("no C compiler for %s (%s)", runtime.GOARCH, cc)
	}
	var info elemInfo
	var value elemValue
	var l elemList
	var b strings.Builder
	b.WriteString("#include <stddef.h>\n#include <time.h>\n#include <sys/ioctl.h>\n#include <sound/asound.h>\n")
	for what, is := range map[string]uintptr{
		"sizeof(struct snd_ctl_elem_id)":                            unsafe.Sizeof(elemID{}),
		"offsetof(struct snd_ctl_elem_id, name)":                    unsafe.Offsetof(info.id.name),
		"offsetof(struct snd_ctl_elem_id, index)":                   unsafe.Offsetof(info.id.index),
		"offsetof(struct snd_ctl_elem_list, pids)":                  unsafe.Offsetof(l.ids),
		"offsetof(struct snd_ctl_elem_info, count)":                 unsafe.Offsetof(info.count),
		"offsetof(struct snd_ctl_elem_info, value)":                 unsafe.Offsetof(info.value),
		"offsetof(struct snd_ctl_elem_info, value.enumerated.name)": unsafe.Offsetof(info.value) + 8,
		"offsetof(struct snd_ctl_elem_value, value)":                unsafe.Offsetof(value.value),
		"SNDRV_CTL_IOCTL_ELEM_LIST":                                 requestList,
		"SNDRV_CTL_IOCTL_ELEM_INFO":                                 requestInfo,
		"SNDRV_CTL_IOCTL_ELEM_READ":                                 requestRead,
		"SNDRV_CTL_IOCTL_ELEM_WRITE":                                requestWrite,
		"SNDRV_CTL_IOCTL_TLV_READ":                                  requestTLV,
		"SNDRV_CTL_ELEM_TYPE_ENUMERATED":                            kindEnum,
		"SNDRV_CTL_ELEM_ACCESS_WRITE":                               accessWrite,
		"SNDRV_CTL_ELEM_ACCESS_TLV_READ":                            accessTLVRead,
		"SNDRV_CTL_ELEM_ACCESS_INACTIVE":                            accessInactive,
	} {
		fmt.Fprintf(&b, "_Static_assert((unsigned)(%s) == %du, %q);\n", what, is, what)
	}
	file := filepath.Join(t.TempDir(), "abi.c")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(cc, "-fsyntax-only", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
