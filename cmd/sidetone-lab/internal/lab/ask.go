package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"sidetone/cmd/sidetone-lab/internal/admin"
	"sidetone/cmd/sidetone-lab/internal/updates"
	"sidetone/cmd/sidetone-lab/internal/web"
	"sidetone/rtc/gateway"
	"sidetone/rtc/gateway/relay"

	"github.com/pion/ice/v4"
)

// What the sub-commands and the page ask of a lab.
var (
	_ admin.Lab = (*Lab)(nil)
	_ web.Lab   = (*Lab)(nil)
)

var transports = []string{relay.UDP, relay.TCP, relay.TLS}

// Token implements admin.Lab.
func (l *Lab) Token(name string) (admin.Token, error) {
	token, expires, err := l.tokens.Token(name)
	return admin.Token{Token: token, ExpiresAt: expires}, err
}

// Ring implements admin.Lab.
func (l *Lab) Ring(ctx context.Context, name, from string) (callID string, err error) {
	callID, err = l.gateway.Ring(ctx, name, from)
	if !errors.Is(err, gateway.ErrNotRegistered) {
		return callID, err
	}
	var there []string
	for client, s := range l.gateway.Stats().Clients {
		if s.Registered {
			there = append(there, client)
		}
	}
	slices.Sort(there)
	now := "nobody is"
	if len(there) > 0 {
		now = "these are: " + strings.Join(there, ", ")
	}
	hint := ""
	if config, ok := l.info.Devices[name]; ok {
		hint = "; start it with: sidetone run --config " + config
	}
	return "", fmt.Errorf("%s is not registered (%s)%s", name, now, hint)
}

// Stats implements admin.Lab.
func (l *Lab) Stats() admin.Stats {
	clients := map[string]admin.Client{}
	signalling := l.gateway.Stats()
	for name, c := range signalling.Clients {
		clients[name] = admin.Client{ClientStats: c}
	}
	traffic := l.relay.Stats(ownerByCandidates(clients))
	for _, name := range slices.Concat(l.tokens.Devices(), slices.Collect(maps.Keys(traffic))) {
		if _, ok := clients[name]; !ok {
			clients[name] = admin.Client{}
		}
	}
	for name, c := range clients {
		c.Tokens = l.tokens.Requests(name)
		c.Tokens.Refused = orEmpty(c.Tokens.Refused)
		c.TURN = map[string]relay.Traffic{}
		for _, t := range transports {
			c.TURN[t] = traffic[name][t]
		}
		// Lists are never null, so that whoever reads the JSON need not ask.
		c.Sessions = orEmpty(c.Sessions)
		c.Candidates = orEmpty(c.Candidates)
		c.Calls = orEmpty(c.Calls)
		c.Reports = orEmpty(c.Reports)
		clients[name] = c
	}
	return admin.Stats{Clients: clients, RefusedLogins: orEmpty(signalling.RefusedLogins), Updates: l.updates.Sent()}
}

// ownerByCandidates finds whose a relayed address is. The lab's own TURN login may be used by anybody; an address
// allocated with it belongs to the client that showed it as its candidate.
func ownerByCandidates(clients map[string]admin.Client) func(string, netip.AddrPort) string {
	shown := map[netip.AddrPort]string{}
	for name, c := range clients {
		for _, candidate := range c.Candidates {
			parsed, err := ice.UnmarshalCandidate(candidate.Line)
			if err != nil {
				continue
			}
			if ip, err := netip.ParseAddr(parsed.Address()); err == nil {
				shown[netip.AddrPortFrom(ip, uint16(parsed.Port()))] = name
			}
		}
	}
	return func(login string, relayed netip.AddrPort) string {
		if name, ok := shown[netip.AddrPortFrom(relayed.Addr().Unmap(), relayed.Port())]; ok && login == turnLogin {
			return name
		}
		return login
	}
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// Faults implements admin.Lab.
func (l *Lab) Faults() []admin.Fault {
	l.faultsMu.Lock()
	defer l.faultsMu.Unlock()
	var all []admin.Fault
	for _, t := range transports {
		all = append(all, admin.Fault{Name: "turn-" + t, Blackhole: l.faults[t]})
	}
	g := l.signalling
	if !l.doors[0].isShut() {
		g.PortClosed = 0
	}
	return append(all, g, admin.Fault{Name: admin.Update, Trouble: l.updates.Trouble()})
}

// SetFault implements admin.Lab.
func (l *Lab) SetFault(f admin.Fault) error {
	switch {
	case f.Name == admin.Update && f != (admin.Fault{Name: f.Name, Trouble: f.Trouble}):
		return errors.New("the update server has no such fault: choose cut-after, corrupt-chunk, corrupt-each, slow or gone")
	case f.Name == admin.Update:
		l.cfg.Logger.Warn("fault", "name", f.Name, "now", f.String())
		return l.updates.SetTrouble(f.Trouble)
	case f.Trouble != updates.Trouble{}:
		return fmt.Errorf("%s has no such fault: only update has", f.Name)
	case f.Name == admin.Gateway:
		return l.setSignalling(f)
	}
	transport, ok := strings.CutPrefix(f.Name, "turn-")
	if !ok || !slices.Contains(transports, transport) {
		return fmt.Errorf("there is no fault %q: choose gateway, update, turn-udp, turn-tcp or turn-tls", f.Name)
	}
	l.faultsMu.Lock()
	defer l.faultsMu.Unlock()
	if err := l.relay.Blackhole(transport, f.Blackhole); err != nil {
		return err
	}
	l.faults[transport] = f.Blackhole
	l.cfg.Logger.Warn("fault", "name", f.Name, "blackhole", f.Blackhole)
	return nil
}

// setSignalling makes the faults of the gateway that f names; the others stay as they are, and none mends all.
func (l *Lab) setSignalling(f admin.Fault) error {
	switch {
	case f.State != "" && !slices.Contains(gateway.States, f.State):
		return fmt.Errorf("there is no gateway state %q: choose %s", f.State, strings.Join(gateway.States, ", "))
	case f.PortClosed < 0:
		return fmt.Errorf("a port cannot be closed for %v", f.PortClosed)
	case f.Blackhole:
		return errors.New("the gateway has no black hole: choose cut, port-closed, half-dead or state")
	}
	l.faultsMu.Lock()
	defer l.faultsMu.Unlock()
	now := &l.signalling
	if f == (admin.Fault{Name: admin.Gateway}) {
		*now = f
		l.gateway.HalfDead(false)
		l.gateway.SetState("")
		l.gateway.RefuseReports(false)
		for _, d := range l.doors {
			d.open()
		}
	}
	if f.PortClosed > 0 { // before the cut, so that nobody slips in between
		now.PortClosed = f.PortClosed
		for _, d := range l.doors {
			d.shut(f.PortClosed)
		}
	}
	if f.State != "" {
		now.State = f.State
		l.gateway.SetState(f.State)
	}
	if f.HalfDead {
		now.HalfDead = true
		l.gateway.HalfDead(true)
	}
	if f.NoReports {
		now.NoReports = true
		l.gateway.RefuseReports(true)
	}
	if f.Cut {
		l.gateway.Cut()
	}
	l.cfg.Logger.Warn("fault", "name", f.Name, "now", now.String(), "cut", f.Cut)
	return nil
}

// Transfer implements admin.Lab.
func (l *Lab) Transfer(ctx context.Context, callID, to string) error {
	err := l.gateway.Transfer(ctx, callID, to)
	if errors.Is(err, gateway.ErrNoCall) {
		return fmt.Errorf("%w; see sidetone-lab stats", err)
	}
	return err
}

// State implements web.Lab.
func (l *Lab) State() web.State {
	clients := l.gateway.Stats().Clients
	enrolled := l.tokens.Devices()
	l.feed.mu.Lock()
	defer l.feed.mu.Unlock()
	names := map[string]bool{}
	for _, n := range enrolled {
		names[n] = true
	}
	for n := range clients {
		names[n] = true
	}
	for n := range l.feed.devices {
		names[n] = true
	}
	s := web.State{Devices: []web.Device{}, Reports: orEmpty(l.feed.lastReports(clients))}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		d := web.Device{Name: name, Enrolled: slices.Contains(enrolled, name), Buttons: []string{}}
		if d.Enrolled {
			d.Buttons = []string{Button}
		}
		c := clients[name]
		d.Registered = c.Registered
		if n := len(c.Sessions); n > 0 {
			d.Since, d.Remote = c.Sessions[n-1].Since, c.Sessions[n-1].Remote
		}
		if said := l.feed.devices[name]; said != nil {
			d.Update = said.update
			d.Status, d.Firmware, d.Board, d.Line = said.status, said.birth.Firmware, said.birth.Board, said.line
			d.Call, d.Last, d.Live = said.call, said.last, said.live.points
			if d.Status != "online" && !c.Registered {
				d.Call, d.Line = nil, "" // whatever it said last, it is gone
			}
		}
		if d.Call == nil {
			d.Call = gatewayCall(c.Calls)
		}
		s.Devices = append(s.Devices, d)
	}
	return s
}

// gatewayCall gives a client's live call as the gateway sees it, for clients that publish nothing, as browsers.
func gatewayCall(calls []gateway.CallStats) *web.Call {
	for _, c := range slices.Backward(calls) {
		if c.State == gateway.CallEnded {
			continue
		}
		peer := c.Destination
		if c.Direction == "inbound" {
			peer = c.Caller
		}
		return &web.Call{ID: c.ID, State: c.State, Direction: c.Direction, Peer: peer, Started: c.Started, Active: c.Answered}
	}
	return nil
}

// Watch implements web.Lab.
func (l *Lab) Watch(ctx context.Context) <-chan struct{} { return l.feed.watch(ctx) }

// Press implements web.Lab.
func (l *Lab) Press(ctx context.Context, device, button string) (web.Reply, error) {
	if !l.tokens.IsDevice(device) {
		return web.Reply{}, fmt.Errorf("%w: there is no device %q", web.ErrBadRequest, device)
	}
	return l.feed.press(ctx, device, button)
}
