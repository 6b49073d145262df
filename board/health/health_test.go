package health

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func codes(all []Active) (c []Code) {
	for _, a := range all {
		c = append(c, a.Code)
	}
	return c
}

func TestConditionShowsAfterAWhileAndGoesAfterOne(t *testing.T) {
	var s State
	var all []Active
	begin := time.Unix(1e9, 0)
	for _, c := range []struct {
		at   time.Duration
		bad  bool
		want bool
	}{
		{0, false, false},
		{10 * time.Second, true, false},
		{60 * time.Second, true, false},
		{65 * time.Second, false, false}, // it was hot for less than a minute
		{70 * time.Second, true, false},
		{130 * time.Second, true, true},
		{140 * time.Second, false, true},
		{150 * time.Second, true, true},
		{160 * time.Second, false, true},
		{459 * time.Second, false, true},
		{460 * time.Second, false, false},
	} {
		s, all = s.Step(begin.Add(c.at), Readings{Hot: {c.bad, "82 °C"}})
		if got := len(all) == 1; got != c.want || len(all) > 1 {
			t.Errorf("after %s: %+v", c.at, all)
		}
		if len(all) == 1 && (all[0].Code != Hot || all[0].Detail != "82 °C" || !all[0].Since.Equal(begin.Add(70*time.Second))) {
			t.Errorf("after %s: %+v", c.at, all)
		}
	}
}

func TestWhatFollowsIsNotTold(t *testing.T) {
	var s State
	now := time.Unix(1e9, 0)
	step := func(d time.Duration, r Readings) []Code {
		now = now.Add(d)
		var all []Active
		s, all = s.Step(now, r)
		return codes(all)
	}
	step(0, Readings{NotRegistered: {Bad: true}, BrokerAway: {Bad: true}})
	if got := step(time.Hour, nil); !slices.Equal(got, []Code{NotRegistered, BrokerAway}) {
		t.Error(got)
	}
	// At once, and before the cause itself is told.
	if got := step(time.Second, Readings{NoNetwork: {Bad: true}}); len(got) != 0 {
		t.Error(got)
	}
	if got := step(time.Minute, nil); !slices.Equal(got, []Code{NoNetwork}) {
		t.Error(got)
	}
	if got := step(time.Second, Readings{NoNetwork: {}}); !slices.Equal(got, []Code{NotRegistered, BrokerAway}) {
		t.Error(got)
	}
}

func TestConditionsAreWhole(t *testing.T) {
	seen := map[Code]bool{}
	for _, c := range Conditions {
		if seen[c.Code] || c.Message == "" || c.Action == "" || c.Severity != Warning && c.Severity != Error {
			t.Errorf("%+v", c)
		}
		seen[c.Code] = true
	}
	for _, c := range Conditions {
		for _, n := range c.Needs {
			if !seen[n] || n == c.Code {
				t.Errorf("%s needs %s", c.Code, n)
			}
		}
		if got := Now(time.Now(), Readings{c.Code: {Bad: true}}); !slices.Equal(codes(got), []Code{c.Code}) {
			t.Errorf("%s is wrong, and told is %v", c.Code, got)
		}
	}
}

const (
	wireless = `Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE
 face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22
 wlan0: 0000   %s.  %s.  -256        0      0      0      0      0        0
`
	meminfo = "MemTotal:         443080 kB\nMemFree:           20000 kB\nMemAvailable:     %s kB\nBuffers:           12000 kB\n"
	mounts  = "/dev/root / ext4 ro,noatime 0 0\nproc /proc proc rw 0 0\n/dev/mmcblk0p5 /var ext4 %s,noatime 0 0\n"
	cards   = " 0 [vc4hdmi        ]: vc4-hdmi - vc4-hdmi\n                      vc4-hdmi\n"
	none    = "--- no soundcards ---\n"
)

func TestFiles(t *testing.T) {
	const (
		temp   = "sys/class/thermal/thermal_zone0/temp"
		power  = "sys/devices/platform/soc/soc:firmware/get_throttled"
		life   = "sys/block/mmcblk1/device/life_time"
		mem    = "proc/meminfo"
		mount  = "proc/self/mounts"
		wifi   = "proc/net/wireless"
		sounds = "proc/asound/cards"
	)
	for _, c := range []struct {
		file, text string
		want       []Code
	}{
		{temp, "48312\n", nil}, {temp, "79999\n", nil}, {temp, "80000\n", []Code{Hot}}, {temp, "\n", nil},
		{power, "0\n", nil}, {power, "0x0\n", nil}, {power, "50005\n", []Code{UnderVoltage}}, {power, "10000\n", []Code{UnderVoltage}},
		{power, "4\n", []Code{Throttled}}, {power, "e0008\n", []Code{Throttled}}, {power, "40000\n", nil},
		{life, "0x01 0x02\n", nil}, {life, "0x02 0x09\n", []Code{DiskWorn}}, {life, "0x0b 0x00\n", []Code{DiskWorn}},
		{mem, fmt.Sprintf(meminfo, "300000"), nil}, {mem, fmt.Sprintf(meminfo, "20000"), []Code{LowMemory}},
		{mount, fmt.Sprintf(mounts, "rw"), nil}, {mount, fmt.Sprintf(mounts, "ro"), []Code{ReadOnly}}, {mount, "rootfs / rootfs rw 0 0\n", nil},
		{wifi, fmt.Sprintf(wireless, "54", "-56"), nil}, {wifi, fmt.Sprintf(wireless, "20", "-82"), []Code{WeakWiFi}},
		{sounds, cards, nil}, {sounds, none, []Code{NoCard}},
	} {
		root := fstest.MapFS{sounds: {Data: []byte(cards)}}
		root[c.file] = &fstest.MapFile{Data: []byte(c.text)}
		r := Files(root, "/var/lib/sidetone", true)
		if got := codes(Now(time.Now(), r)); !slices.Equal(got, c.want) {
			t.Errorf("%s is %q: %v, want %v", c.file, c.text, got, c.want)
		}
	}
	// Where nothing is there, nothing is read; but a card that nobody wants any more is not missing either.
	if got := Files(fstest.MapFS{}, "/var/lib/sidetone", false); !maps.Equal(got, Readings{NoCard: {}}) {
		t.Errorf("nothing is there, and read is %v", got)
	}
}

func TestKernelIsRead(t *testing.T) {
	r := Kernel(t.TempDir(), false)
	for _, c := range []Code{LowMemory, DiskFull, ReadOnly} {
		if _, ok := r[c]; !ok {
			t.Errorf("nothing is known of %s", c)
		}
	}
}

// TestDocs holds the table of docs/health.md to the conditions.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/health.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	fmt.Fprint(&table, "| code | severity | what | what to do | told after | over after | not told with |\n|---|---|---|---|---|---|---|\n")
	for _, c := range Conditions {
		var needs []string
		for _, n := range c.Needs {
			needs = append(needs, "`"+string(n)+"`")
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s | %s | %s | %s |\n", c.Code, c.Severity, c.Message, c.Action, c.After, c.Over, strings.Join(needs, ", "))
	}
	if !strings.Contains(string(b), table.String()) {
		t.Errorf("docs/health.md must have\n%s", &table)
	}
}
