package media

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestPacketsAskForExpeditedForwarding reads the field where it counts: from packets that came.
func TestPacketsAskForExpeditedForwarding(t *testing.T) {
	n, err := newSessionNet(&sockets{})
	must(t, err)
	for _, c := range []struct {
		network, ip            string
		level, want, delivered int
	}{
		{"udp4", "127.0.0.1", unix.IPPROTO_IP, unix.IP_RECVTOS, unix.IP_TOS},
		{"udp6", "::1", unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, unix.IPV6_TCLASS},
	} {
		far, err := net.ListenUDP(c.network, &net.UDPAddr{IP: net.ParseIP(c.ip)})
		if err != nil {
			t.Logf("%s is not there: %v", c.network, err)
			continue
		}
		defer far.Close()
		raw, err := far.SyscallConn()
		must(t, err)
		must(t, raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), c.level, c.want, 1) }))
		must(t, err)
		host, err := n.ListenUDP(c.network, &net.UDPAddr{IP: net.ParseIP(c.ip)})
		must(t, err)
		turn, err := n.ListenPacket(c.network, net.JoinHostPort(c.ip, "0"))
		must(t, err)
		dtls, err := n.DialUDP(c.network, nil, far.LocalAddr().(*net.UDPAddr))
		must(t, err)
		_, err = host.WriteTo([]byte{1}, far.LocalAddr())
		must(t, err)
		_, err = turn.WriteTo([]byte{2}, far.LocalAddr())
		must(t, err)
		_, err = dtls.Write([]byte{3})
		must(t, err)
		must(t, far.SetReadDeadline(time.Now().Add(20*time.Second)))
		for range 3 {
			b, oob := make([]byte, 16), make([]byte, 256)
			_, size, _, _, err := far.ReadMsgUDP(b, oob)
			must(t, err)
			messages, err := unix.ParseSocketControlMessage(oob[:size])
			must(t, err)
			got := -1
			for _, m := range messages {
				if int(m.Header.Level) == c.level && int(m.Header.Type) == c.delivered {
					got = int(m.Data[0])
				}
			}
			if got != 0xb8 {
				t.Errorf("%s: packet %d came with %#x, want 0xb8", c.network, b[0], got)
			}
		}
		host.Close()
		turn.Close()
		dtls.Close()
	}
}

func TestTURNByTCPAsksForExpeditedForwarding(t *testing.T) {
	d := &turnDialer{ctx: t.Context(), sockets: &sockets{}, log: testLog(t)}
	c, err := d.Dial("tcp4", silentTCP(t))
	must(t, err)
	defer c.Close()
	raw, err := c.(*trackedConn).Conn.(*limitedConn).Conn.(*net.TCPConn).SyscallConn()
	must(t, err)
	var tos int
	must(t, raw.Control(func(fd uintptr) { tos, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS) }))
	must(t, err)
	if tos != 0xb8 {
		t.Errorf("IP_TOS is %#x", tos)
	}
}

// TestSessionMarksItsSockets looks at every UDP socket that a session makes.
func TestSessionMarksItsSockets(t *testing.T) {
	before := udpSockets(t)
	p := newPeer(t, Config{Loopback: true})
	_, err := p.Offer(t.Context())
	must(t, err)
	made := 0
	for fd, tos := range udpSockets(t) {
		if _, old := before[fd]; old {
			continue
		}
		made++
		if tos != 0xb8 {
			t.Errorf("a socket of the session has IP_TOS %#x", tos)
		}
	}
	if made == 0 {
		t.Error("the session has no UDP socket")
	}
}

// udpSockets gives the IP_TOS of this process's UDP sockets that are bound, by descriptor.
func udpSockets(t *testing.T) map[int]int {
	t.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	must(t, err)
	out := map[int]int{}
	for _, path := range fds {
		fd, _ := strconv.Atoi(filepath.Base(path))
		if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || kind != unix.IPPROTO_UDP {
			continue
		}
		if domain, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); domain != unix.AF_INET {
			continue
		}
		tos, err := unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS)
		must(t, os.NewSyscallError("getsockopt", err))
		out[fd] = tos
	}
	return out
}
