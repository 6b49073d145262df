//go:build trace

package e2e_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidetone/audio/audiotest"

	"github.com/pion/stun/v4"
)

// tracedRelay stands before a TURN server as a network that carries what the server sends as a schedule says: the n-th
// packet of sound as the n-th row, which takes more than that by a constant. All else passes at once: TURN's own talk and,
// inside it, STUN, DTLS and RTCP; and whatever the client sends.
type tracedRelay struct {
	listener *net.UDPConn
	server   *net.UDPAddr
	schedule audiotest.Schedule
	more     time.Duration
	played   atomic.Int64 // packets of sound that the schedule was asked about
	wg       sync.WaitGroup
}

// startTracedRelay brings one up until the test ends.
func startTracedRelay(t *testing.T, server netip.AddrPort, s audiotest.Schedule, more time.Duration) *tracedRelay {
	t.Helper()
	listener, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	r := &tracedRelay{listener: listener, server: net.UDPAddrFromAddrPort(server), schedule: s, more: more}
	ctx, cancel := context.WithCancel(context.Background())
	r.wg.Go(func() { r.forward(ctx, t) })
	t.Cleanup(func() { cancel(); listener.Close(); r.wg.Wait() })
	return r
}

// url is where a device finds the server behind it.
func (r *tracedRelay) url() string {
	return fmt.Sprintf("turn:%s?transport=udp", r.listener.LocalAddr())
}

// forward passes on what clients send, each by a socket of its own.
func (r *tracedRelay) forward(ctx context.Context, t *testing.T) {
	up := map[netip.AddrPort]*net.UDPConn{}
	defer func() {
		for _, c := range up {
			c.Close()
		}
	}()
	buf := make([]byte, 1<<16)
	for {
		n, client, err := r.listener.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of a client that is gone
		}
		c := up[client]
		if c == nil {
			if c, err = net.DialUDP("udp4", nil, r.server); err != nil {
				t.Errorf("to the TURN server: %v", err)
				return
			}
			up[client] = c
			down := make(chan late, 1024)
			r.wg.Go(func() { r.back(c, client, down) })
			r.wg.Go(func() { r.deliver(ctx, client, down) })
		}
		c.Write(buf[:n])
	}
}

// late is a packet and when it is to be there.
type late struct {
	due    time.Time
	packet []byte
}

// back reads what the server sends to a client.
func (r *tracedRelay) back(c *net.UDPConn, client netip.AddrPort, down chan<- late) {
	defer close(down)
	buf := make([]byte, 1<<16)
	var begin time.Time // when the first packet was sent, by the one that took the least time to get here
	for n := 0; ; {
		size, err := c.Read(buf)
		if err != nil {
			return
		}
		if !isSound(inTURN(buf[:size])) {
			r.listener.WriteToUDPAddrPort(buf[:size], client)
			continue
		}
		r.played.Add(1)
		if n == len(r.schedule) {
			continue
		}
		row := r.schedule[n]
		n++
		sent := row.Sent - r.schedule[0].Sent
		if b := time.Now().Add(-sent); begin.IsZero() || b.Before(begin) {
			begin = b
		}
		if row.Delay >= 0 {
			down <- late{begin.Add(sent + row.Delay + r.more), slices.Clone(buf[:size])}
		}
	}
}

// deliver sends packets on when they are due, the first due first.
func (r *tracedRelay) deliver(ctx context.Context, client netip.AddrPort, down <-chan late) {
	var waiting []late // by due
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		for len(waiting) > 0 && !time.Now().Before(waiting[0].due) {
			r.listener.WriteToUDPAddrPort(waiting[0].packet, client)
			waiting = waiting[1:]
		}
		if len(waiting) > 0 {
			timer.Reset(time.Until(waiting[0].due))
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case p, ok := <-down:
			if !ok {
				return
			}
			i, _ := slices.BinarySearchFunc(waiting, p, func(a, b late) int {
				if a.due.After(b.due) {
					return 1
				}
				return -1 // of two that are due at once the first to come
			})
			waiting = slices.Insert(waiting, i, p)
		}
	}
}

// inTURN gives what a packet of a TURN server carries for the client: the data of ChannelData (RFC 8656, section 12.4) or
// of a Data indication (11.4); nil when it is the server's own word.
func inTURN(b []byte) []byte {
	if len(b) >= 4 && b[0] >= 0x40 && b[0] <= 0x4f {
		return b[4:min(4+int(binary.BigEndian.Uint16(b[2:])), len(b))]
	}
	m := stun.Message{Raw: b}
	if !stun.IsMessage(b) || m.Decode() != nil || m.Type != stun.NewType(stun.MethodData, stun.ClassIndication) {
		return nil
	}
	data, err := m.Get(stun.AttrData)
	if err != nil {
		return nil
	}
	return data
}

// isSound tells RTP from STUN and DTLS by its first byte (RFC 7983), and from RTCP by its second (RFC 5761, section 4).
func isSound(b []byte) bool {
	return len(b) >= 12 && b[0] >= 128 && b[0] <= 191 && (b[1] < 192 || b[1] > 223)
}
