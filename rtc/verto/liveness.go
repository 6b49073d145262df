package verto

import (
	"net"
	"net/netip"
	"slices"
	"time"
)

// Timings of signs of life, as Telnyx's SDKs keep them. A connection that swallows everything is left 28 s after its
// last frame at the latest.
const (
	checkPeriod    = 3 * time.Second
	freshFrame     = 3 * time.Second  // a frame this new proves that the platform is there
	silenceLimit   = 20 * time.Second // without any frame: probe
	unansweredTime = 45 * time.Second // with no request of ours answered: probe
	probeTimeout   = 5 * time.Second
	changeTimeout  = 2 * time.Second // the same after a change of the network, when death is likely; ours
)

// ping asks the platform for a sign of life. One at a time is enough, however often it pings us.
func (l *line) ping(why purpose, timeout time.Duration) {
	for id, p := range l.pending {
		if p.purpose != forPing && p.purpose != forProbe {
			continue
		}
		// It is due no later than this one would be.
		if due := time.Now().Add(timeout); p.deadline.After(due) {
			p.purpose, p.deadline = why, due
			l.pending[id] = p
		}
		return
	}
	_ = l.request(Ping, l.bare(), pending{purpose: why, deadline: time.Now().Add(timeout)})
}

// pong answers a ping of the platform.
func (l *line) pong(f *Frame) {
	switch l.cfg.Pong {
	case PongEcho:
		_ = l.send(f)
	case PongResult:
		if reply, err := Reply(f, map[string]string{"method": f.Method}); err == nil {
			_ = l.send(reply)
		}
	default:
		l.ping(forPing, requestTimeout)
	}
}

// check looks whether the platform is still there.
func (l *line) check(now time.Time) {
	l.setAlarm(alarmCheck, checkPeriod)
	if len(l.queue) >= maxQueued {
		return // the silence is ours: see Events
	}
	if now.Sub(l.lastFrame) >= silenceLimit || now.Sub(l.lastAnswer) >= unansweredTime {
		l.ping(forProbe, probeTimeout)
	}
}

// healthy tells reply whether signalling is alive, at once or when a probe is answered or the line is lost.
func (l *line) healthy(reply func(bool)) {
	switch {
	case l.conn == nil || !l.loggedIn:
		reply(false)
	case time.Since(l.lastFrame) <= freshFrame && l.lastFrame.After(l.changed):
		reply(true)
	default:
		l.ping(forProbe, probeTimeout)
		if l.conn == nil { // it broke while we asked
			reply(false)
			return
		}
		l.waiting = append(l.waiting, reply)
	}
}

// heard notes a sign of life.
func (l *line) heard(alive bool) {
	if alive {
		l.lastFrame = time.Now()
	}
	waiting := l.waiting
	l.waiting = nil
	for _, reply := range waiting {
		reply(alive)
	}
}

// networkChanged doubts the connection: one whose own address is gone is replaced at once, another must show that it lives.
func (l *line) networkChanged(addresses []netip.Addr) {
	conn, ok := l.conn.(interface{ LocalAddr() net.Addr })
	switch {
	case l.conn == nil:
		l.renew("the network has changed")
	case ok && isGone(conn.LocalAddr(), addresses):
		l.raise(CodeRecovery, "the connection's own address is gone")
		l.renew("the connection's own address is gone")
	default:
		l.changed = time.Now()
		l.ping(forProbe, changeTimeout)
	}
}

// isGone tells whether an address was this machine's, and is not any more. Those that Addresses never has are not judged.
func isGone(addr net.Addr, addresses []netip.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	return ip.IsGlobalUnicast() && !slices.Contains(addresses, ip)
}
