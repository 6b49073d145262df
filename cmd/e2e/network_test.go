package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sidetone/audio/audiotest"
)

const (
	labAddress = "10.9.0.1"
	goal       = 700 * time.Millisecond // with half a second of no address
	gapLimit   = 7 * time.Second        // what a busy machine may make of it
)

// TestAddressChange takes the device's address away in mid-call and gives it another. Where the line goes another way and
// stays, ICE restarts; where it goes with the address, it comes back, and the platform gives the call back.
func TestAddressChange(t *testing.T) {
	if outside(t, "nft") {
		return
	}
	for _, c := range []struct {
		name          string
		lineStays     bool
		to            string
		course, never []string // in the report's timeline
	}{
		{"the line stays", true, "10.9.0.3/24", []string{"network_lost", "ice_restart", "media_connected"}, []string{"recovering"}},
		{"the line goes too", false, "10.9.0.3/24", []string{"network_lost", "recovering", "active", "media_connected"}, []string{"ice_restart"}},
		{"the same address comes back", false, "10.9.0.2/24", []string{"network_changed"}, []string{"ice_restart", "recovering"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			device, far := newNamespace(t), newNamespace(t)
			eth := end{device, "eth0", "10.9.0.2/24"}
			cable(t, eth, end{far, "eth0", labAddress + "/24"})
			l := far.startLab(t, t.TempDir(), "--listen", "0.0.0.0:0", "--advertise", labAddress)
			var env []string
			if c.lineStays { // it has a network of its own, in which no media goes
				cable(t, end{device, "eth1", "10.8.0.2/24"}, end{far, "eth1", "10.8.0.1/24"})
				device.nft(t, "chain out { type filter hook output priority 0;", "ip saddr 10.8.0.2 meta l4proto udp drop", "}")
				env = []string{"SIDETONE_LINE_URL=ws://" + netip.AddrPortFrom(netip.MustParseAddr("10.8.0.1"), port(t, l.WS)).String() + "/"}
			}
			dir := t.TempDir()
			heard := filepath.Join(dir, "heard.wav")
			call := startTalkIn(t, device, env, "--config", l.Devices["door1"], "--in", toneFile(t, dir, 700), "--out", heard, "tone")
			active := call.await(t, "active", isState("active"))
			time.Sleep(2 * time.Second)
			eth.changeAddress(t, c.to)
			time.Sleep(6 * time.Second)
			report := call.hangUp(t)

			// What was done, and why: because the kernel said so, not because nothing was heard.
			var course []string
			for _, m := range report.Timeline {
				course = append(course, m.Event)
			}
			if i := slices.IndexFunc(course, func(e string) bool { return strings.HasPrefix(e, "network_") }); i >= 0 {
				course = course[i:]
			}
			if !inOrder(course, c.course...) || slices.ContainsFunc(course, func(e string) bool { return slices.Contains(c.never, e) }) {
				t.Errorf("after the change came %v, want %v and never %v", course, c.course, c.never)
			}
			if i := slices.IndexFunc(report.Warnings, func(w warning) bool { return w.Name == "LOW_BYTES_RECEIVED" }); i >= 0 {
				t.Errorf("it was noticed by its silence: warnings %+v", report.Warnings)
			}
			to := netip.MustParsePrefix(c.to).Addr().String()
			if p := report.Path; p.Local.Address != to || p.Local.CandidateType == "relay" {
				t.Errorf("path %+v, want it from %s", p, to)
			}
			if report.Summary.CauseCode != 16 || report.Summary.CallID != active.CallID {
				t.Errorf("report %+v", report.Summary)
			}
			pcm, _, err := audiotest.ReadWAV(heard)
			if err != nil {
				t.Fatal(err)
			}
			var longest gap
			for _, g := range gaps(pcm, 1000) {
				if g.at > time.Second && g.at+g.length < samples(len(pcm))-300*time.Millisecond {
					longest = longer(longest, g)
				}
			}
			t.Logf("GAP with %v of no address: %v (goal %v); %v", outage, longest, goal, course)
			if longest.length < outage/2 || longest.length > gapLimit || samples(len(pcm)) < 7*time.Second {
				t.Errorf("a gap of %v in %v", longest, samples(len(pcm)))
			}
		})
	}
}

// inOrder tells whether all of some come in that order, whatever comes between.
func inOrder(all []string, some ...string) bool {
	for _, s := range all {
		if len(some) > 0 && s == some[0] {
			some = some[1:]
		}
	}
	return len(some) == 0
}

// TestFirewall calls where a firewall swallows UDP, and where it lets through nothing but the line and TCP 443: policy auto
// finds TURN over TCP, and TURN over TLS.
func TestFirewall(t *testing.T) {
	if outside(t, "nft") {
		return
	}
	device, far := newNamespace(t), newNamespace(t)
	cable(t, end{device, "eth0", "10.9.0.2/24"}, end{far, "eth0", labAddress + "/24"})
	l := far.startLab(t, t.TempDir(), "--listen", labAddress+":0", "--turns-port", "443")
	for _, c := range []struct{ name, rule, protocol, url, why string }{
		{"UDP is blocked", "meta l4proto udp", "tcp", l.TURN[1], "no direct way and no TURN over UDP answered sooner"},
		{
			"only TCP 443 is open", fmt.Sprintf("meta l4proto { tcp, udp } th dport != { 443, %d }", port(t, l.WSS)),
			"tls", "turns:" + labAddress + ":443?transport=tcp", "no direct way and no TURN over UDP and no TURN over TCP answered sooner",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			far.nft(t, "chain in { type filter hook input priority 0;", `iifname "eth0" `+c.rule+" drop", "}")
			defer far.do(t, "nft delete table ip test")
			dir := t.TempDir()
			heard := filepath.Join(dir, "heard.wav")
			call := startTalkIn(t, device, nil, "--config", l.Devices["door1"], "--in", toneFile(t, dir, 700), "--out", heard, "echo")
			call.await(t, "active", isState("active"))
			call.await(t, "sound", func(e event) bool { return e.Name == "first_sound_played" })
			time.Sleep(3 * time.Second)
			call.hangUp(t).relayed(t, c.protocol, c.url, c.why)
			hears(t, heard, 700)
		})
	}
}

// TestSymmetricNAT calls from one device to another, each behind a symmetric NAT of its own; so is the gateway, whose
// signalling alone is forwarded. Policy auto finds the relay.
func TestSymmetricNAT(t *testing.T) {
	if outside(t, "nft", "turnserver") {
		return
	}
	const relay = "203.0.113.1"
	wan := newNamespace(t)
	wan.forwards(t)
	wan.do(t, "ip addr add "+relay+"/32 dev lo")
	// behind gives a host behind a symmetric NAT: each flow leaves by a port of its own, and only what belongs to one comes in.
	behind := func(n int, forward ...string) (host *namespace, public string) {
		host, nat := newNamespace(t), newNamespace(t)
		net := func(host int) string { return fmt.Sprintf("203.0.113.%d", 4*n+host) }
		cable(t, end{wan, fmt.Sprint("nat", n), net(1) + "/30"}, end{nat, "wan0", net(2) + "/30"})
		cable(t, end{nat, "lan0", "192.168.1.1/24"}, end{host, "eth0", "192.168.1.2/24"})
		nat.forwards(t)
		nat.do(t, "ip route add default via "+net(1))
		host.do(t, "ip route add default via 192.168.1.1")
		nat.nft(t, append(append([]string{"chain pre { type nat hook prerouting priority -100;"}, forward...), "}",
			"chain post { type nat hook postrouting priority 100;", `oifname "wan0" masquerade random,fully-random`, "}",
			"chain in { type filter hook input priority 0;", `iifname "wan0" drop`, "}",
			"chain through { type filter hook forward priority 0;", `iifname "wan0" ct state new ct status & dnat == 0 drop`, "}")...)
		return host, net(2)
	}
	door1, _ := behind(1)
	door2, _ := behind(2)
	far, public := behind(3, `iifname "wan0" meta l4proto tcp dnat to 192.168.1.2`)
	wan.do(t, "ip route add default via "+public) // coturn gives up an allocation when the kernel knows no way to a peer
	l := far.startLab(t, t.TempDir(), "--listen", "0.0.0.0:0", "--advertise", public)
	turn := wan.startCoturn(t, relay)
	config := func(device string) string { return l.withTURN(t, device, "nat", turn.udp, coturnUser, coturnPassword) }

	dir := t.TempDir()
	heard1, heard2 := filepath.Join(dir, "heard1.wav"), filepath.Join(dir, "heard2.wav")
	name, args := door2.enter("sidetone", "run", "--config", config("door2"))
	answers := startEnv(t, []string{
		"SIDETONE_LINE_AUTO_ANSWER=true",
		"SIDETONE_AUDIO_CAPTURE=wav:" + toneFile(t, dir, 1200), "SIDETONE_AUDIO_PLAYBACK=wav:" + heard2,
	}, name, args...)
	l.waitRegistered(t, "door2")
	call := startTalkIn(t, door1, nil, "--config", config("door1"), "--in", toneFile(t, dir, 700), "--out", heard1, "door2")
	call.await(t, "active", isState("active"))
	call.await(t, "sound", func(e event) bool { return e.Name == "first_sound_played" })
	time.Sleep(3 * time.Second)
	const why = "no direct way answered sooner"
	call.hangUp(t).relayed(t, "udp", turn.udp, why)
	l.reportFile(t, "door2").relayed(t, "udp", turn.udp, why)
	answers.end(t)
	hears(t, heard1, 1200)
	hears(t, heard2, 700)
}

// reportFile is the one call report that a device has kept.
func (l *lab) reportFile(t *testing.T, device string) *report {
	t.Helper()
	var files []string
	eventually(t, 20*time.Second, device+" reports", func() bool {
		files, _ = filepath.Glob(filepath.Join(l.dir, "devices", device, "state", "reports", "*.json"))
		return len(files) == 1
	})
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	r := &report{}
	if err := json.Unmarshal(b, r); err != nil {
		t.Fatal(err)
	}
	return r
}

// relayed holds that the call went through TURN, by that server, and that the report says why.
func (r *report) relayed(t *testing.T, protocol, url, why string) {
	t.Helper()
	p := r.Path
	if p.Local.CandidateType != "relay" || p.RelayProtocol != protocol || p.Local.URL != url || p.Policy != "auto" || p.Why != why {
		t.Errorf("path %+v, want a relay by %s at %s", p, protocol, url)
	}
	t.Logf("path: %s %s by %s at %s, policy %s: %s", p.Local.CandidateType, p.Local.Address, p.RelayProtocol, p.Local.URL, p.Policy, p.Why)
}

// hears holds that a recording has that tone.
func hears(t *testing.T, file string, hz float64) {
	t.Helper()
	pcm, _, err := audiotest.ReadWAV(file)
	if err != nil {
		t.Fatal(err)
	}
	if !audiotest.HasTone(pcm, hz) {
		t.Errorf("%s lacks the %.0f Hz of the other side: %v", filepath.Base(file), hz, audiotest.Tones(pcm))
	}
}

// port is that of a URL.
func port(t *testing.T, raw string) uint16 {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(n)
}
