package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// DefaultListen is where a lab listens when nothing else is said.
const DefaultListen = "127.0.0.1:8700"

// address is where a lab listens and by what it is reached.
type address struct {
	bind net.IP // what sockets are bound to; unspecified is every interface
	port int    // the first port; 0: free ports
	host string // in URLs: a name or an IP
	ip   net.IP // of the host: ICE candidates and relayed addresses
	// media is what sockets of media are bound to: ip where it is local, so that packets come from where they are
	// expected from; else bind.
	media net.IP
}

// resolve finds out what --listen and --advertise mean. Either may be "". With an advertised address alone the lab
// listens on that address when it is this machine's, and else (behind a NAT, say) on every interface.
func resolve(ctx context.Context, listen, advertise string) (address, error) {
	var a address
	host := ""
	if listen == "" {
		_, port, _ := net.SplitHostPort(DefaultListen)
		a.port, _ = strconv.Atoi(port)
	} else {
		var port string
		var err error
		if host, port, err = net.SplitHostPort(listen); err != nil {
			return a, fmt.Errorf("--listen %s: write HOST:PORT, as %s, or 127.0.0.1:0 for free ports", listen, DefaultListen)
		}
		if a.port, err = strconv.Atoi(port); err != nil || a.port < 0 || a.port > 65535-lastOffset {
			return a, fmt.Errorf("--listen %s: the port must be 0 (free ports) or up to %d", listen, 65535-lastOffset)
		}
	}
	if advertise != "" {
		ip, err := lookup(ctx, advertise)
		if err != nil {
			return a, fmt.Errorf("--advertise %s: %w", advertise, err)
		}
		if ip.IsUnspecified() {
			return a, fmt.Errorf("--advertise %s is no address that others can reach: give one of this machine's, or the one that leads to it", advertise)
		}
		a.host, a.ip = advertise, ip
	}
	switch {
	case listen == "" && advertise == "":
		a.bind = net.IPv4(127, 0, 0, 1)
	case listen == "" && isLocal(a.ip):
		a.bind = a.ip
	case host == "":
		a.bind = net.IPv4zero
	default:
		var err error
		if a.bind, err = lookup(ctx, host); err != nil {
			return a, fmt.Errorf("--listen %s: %w", listen, err)
		}
	}
	if a.host == "" {
		a.ip, a.host = a.bind, host
		if a.bind.IsUnspecified() {
			a.ip = net.IPv4(127, 0, 0, 1) // nobody said by what others reach us
		}
		if host == "" || a.bind.IsUnspecified() {
			a.host = a.ip.String()
		}
	}
	if a.bind.To4() == nil || a.ip.To4() == nil {
		return a, fmt.Errorf("a lab speaks IPv4 only: %s is not; listen on 127.0.0.1 or 0.0.0.0", cmp.Or(host, advertise))
	}
	if a.media = a.bind; isLocal(a.ip) {
		a.media = a.ip
	}
	return a, nil
}

// lookup gives the IP of a name or of an address in text, IPv4 where there is a choice.
func lookup(ctx context.Context, host string) (net.IP, error) {
	if ip := net.ParseIP(host); ip != nil {
		return ip, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	for _, ip := range ips {
		if ip.To4() != nil {
			return ip, nil
		}
	}
	if len(ips) == 0 {
		return nil, errors.New("it has no address")
	}
	return ips[0], nil
}

// isLocal tells whether an address is this machine's.
func isLocal(ip net.IP) bool {
	if ip.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
			return true
		}
	}
	return false
}
