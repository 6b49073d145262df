package voice

import (
	"slices"
	"testing"
)

// adaptive is an encoder that notes what it is told.
type adaptive struct {
	pcmCodec
	told []int // percent, and bit/s
}

func (*adaptive) Bitrate() int { return 32000 }

func (a *adaptive) SetBitrate(bps int) error {
	a.told = append(a.told, bps)
	return nil
}

func (a *adaptive) SetPacketLoss(percent int) error {
	a.told = append(a.told, percent)
	return nil
}

// TestSenderFollowsReports through loss that FEC mends, loss that only a lower rate helps, and back.
func TestSenderFollowsReports(t *testing.T) {
	enc := &adaptive{}
	s := NewSender(SenderConfig{Encoder: enc, Out: new(wire)})
	highest := uint32(1 << 17)
	seconds := func(n int, share float64) {
		for range n {
			highest += 50
			s.Report(uint8(share*256), highest)
			s.Report(uint8(share*256), highest) // as where a sender report and a receiver report say the same
			for range 50 {
				s.PushFrame(frameOf(1))
			}
		}
	}
	if seconds(60, 0); !slices.Equal(enc.told, []int{1, 0}) || s.TargetBitrate() != 32000 {
		t.Fatalf("a link that loses nothing: told %d, %d bit/s", enc.told, s.TargetBitrate())
	}
	if seconds(60, 0.05); !slices.Equal(enc.told, []int{1, 0, 1}) {
		t.Fatalf("at 5 %%: told %d, want 1 again", enc.told)
	}
	for range 1000 { // the sender rests: the far side repeats itself
		s.Report(0, highest)
		s.PushFrame(frameOf(0))
	}
	if len(enc.told) != 3 {
		t.Fatalf("reports that know of no packet more: told %d", enc.told)
	}
	if seconds(120, 0.5); s.TargetBitrate() < 15500 || s.TargetBitrate() > 16500 {
		t.Fatalf("at half lost: %d bit/s, told %d", s.TargetBitrate(), enc.told)
	}
	if !slices.Contains(enc.told, 10) {
		t.Fatalf("at a lower rate FEC needs more: told %d", enc.told)
	}
	if seconds(300, 0); s.TargetBitrate() != 32000 || enc.told[len(enc.told)-1] != 0 {
		t.Fatalf("well again: %d bit/s, told %d", s.TargetBitrate(), enc.told)
	}
	// Another encoder is told what is known.
	seconds(60, 0.05)
	other := &adaptive{}
	s.SetEncoder(other)
	s.PushFrame(frameOf(1))
	if !slices.Equal(other.told, []int{1}) {
		t.Errorf("the next encoder was told %d", other.told)
	}
	s.SetEncoder(new(pcmCodec))
	s.PushFrame(frameOf(1))
	if s.TargetBitrate() != 0 {
		t.Errorf("an encoder of one rate: %d bit/s", s.TargetBitrate())
	}
}
