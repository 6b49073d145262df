package relay

import (
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/pion/turn/v5"
)

// Traffic is what a client relayed over one transport: payload bytes, without TURN's own framing, as the client sees
// them: sent to peers and received from them.
type Traffic struct {
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
}

// Stats tells what each client relayed since the start, by name and transport. The name is that of the login, unless
// owner, which may be nil, knows better whose relayed address it is: a login may be shared.
func (s *Server) Stats(owner func(login string, relayed netip.AddrPort) (name string)) map[string]map[string]Traffic {
	return s.meter.read(owner)
}

// meter counts by client, transport and relayed address; ports come again, so there are never more than 65,535 a client
// and transport.
type meter struct {
	mu     sync.Mutex
	counts map[meterKey]*counter
}

type meterKey struct {
	name, transport string
	relayed         netip.AddrPort
}

type counter struct{ sent, received atomic.Uint64 }

func (m *meter) counter(k meterKey) *counter {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.counts[k]
	if c == nil {
		if m.counts == nil {
			m.counts = map[meterKey]*counter{}
		}
		c = &counter{}
		m.counts[k] = c
	}
	return c
}

func (m *meter) read(owner func(string, netip.AddrPort) string) map[string]map[string]Traffic {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]map[string]Traffic{}
	for k, c := range m.counts {
		name := k.name
		if owner != nil {
			name = owner(k.name, k.relayed)
		}
		if out[name] == nil {
			out[name] = map[string]Traffic{}
		}
		t := out[name][k.transport]
		t.Sent += c.sent.Load()
		t.Received += c.received.Load()
		out[name][k.transport] = t
	}
	return out
}

// allocator opens relayed addresses whose traffic is counted.
func (s *Server) allocator(transport string, g *gate) turn.RelayAddressGenerator {
	return &allocator{
		RelayAddressGeneratorStatic: turn.RelayAddressGeneratorStatic{
			RelayAddress: s.cfg.IP, Address: s.cfg.ListenIP.String(),
		},
		meter: &s.meter, transport: transport, gate: g, local: s.cfg.local(),
	}
}

type allocator struct {
	turn.RelayAddressGeneratorStatic
	meter     *meter
	transport string
	gate      *gate
	local     net.IP // see meteredConn
}

// AllocatePacketConn opens a relayed UDP address on behalf of conf.UserID.
func (a *allocator) AllocatePacketConn(conf turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	pc, err := net.ListenPacket(conf.Network, net.JoinHostPort(a.Address, strconv.Itoa(conf.RequestedPort)))
	if err != nil {
		return nil, nil, err
	}
	addr := &net.UDPAddr{IP: a.RelayAddress, Port: pc.LocalAddr().(*net.UDPAddr).Port}
	if conf.UserID == "" { // pion looks for an even port, nobody relays here
		return pc, addr, nil
	}
	return &meteredConn{
		PacketConn: pc, counter: a.meter.counter(meterKey{conf.UserID, a.transport, addr.AddrPort()}), gate: a.gate,
		public: a.RelayAddress, local: a.local,
	}, addr, nil
}

// meteredConn is a relayed address: what is written goes to peers, what is read came from them.
type meteredConn struct {
	net.PacketConn
	*counter
	gate *gate
	// Behind a NAT our own public address may lead nowhere from here: the gateway beside us is reached at, and seen
	// from, local instead. Nil where public is local.
	public, local net.IP
}

func (c *meteredConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, addr, err := c.PacketConn.ReadFrom(b)
		if err == nil && c.gate.shut() {
			continue // it would not reach the client, so it does not count as received
		}
		if err == nil {
			c.received.Add(uint64(n))
		}
		return n, swap(addr, c.local, c.public), err
	}
}

func (c *meteredConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	// Counted first, so that who has the peer's answer finds the question counted.
	c.sent.Add(uint64(len(b)))
	n, err := c.PacketConn.WriteTo(b, swap(addr, c.public, c.local))
	if err != nil {
		c.sent.Add(-uint64(len(b)))
	}
	return n, err
}

// swap gives addr at the IP to where it is at from.
func swap(addr net.Addr, from, to net.IP) net.Addr {
	if u, ok := addr.(*net.UDPAddr); ok && from != nil && to != nil && u.IP.Equal(from) {
		return &net.UDPAddr{IP: to, Port: u.Port}
	}
	return addr
}
