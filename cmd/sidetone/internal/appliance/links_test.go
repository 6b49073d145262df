package appliance

import (
	"testing"
	"testing/fstest"
)

// Whether the network is away by somebody else's fault, for what was connected with the old system.
func TestAway(t *testing.T) {
	root := fstest.MapFS{}
	add := func(name string, files ...string) {
		for i := 0; i < len(files); i += 2 {
			root["sys/class/net/"+name+"/"+files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
		}
	}
	add("lo", "carrier", "1\n")
	add("eth0", "device/uevent", "", "carrier", "0\n")
	add("eth1", "device/uevent", "", "carrier", "1\n")
	add("eth2", "device/uevent", "") // down: nothing can be read of its carrier
	add("wlan0", "device/uevent", "", "wireless/link", "", "carrier", "0\n")
	now := links(root)
	if _, is := now["lo"]; is || len(now) != 4 || !now["eth1"].connected || now["wlan0"].wired {
		t.Fatalf("%+v", now)
	}
	for _, tt := range []struct {
		before []string
		away   bool
	}{
		{[]string{"eth0"}, true},
		{[]string{"eth0", "eth1"}, false}, // one is there
		{[]string{"eth2"}, false},         // nobody has brought it up
		{[]string{"eth9"}, false},         // its driver is missing
		{[]string{"wlan0"}, false},
		{nil, false}, // nothing was there before
	} {
		if got := away(tt.before, now); got != tt.away {
			t.Errorf("%q: %t", tt.before, got)
		}
	}
}
