package media

import (
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/pion/webrtc/v4"
)

// dtlsVersion is DTLS 1.2 as it stands on the wire: pion/dtls v3 speaks no other.
const dtlsVersion = "FEFD"

// srtpProfiles are the protection profiles of IANA's registry (RFC 5764, RFC 7714).
var srtpProfiles = map[uint64]string{
	1: "SRTP_AES128_CM_HMAC_SHA1_80", 2: "SRTP_AES128_CM_HMAC_SHA1_32", 7: "SRTP_AEAD_AES_128_GCM", 8: "SRTP_AEAD_AES_256_GCM",
}

// srtpCipher names what DTLS agreed on; empty before it did. pion keeps that to itself, and its statistics have no
// transport but ICE's, so the field is read by its name: should it go, the name is absent, and a test says so. It is
// written once, under the lock that State takes, before the state becomes connected.
func srtpCipher(d *webrtc.DTLSTransport) string {
	if d.State() != webrtc.DTLSTransportStateConnected {
		return ""
	}
	f := reflect.ValueOf(d).Elem().FieldByName("srtpProtectionProfile")
	if !f.IsValid() || !f.CanUint() {
		return ""
	}
	return srtpProfiles[f.Uint()]
}

// sysNet is where Linux describes network interfaces.
const sysNet = "/sys/class/net"

// networkType says by what kind of interface a local candidate goes out, in the words of webrtc-stats: ethernet, wifi,
// cellular or vpn; empty when that is not known, and on loopback.
func networkType(c *webrtc.ICECandidate) string {
	address := c.Address
	if c.Typ != webrtc.ICECandidateTypeHost {
		address = c.RelatedAddress
	}
	ip := net.ParseIP(address)
	if ip == nil || ip.IsUnspecified() || ip.IsLoopback() {
		return ""
	}
	all, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
				return interfaceType(filepath.Join(sysNet, i.Name))
			}
		}
	}
	return ""
}

// interfaceType reads the kind of an interface from its directory in sysfs.
func interfaceType(dir string) string {
	uevent, _ := os.ReadFile(filepath.Join(dir, "uevent"))
	for line := range strings.Lines(string(uevent)) {
		switch strings.TrimSpace(line) {
		case "DEVTYPE=wlan":
			return "wifi"
		case "DEVTYPE=wwan":
			return "cellular"
		case "DEVTYPE=wireguard":
			return "vpn"
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "tun_flags")); err == nil {
		return "vpn"
	}
	kind, _ := os.ReadFile(filepath.Join(dir, "type")) // ARPHRD_… of if_arp.h
	if strings.TrimSpace(string(kind)) == "1" {
		return "ethernet"
	}
	return ""
}
