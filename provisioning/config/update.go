package config

import (
	"net/url"
	"strings"
	"time"
)

// Kinds of boot control.
const (
	BootAuto    = "auto"
	BootTryboot = "tryboot" // the Raspberry Pi's own firmware
	BootUBoot   = "uboot"
	BootBinary  = "binary" // our program alone is swapped
	BootNone    = "none"
)

// Update says where new firmware comes from, and when it may come. An empty URL means that there are no updates.
type Update struct {
	URL      string `toml:"url"`                   // https://…, a repository that holds metadata/ and targets/
	CAFile   string `toml:"ca_file" path:"file"`   // PEM; trusted besides the system's roots
	RootFile string `toml:"root_file" path:"file"` // the first root of trust
	Board    string `toml:"board"`                 // whose releases; "": Board.Profile
	Boot     string `toml:"boot"`                  // BootAuto | BootTryboot | BootUBoot | BootBinary | BootNone
	BootDir  string `toml:"boot_dir" path:"file"`  // where the partition with autoboot.txt is mounted
	Disk     string `toml:"disk" path:"file"`      // that holds both systems; "": the one that we run from
	Window   string `toml:"window"`                // 15:04-15:04, by the device's local time; "": the whole day
	// Interval is the time between two checks, each of which comes up to Spread later by chance.
	Interval      Duration `toml:"interval"`
	Spread        Duration `toml:"spread"`
	BandwidthKbps int      `toml:"bandwidth_kbps"` // of downloads, kbit/s; 0: no limit
	// NeverFullDownload wants a delta: without one there is no update.
	NeverFullDownload bool     `toml:"never_full_download"`
	Probation         Duration `toml:"probation"` // health has to hold for so long
	HawkBit           HawkBit  `toml:"hawkbit"`
}

// HawkBit is an Eclipse hawkBit server that orders updates. An empty URL means that there is none.
type HawkBit struct {
	URL        string `toml:"url"` // https://…
	Tenant     string `toml:"tenant"`
	Controller string `toml:"controller"` // the device's name there; "": Device.Name
	TokenFile  string `toml:"token_file" path:"file"`
	Gateway    bool   `toml:"gateway_token"` // the token is that of all devices, not of this one
}

func (k *checker) update(u Update) {
	if u.URL != "" {
		k.url("update.url", u.URL, "https")
		k.noQuery("update.url", u.URL)
		k.required("update.root_file", u.RootFile)
	}
	if u.Board != "" {
		k.name("update.board", u.Board)
	}
	k.oneOf("update.boot", u.Boot, BootAuto, BootTryboot, BootUBoot, BootBinary, BootNone)
	k.required("update.boot_dir", u.BootDir)
	if from, to, _ := strings.Cut(u.Window, "-"); u.Window != "" && !(isClock(from) && isClock(to)) {
		k.add("update.window", `must be part of a day, as "02:00-05:00", not %q`, u.Window)
	}
	k.span("update.interval", u.Interval, time.Second, 30*24*time.Hour)
	k.span("update.spread", u.Spread, 0, 24*time.Hour)
	k.between("update.bandwidth_kbps", u.BandwidthKbps, 0, maxDownload, " kbit/s")
	if h := u.HawkBit; h.URL != "" {
		k.url("update.hawkbit.url", h.URL, "https")
		k.noQuery("update.hawkbit.url", h.URL)
		k.required("update.hawkbit.tenant", h.Tenant)
		k.required("update.hawkbit.token_file", h.TokenFile)
		if u.URL == "" {
			k.add("update.url", "is missing: update.hawkbit.url says when, and the repository has what is installed")
		}
	}
	k.span("update.probation", u.Probation, time.Second, time.Hour)
}

// noQuery refuses what could be a secret: an address stands in logs and reports.
func (k *checker) noQuery(path, value string) {
	if u, err := url.Parse(value); err == nil && (u.RawQuery != "" || u.Fragment != "") {
		k.add(path, "must hold nothing behind its path; a server that wants a signature there cannot be used")
	}
}

// maxDownload is faster than any board takes it.
const maxDownload = 10_000_000 // kbit/s

func isClock(text string) bool {
	t, err := time.Parse(clock, text)
	return err == nil && t.Format(clock) == text
}
