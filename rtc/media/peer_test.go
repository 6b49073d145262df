package media

import (
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"sidetone/audio"
)

// heard keeps what came in.
type heard struct {
	mu      sync.Mutex
	packets []rtp.Packet
}

func (h *heard) PushRTP(p *rtp.Packet, _ time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	q := *p
	q.Payload = slices.Clone(p.Payload)
	h.packets = append(h.packets, q)
}

func (h *heard) PlayoutStats() audio.PlayoutStats {
	return audio.PlayoutStats{TotalSamplesReceived: uint64(h.count()) * audio.FrameSamples}
}

func (h *heard) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.packets)
}

// peer is one session and what it was told.
type peer struct {
	*Session
	heard  *heard
	events chan Event
}

func newPeer(t *testing.T, c Config, edit ...func(*SessionConfig)) *peer {
	t.Helper()
	c.Logger = testLog(t)
	e, err := NewEngine(c)
	must(t, err)
	p := &peer{heard: &heard{}, events: make(chan Event, 256)}
	sc := SessionConfig{Receiver: p.heard, Notify: func(e Event) { p.events <- e }}
	for _, f := range edit {
		f(&sc)
	}
	p.Session, err = e.NewSession(sc)
	must(t, err)
	t.Cleanup(func() {
		p.Close()
		<-p.ended
	})
	return p
}

func (p *peer) expect(t *testing.T, kind EventKind) Event {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case e := <-p.events:
			if e.Kind == kind {
				return e
			}
			if e.Kind == Failed {
				t.Fatalf("failed while waiting for %s: %v", kind, e.Err)
			}
		case <-limit:
			t.Fatalf("no %s within 20 s", kind)
		}
	}
}

// call connects a, which offers, to b, passing the SDPs through edit.
func call(t *testing.T, a, b *peer, edit func(string) string) (offer, answer string, took time.Duration) {
	t.Helper()
	if edit == nil {
		edit = func(s string) string { return s }
	}
	ctx := t.Context()
	start := time.Now()
	offer, err := a.Offer(ctx)
	must(t, err)
	answer, err = b.Answer(ctx, edit(offer))
	must(t, err)
	must(t, a.SetAnswer(edit(answer)))
	e := a.expect(t, Connected)
	took = e.Time.Sub(start)
	b.expect(t, Connected)
	return offer, answer, took
}

// talk sends n packets of sound, 20 ms each of RTP time, and returns how many were taken.
func talk(p *peer, n int, from uint16) {
	for i := range n {
		seq := from + uint16(i)
		p.WriteRTP(&rtp.Packet{
			Header:  rtp.Header{Version: 2, Marker: i == 0, SequenceNumber: seq, Timestamp: uint32(seq) * audio.FrameSamples},
			Payload: []byte{byte(seq >> 8), byte(seq), 1, 2, 3},
		})
		time.Sleep(5 * time.Millisecond)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 20 s: %s", what)
}

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

var loopback = Config{Loopback: true}
