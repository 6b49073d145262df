package playout

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"math"
	"slices"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"
	"sidetone/rtc/quality"
)

// Result is what a run measured. Shares are of all samples heard from the first packet's playout to the last's.
type Result struct {
	// BufferDelay is from a packet's arrival to its samples leaving the buffer, over the samples emitted by the decoder,
	// as webrtc-stats has it.
	BufferDelay struct {
		Mean float64 `json:"mean"`
		P95  float64 `json:"p95"`
	} `json:"buffer_delay_ms"`
	// DelayOverFastest is how much later the emitted samples are than if each packet had taken as long as the fastest.
	DelayOverFastest float64 `json:"delay_over_fastest_ms"`
	// Concealed is what came from no packet.
	Concealed float64 `json:"concealed_share"`
	// Stretched is what time stretching put in and took out.
	Stretched float64 `json:"stretched_share"`
	// FECRecovered is what came from the packet after.
	FECRecovered float64 `json:"fec_recovered_share"`
	// Quality is audiotest.CompareQuality's score of what was heard, 1 to 4.5.
	Quality float64 `json:"quality"`
	// Conversational is quality.Conversational of that, with the mean delay from capture to playout.
	Conversational float64 `json:"conversational"`
	// CPU is what encoding, buffering and decoding took, in ms of one core for a second of the call.
	CPU float64 `json:"cpu_ms_per_s"`

	// Aligned is the same as DelayOverFastest, but measured by aligning what was heard with what was spoken.
	Aligned float64 `json:"aligned_delay_over_fastest_ms"`
	// Target is the mean of the delay that the buffer aimed at.
	Target float64 `json:"target_ms"`
	// Stats are the receiver's own counters at the end of the run.
	Stats   audio.PlayoutStats `json:"stats"`
	Lost    float64            `json:"lost_share"` // of the packets sent: never came
	Seconds float64            `json:"seconds"`
	// DecisionsSHA256 and PCMSHA256 tell whether two runs decided the same, and sounded the same.
	DecisionsSHA256 string `json:"decisions_sha256"`
	PCMSHA256       string `json:"pcm_sha256"`

	Heard []int16 `json:"-"` // from the moment on at which the first packet was sent
	Log   Log     `json:"-"`
}

// meter adds up the decisions of a run.
type meter struct {
	sums, end sums          // so far, and when a packet's sound was played last
	waits     map[int]int   // samples that came out of the decoder, by how long they had waited, in ms/10
	last      time.Duration // when a packet's sound was played last; 0: never
	heard     int           // samples from the first packet's sending to then
}

// sums are in samples, and in ms times samples.
type sums struct {
	played, concealed, stretched, recovered, emitted int
	waited, delay, target                            float64
}

func (m *meter) count(d Decision) {
	s := &m.sums
	ms := func(t time.Duration, n int) float64 { return float64(t) / float64(time.Millisecond) * float64(n) }
	switch d.Kind {
	case "decode", "fec":
		n := d.Samples - d.Stretch // that the decoder made
		s.emitted += n
		s.waited += ms(d.Waited, n)
		s.delay += ms(d.Delay, n)
		s.target += ms(d.Target, n)
		m.waits[int(d.Waited/(100*time.Microsecond))] += n
		s.stretched += max(d.Stretch, -d.Stretch)
		if d.Kind == "fec" {
			s.recovered += n
		}
		s.played += d.Samples
		m.end, m.last = *s, d.At
		m.heard = int(d.At*audio.SampleRate/time.Second) + d.Samples
	default:
		if m.last > 0 {
			s.played += d.Samples
			s.concealed += d.Samples
		}
	}
}

// quantile of the time waited over the samples emitted, in ms.
func (m *meter) quantile(q float64) float64 {
	sum := 0
	waits := slices.Sorted(maps.Keys(m.waits))
	for _, w := range waits {
		if sum += m.waits[w]; float64(sum) >= q*float64(m.end.emitted) {
			return float64(w) / 10
		}
	}
	return 0
}

// result makes the figures.
func (m *meter) result(s audio.PlayoutStats) *Result {
	r := new(Result)
	share := func(n int) float64 { return round(float64(n) / float64(max(m.end.played, 1))) }
	mean := func(v float64) float64 { return round(v / float64(max(m.end.emitted, 1))) }
	r.BufferDelay.Mean, r.BufferDelay.P95 = mean(m.end.waited), m.quantile(0.95)
	r.DelayOverFastest, r.Target = mean(m.end.delay), mean(m.end.target)
	r.Concealed, r.Stretched, r.FECRecovered = share(m.end.concealed), share(m.end.stretched), share(m.end.recovered)
	r.Stats = s
	return r
}

// hear takes what was heard.
func (r *Result) hear(pcm []int16) {
	r.Heard = pcm
	hash := sha256.New()
	for _, v := range pcm {
		hash.Write([]byte{byte(v), byte(uint16(v) >> 8)})
	}
	r.PCMSHA256 = hex.EncodeToString(hash.Sum(nil))
}

// score compares what was heard with what was spoken, through a codec that looks that many samples ahead.
func (r *Result) score(spoken []int16, fastest time.Duration, lookAhead int) {
	q := audiotest.CompareQuality(spoken, r.Heard)
	r.Quality = round(q.Score)
	codec := time.Duration(lookAhead) * time.Second / audio.SampleRate
	r.Aligned = round(float64(q.Delay-codec-fastest) / float64(time.Millisecond))
	delay := fastest + time.Duration(r.DelayOverFastest*float64(time.Millisecond))
	r.Conversational = round(quality.Conversational(q.Score, delay))
}

// round leaves what is worth printing.
func round(v float64) float64 { return math.Round(v*1e5) / 1e5 }
