package health

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Limits of what is well.
const (
	hotMilli  = 80_000  // of a degree Celsius: a Raspberry Pi slows down from there on
	weakDBm   = -75     // a call has gaps from there on
	lowKB     = 24_000  // of memory: as much as a call takes
	fullBytes = 8 << 20 // reports of some calls
	wornTenth = 9       // 80 to 90 % of the life that the maker gives (JEDEC eMMC 5.0, EXT_CSD 268 and 269)
)

// Files reads what the files of a root say: the processor's heat, power, wear, memory, mounts, Wi-Fi and cards. What is not there
// is not known. stateDir must be writable; card tells whether a sound card is wanted.
func Files(root fs.FS, stateDir string, card bool) Readings {
	r := Readings{}
	text := func(name string) (string, bool) {
		b, err := fs.ReadFile(root, name)
		return strings.TrimSpace(string(b)), err == nil
	}
	if s, ok := text("sys/class/thermal/thermal_zone0/temp"); ok {
		if t, err := strconv.Atoi(s); err == nil {
			r.Note(Hot, t >= hotMilli, fmt.Sprintf("%d °C", t/1000))
		}
	}
	if s, ok := text("sys/devices/platform/soc/soc:firmware/get_throttled"); ok {
		if v, err := strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 32); err == nil {
			r.Note(UnderVoltage, v&0x10001 != 0, map[bool]string{true: "now", false: "since the start"}[v&1 != 0])
			r.Note(Throttled, v&0xe != 0, "")
		}
	}
	if s, ok := text("proc/meminfo"); ok {
		for line := range strings.Lines(s) {
			if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemAvailable:" {
				if kb, err := strconv.ParseInt(f[1], 10, 64); err == nil {
					r.Note(LowMemory, kb < lowKB, fmt.Sprintf("%d MB are left", kb/1000))
				}
			}
		}
	}
	if s, ok := text("proc/self/mounts"); ok {
		r.Note(ReadOnly, readOnly(s, stateDir), stateDir)
	}
	cards, ok := text("proc/asound/cards")
	r.Note(NoCard, card && (!ok || cards == "" || strings.Contains(cards, "no soundcards")), "")
	wear(root, text, r)
	if s, ok := text("proc/net/wireless"); ok {
		signal(s, r)
	}
	return r
}

// wear reads what eMMCs say of their life: two estimates, each in tenths, 0 where the maker says nothing.
func wear(root fs.FS, text func(string) (string, bool), r Readings) {
	files, _ := fs.Glob(root, "sys/block/mmcblk*/device/life_time")
	for _, name := range files {
		s, _ := text(name)
		var most uint64
		for _, f := range strings.Fields(s) {
			if v, err := strconv.ParseUint(strings.TrimPrefix(f, "0x"), 16, 8); err == nil {
				most = max(most, v)
			}
		}
		disk := path.Base(path.Dir(path.Dir(name)))
		if bad := most >= wornTenth; bad || !r[DiskWorn].Bad {
			r.Note(DiskWorn, bad, fmt.Sprintf("%s: up to %d %% of its life are over", disk, most*10))
		}
	}
}

// signal reads /proc/net/wireless: two lines of headings, then "wlan0: 0000   54.  -56.  -256 …", the third being dBm.
func signal(s string, r Readings) {
	for line := range strings.Lines(s) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasSuffix(f[0], ":") {
			continue
		}
		if dBm, err := strconv.Atoi(strings.TrimSuffix(f[3], ".")); err == nil && dBm < 0 {
			r.Note(WeakWiFi, dBm < weakDBm, fmt.Sprintf("%s %d dBm", f[0], dBm))
		}
	}
}

// readOnly finds the mount that dir is on, the longest and of those the last, and tells whether it is read-only.
func readOnly(mounts, dir string) (ro bool) {
	dir = path.Clean(dir)
	longest := -1
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		at := strings.ReplaceAll(f[1], `\040`, " ")
		if (at == "/" || dir == at || strings.HasPrefix(dir, at+"/")) && len(at) >= longest {
			longest = len(at)
			ro = strings.HasPrefix(f[3]+",", "ro,")
		}
	}
	return ro
}
