package media

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/interceptor/pkg/stats"
	"github.com/pion/webrtc/v4"

	"sidetone/rtc/quality"
)

// probeLimit is how long Sample waits for pion, whose statistics stand still with its agent on a dead TCP path.
const probeLimit = 100 * time.Millisecond

// probe asks pion for statistics, one question at a time, and remembers the last answer.
type probe struct {
	pc   *webrtc.PeerConnection
	dtls *webrtc.DTLSTransport

	mu       sync.Mutex
	recorder stats.Getter
	asking   chan struct{} // closed when the question under way is answered; nil when there is none
	last     probeResult
}

type probeResult struct {
	path           *quality.Path
	pair           *quality.Pair
	traffic        *quality.Traffic
	codecs         []webrtc.CodecStats
	remote         *quality.RemoteInbound
	remoteOutbound *quality.RemoteOutbound
}

func (p *probe) init(pc *webrtc.PeerConnection, d *webrtc.DTLSTransport) { p.pc, p.dtls = pc, d }

func (p *probe) setRecorder(g stats.Getter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recorder = g
}

// ask returns pion's statistics, the last known ones when it takes too long.
func (p *probe) ask(s *Session) probeResult {
	p.mu.Lock()
	if p.asking == nil {
		done := make(chan struct{})
		p.asking = done
		go func() { // ends with the peer connection at the latest
			r := p.measure(s)
			p.mu.Lock()
			p.last, p.asking = r, nil
			p.mu.Unlock()
			close(done)
		}()
	}
	asking := p.asking
	p.mu.Unlock()
	t := time.NewTimer(probeLimit)
	defer t.Stop()
	select {
	case <-asking:
	case <-t.C:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// wait returns when no question is under way.
func (p *probe) wait() {
	p.mu.Lock()
	asking := p.asking
	p.mu.Unlock()
	if asking != nil {
		<-asking
	}
}

func (p *probe) measure(s *Session) probeResult {
	r := probeResult{}
	r.remote, r.remoteOutbound = p.remoteInbound(s), p.remoteOutbound(s)
	report := p.pc.GetStats()
	for _, st := range report {
		if c, ok := st.(webrtc.CodecStats); ok {
			r.codecs = append(r.codecs, c)
		}
	}
	s.path(report, &r)
	// When pion closes, as at the far side's good-bye, it names the way still, but tells nothing of it.
	if r.pair == nil && p.last.pair != nil && sameWay(r.path, p.last.path) {
		r.path, r.pair, r.traffic = p.last.path, p.last.pair, p.last.traffic
	}
	return r
}

// recorded is what pion recorded of a stream; nil when that is nothing.
func (p *probe) recorded(ssrc uint32) *stats.Stats {
	p.mu.Lock()
	recorder := p.recorder
	p.mu.Unlock()
	if recorder == nil {
		return nil
	}
	return recorder.Get(ssrc)
}

// remoteInbound is what the far side's receiver reports say of our stream; nil before the first.
func (p *probe) remoteInbound(s *Session) *quality.RemoteInbound {
	ssrc, _, _, ok := s.track.bound()
	if !ok {
		return nil
	}
	all := p.recorded(ssrc)
	if all == nil {
		return nil
	}
	r := all.RemoteInboundRTPStreamStats
	if r.PacketsReceived == 0 && r.PacketsLost == 0 && r.Jitter == 0 && r.RoundTripTimeMeasurements == 0 {
		return nil
	}
	out := &quality.RemoteInbound{
		PacketsReceived: r.PacketsReceived, PacketsLost: r.PacketsLost, FractionLost: r.FractionLost, Jitter: &r.Jitter,
		TotalRoundTripTime: r.TotalRoundTripTime.Seconds(), RoundTripTimeMeasurements: r.RoundTripTimeMeasurements,
	}
	if r.RoundTripTimeMeasurements > 0 && r.RoundTripTime >= 0 {
		rtt := r.RoundTripTime.Seconds()
		out.RoundTripTime = &rtt
	}
	return out
}

// remoteOutbound is what the far side's sender reports say of its stream; nil before the first.
func (p *probe) remoteOutbound(s *Session) *quality.RemoteOutbound {
	all := p.recorded(s.in.ssrc())
	if all == nil || all.ReportsSent == 0 {
		return nil
	}
	r := all.RemoteOutboundRTPStreamStats
	return &quality.RemoteOutbound{
		PacketsSent: r.PacketsSent, BytesSent: r.BytesSent, ReportsSent: r.ReportsSent, RemoteTimestamp: r.RemoteTimeStamp.UTC(),
	}
}

// path finds the selected pair in pion's statistics, and leaves out alone before there is one.
func (s *Session) path(report webrtc.StatsReport, out *probeResult) {
	pair, err := s.probe.dtls.ICETransport().GetSelectedCandidatePair()
	if err != nil || pair == nil || pair.Local == nil || pair.Remote == nil {
		return
	}
	p := &quality.Path{
		Local: candidate(pair.Local), Remote: candidate(pair.Remote),
		Policy: s.policy, Changes: s.changes.Load(),
		DTLSState: s.probe.dtls.State().String(), ICEState: s.pc.ICEConnectionState().String(),
		SRTPCipher: srtpCipher(s.probe.dtls),
	}
	p.Local.NetworkType = networkType(pair.Local)
	if p.SRTPCipher != "" {
		p.TLSVersion = dtlsVersion
	}
	out.path = p
	var localID, remoteID string
	for _, st := range report {
		c, ok := st.(webrtc.ICECandidateStats)
		if !ok {
			continue
		}
		switch {
		case c.Type == webrtc.StatsTypeLocalCandidate && same(c, pair.Local):
			localID = c.ID
			if c.CandidateType == webrtc.ICECandidateTypeRelay {
				p.RelayProtocol = c.RelayProtocol
				p.Local.URL = s.plan.urlOf(c.RelayProtocol)
			}
		case c.Type == webrtc.StatsTypeRemoteCandidate && same(c, pair.Remote):
			remoteID = c.ID
		}
	}
	p.Why = s.why(pair.Local, p.RelayProtocol)
	for _, st := range report {
		c, ok := st.(webrtc.ICECandidatePairStats)
		if !ok || c.LocalCandidateID != localID || c.RemoteCandidateID != remoteID {
			continue
		}
		if c.ResponsesReceived > 0 {
			rtt := c.CurrentRoundTripTime
			p.RoundTripTime = &rtt
		}
		out.pair = &quality.Pair{
			ID: c.ID, LocalCandidateID: localID, RemoteCandidateID: remoteID, State: string(c.State), Nominated: c.Nominated,
			RequestsSent: c.RequestsSent, RequestsReceived: c.RequestsReceived,
			ResponsesSent: c.ResponsesSent, ResponsesReceived: c.ResponsesReceived,
		}
		out.traffic = &quality.Traffic{
			PacketsSent: uint64(c.PacketsSent), PacketsReceived: uint64(c.PacketsReceived),
			BytesSent: c.BytesSent, BytesReceived: c.BytesReceived,
		}
	}
}

// why says why a relay is in use, by that protocol; empty when none is.
func (s *Session) why(local *webrtc.ICECandidate, protocol string) string {
	switch {
	case s.cfg.Why != "":
		return s.cfg.Why
	case local.Typ != webrtc.ICECandidateTypeRelay:
		return ""
	case s.policy == PolicyRelay:
		return "the policy is relay"
	}
	better := "no direct way"
	for _, p := range relayOrder[:max(0, slices.Index(relayOrder, protocol))] {
		if s.plan.has(p) {
			better += " and no TURN over " + strings.ToUpper(p)
		}
	}
	return better + " answered sooner"
}

// relayOrder is which way to a TURN server is taken first where several work.
var relayOrder = []string{"udp", "dtls", "tcp", "tls"}

func same(s webrtc.ICECandidateStats, c *webrtc.ICECandidate) bool {
	return s.IP == c.Address && s.Port == int32(c.Port) && s.CandidateType == c.Typ
}

func sameWay(a, b *quality.Path) bool {
	return a != nil && b != nil && sameEnd(a.Local, b.Local) && sameEnd(a.Remote, b.Remote)
}

func sameEnd(a, b quality.Candidate) bool {
	return a.Address == b.Address && a.Port == b.Port && a.Protocol == b.Protocol
}

func candidate(c *webrtc.ICECandidate) quality.Candidate {
	return quality.Candidate{
		CandidateType: c.Typ.String(), Protocol: c.Protocol.String(), Address: c.Address, Port: int(c.Port),
	}
}

// sample puts together what pion, we and the playout know. Streams are absent until media connected once.
func (s *Session) sample(now time.Time) quality.Sample {
	out := quality.Sample{Time: now, Held: s.held.Load()}
	r := s.probe.ask(s)
	out.Path, out.Pair, out.Traffic = r.path, r.pair, r.traffic
	out.Remote, out.RemoteOutbound = r.remote, r.remoteOutbound
	if !s.connected.Load() {
		return out
	}
	out.Outbound, out.Inbound = s.outbound(r.codecs), s.inbound(r.codecs)
	return out
}

func (s *Session) outbound(codecs []webrtc.CodecStats) *quality.Outbound {
	o := &quality.Outbound{
		PacketsSent: s.track.packets.Load(), BytesSent: s.track.bytes.Load(), HeaderBytesSent: s.track.headers.Load(),
		TotalPacketSendDelay: time.Duration(s.track.waited.Load()).Seconds(), Active: s.Ready(),
	}
	if ssrc, c, _, ok := s.track.bound(); ok {
		o.Codec = codec(c, codecs)
		if r := s.probe.recorded(ssrc); r != nil {
			o.NackCount = r.OutboundRTPStreamStats.NACKCount
		}
	}
	if s.cfg.CaptureStats != nil {
		c := s.cfg.CaptureStats()
		o.TotalAudioEnergy, o.TotalSamplesDuration = c.TotalAudioEnergy, c.TotalSamplesDuration
	}
	return o
}

func (s *Session) inbound(codecs []webrtc.CodecStats) *quality.Inbound {
	in := &quality.Inbound{}
	var c webrtc.RTPCodecParameters
	in.PacketsReceived, in.BytesReceived, in.PacketsLost, in.Jitter, c = s.in.counts()
	in.Codec = codec(c, codecs)
	if s.cfg.Receiver == nil {
		return in
	}
	p := s.cfg.Receiver.PlayoutStats()
	in.JitterBufferDelay = p.JitterBufferDelay
	in.JitterBufferTargetDelay = p.JitterBufferTargetDelay
	in.JitterBufferMinimumDelay = p.JitterBufferMinimumDelay
	in.JitterBufferEmittedCount = p.JitterBufferEmittedCount
	in.TotalSamplesReceived = p.TotalSamplesReceived
	in.ConcealedSamples = p.ConcealedSamples
	in.SilentConcealedSamples = p.SilentConcealedSamples
	in.ConcealmentEvents = p.ConcealmentEvents
	in.InsertedSamplesForDeceleration = p.InsertedSamplesForDeceleration
	in.RemovedSamplesForAcceleration = p.RemovedSamplesForAcceleration
	in.FECPacketsReceived = p.FECPacketsReceived
	in.FECPacketsDiscarded = p.FECPacketsDiscarded
	in.PacketsDiscarded = p.PacketsDiscarded
	in.TotalProcessingDelay = p.TotalProcessingDelay
	in.TotalAudioEnergy = p.TotalAudioEnergy
	in.TotalSamplesDuration = p.TotalSamplesDuration
	in.BurstRatio = p.BurstRatio
	return in
}

// codec names c, with the id that pion's statistics have for it.
func codec(c webrtc.RTPCodecParameters, known []webrtc.CodecStats) *quality.Codec {
	if c.MimeType == "" {
		return nil
	}
	out := &quality.Codec{
		MimeType: c.MimeType, ClockRate: c.ClockRate, Channels: c.Channels,
		PayloadType: uint8(c.PayloadType), SDPFmtpLine: c.SDPFmtpLine,
	}
	for _, k := range known {
		if k.PayloadType == c.PayloadType && strings.EqualFold(k.MimeType, c.MimeType) {
			out.CodecID = k.ID
		}
	}
	return out
}
