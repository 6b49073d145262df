package media

import (
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// readReports reads the RTCP that is about our stream, until the stream ends, and tells what it says of loss.
func (s *Session) readReports(from *webrtc.RTPSender) {
	buf := make([]byte, receiveMTU)
	for {
		n, _, err := from.Read(buf)
		if err != nil {
			return
		}
		if s.cfg.Reported == nil || s.standby.Load() {
			continue
		}
		packets, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			continue // what it cannot be is no report
		}
		ssrc, _, _, _ := s.track.bound()
		for _, p := range packets {
			for _, r := range receptions(p) {
				if r.SSRC == ssrc {
					s.cfg.Reported(r.FractionLost, r.LastSequenceNumber)
				}
			}
		}
	}
}

// receptions are the report blocks of a packet: a far side that sends, too, puts them into its sender reports.
func receptions(p rtcp.Packet) []rtcp.ReceptionReport {
	switch p := p.(type) {
	case *rtcp.ReceiverReport:
		return p.Reports
	case *rtcp.SenderReport:
		return p.Reports
	}
	return nil
}
