package media

import (
	"testing"
	"time"

	"github.com/pion/rtp"

	"sidetone/audio"
)

// TestLossIsReported sends a stream of which each fourth packet is missing, and hears of that from the far side.
func TestLossIsReported(t *testing.T) {
	type report struct {
		fractionLost uint8
		highest      uint32
	}
	reports := make(chan report, 100)
	a := newPeer(t, Config{Loopback: true}, func(c *SessionConfig) {
		c.Reported = func(fractionLost uint8, highest uint32) { reports <- report{fractionLost, highest} }
	})
	b := newPeer(t, Config{Loopback: true})
	call(t, a, b, nil)
	limit := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for seq := uint16(65000); ; { // it wraps
		select {
		case <-tick.C:
			if seq++; seq%4 != 0 {
				a.WriteRTP(&rtp.Packet{
					Header:  rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: uint32(seq) * audio.FrameSamples},
					Payload: []byte{1, 2, 3},
				})
			}
		case r := <-reports:
			if r.fractionLost < 48 || r.fractionLost > 80 { // the first interval may be cut
				continue
			}
			if r.highest < 65000 || r.highest > 65000+100000 {
				t.Errorf("the highest that came is %d", r.highest)
			}
			if r.highest>>16 == 1 {
				return
			}
		case <-limit:
			t.Fatal("no report of a quarter lost after the sequence numbers wrapped")
		}
	}
}
