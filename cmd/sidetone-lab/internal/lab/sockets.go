package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"sidetone/cmd/internal/atomicfile"
)

// Ports of a lab, counted from the one given to --listen.
const (
	webOffset     = 0 // page, ws, token service
	wssOffset     = 1 // the same over TLS
	mqttOffset    = 2
	mqttsOffset   = 3
	turnOffset    = 4 // TURN over UDP and TCP
	turnTLSOffset = 5
	lastOffset    = turnTLSOffset
)

// sockets is everything a lab listens on but for media, whose ports are always free ones.
type sockets struct {
	web, wss, mqtt, mqtts, turnTCP, turnTLS net.Listener
	turnUDP                                 net.PacketConn
}

// listen opens every socket, or none. Where ports are free to choose, it takes those of last (see remember) as far as
// they can be had: a device that runs on finds a restarted lab again. turns, unless 0, is the port of TURN over TLS.
func listen(a address, turns int, last [lastOffset + 1]int) (s sockets, err error) {
	var open []io.Closer
	defer func() {
		if err != nil {
			for _, c := range open {
				_ = c.Close()
			}
		}
	}()
	// at opens the socket of an offset: on its fixed port, else on its last one, else on any.
	at := func(offset int, open func(addr string) error) error {
		join := func(port int) string { return net.JoinHostPort(a.bind.String(), strconv.Itoa(port)) }
		switch {
		case offset == turnTLSOffset && turns != 0:
			return open(join(turns))
		case a.port != 0:
			return open(join(a.port + offset))
		}
		if last[offset] != 0 && open(join(last[offset])) == nil {
			return nil
		}
		return open(join(0))
	}
	for _, l := range []struct {
		to     *net.Listener
		offset int
	}{
		{&s.web, webOffset}, {&s.wss, wssOffset}, {&s.mqtt, mqttOffset}, {&s.mqtts, mqttsOffset},
		{&s.turnTCP, turnOffset}, {&s.turnTLS, turnTLSOffset},
	} {
		err := at(l.offset, func(addr string) (err error) {
			*l.to, err = net.Listen("tcp", addr)
			return err
		})
		if err != nil {
			return s, taken(a, err)
		}
		open = append(open, *l.to)
	}
	last[turnOffset] = s.turnTCP.Addr().(*net.TCPAddr).Port // one number for TURN over UDP and TCP, where it is free
	err = at(turnOffset, func(addr string) (err error) {
		s.turnUDP, err = net.ListenPacket("udp", addr)
		return err
	})
	if err != nil {
		return s, taken(a, err)
	}
	return s, nil
}

// portsFile holds the ports that a lab last had, in the order of their offsets.
const portsFile = "ports.json"

// lastPorts are those that remember wrote; zeros when there are none.
func lastPorts(dir string) (ports [lastOffset + 1]int) {
	if b, err := os.ReadFile(filepath.Join(dir, portsFile)); err != nil || json.Unmarshal(b, &ports) != nil {
		return [lastOffset + 1]int{}
	}
	return ports
}

// remember keeps the ports for the next lab on this directory.
func (s sockets) remember(dir string) error {
	var ports [lastOffset + 1]int
	for offset, l := range map[int]net.Listener{
		webOffset: s.web, wssOffset: s.wss, mqttOffset: s.mqtt, mqttsOffset: s.mqtts, turnOffset: s.turnTCP, turnTLSOffset: s.turnTLS,
	} {
		ports[offset] = l.Addr().(*net.TCPAddr).Port
	}
	b, err := json.Marshal(ports)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, portsFile), b, 0o600)
}

// taken says what to do when a port cannot be had.
func taken(a address, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; a lab uses ports %d to %d: choose others with --listen HOST:PORT, or HOST:0 for free ones",
			err, a.port, a.port+lastOffset)
	}
	return fmt.Errorf("a lab cannot listen: %w", err)
}

// closeAll closes what nobody took over yet.
func (s sockets) closeAll() {
	for _, l := range []net.Listener{s.web, s.wss, s.mqtt, s.mqtts, s.turnTCP, s.turnTLS} {
		_ = l.Close()
	}
	_ = s.turnUDP.Close()
}

// url makes a URL of a scheme for a listener, as clients reach it by host.
func url(scheme, host string, l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return scheme + "://" + net.JoinHostPort(host, port)
}
