package media

import (
	"os"
	"path/filepath"
	"testing"
)

func TestInterfaceType(t *testing.T) {
	for want, files := range map[string]map[string]string{
		"wifi":     {"uevent": "DEVTYPE=wlan\nINTERFACE=wlan0\n", "type": "1\n"},
		"cellular": {"uevent": "DEVTYPE=wwan\nINTERFACE=wwan0\n", "type": "65534\n"},
		"vpn":      {"uevent": "INTERFACE=tun0\n", "type": "65534\n", "tun_flags": "0x1001\n"},
		"ethernet": {"uevent": "INTERFACE=eth0\n", "type": "1\n"},
		"":         {"uevent": "INTERFACE=ppp0\n", "type": "512\n"},
	} {
		dir := t.TempDir()
		for name, text := range files {
			must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		}
		if got := interfaceType(dir); got != want {
			t.Errorf("%v is %q, want %q", files, got, want)
		}
	}
}
