package appliance

import (
	"io/fs"
	"path"
	"strings"
)

// link is a network interface of the hardware.
type link struct {
	wired     bool
	connected bool // there is a carrier
	unplugged bool // it is up, and there is none
}

// links reads sys/class/net of a root. Interfaces that have no hardware of their own are left out.
func links(root fs.FS) map[string]link {
	all := map[string]link{}
	entries, _ := fs.ReadDir(root, "sys/class/net")
	for _, e := range entries {
		dir := path.Join("sys/class/net", e.Name())
		if _, err := fs.Stat(root, path.Join(dir, "device")); err != nil {
			continue
		}
		_, err := fs.Stat(root, path.Join(dir, "wireless"))
		l := link{wired: err != nil}
		// Of an interface that is down the kernel gives an error instead.
		if carrier, err := fs.ReadFile(root, path.Join(dir, "carrier")); err == nil {
			l.connected = strings.TrimSpace(string(carrier)) == "1"
			l.unplugged = !l.connected
		}
		all[e.Name()] = l
	}
	return all
}

// away says whether the network is provably away, and not by our fault: each interface that was connected before is wired, is
// there and up, and has no carrier. Of Wi-Fi nobody can tell whether the access point or our driver is gone.
func away(before []string, now map[string]link) bool {
	for _, name := range before {
		if l := now[name]; !l.wired || !l.unplugged {
			return false
		}
	}
	return len(before) > 0
}
