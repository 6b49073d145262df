package report

import (
	"math"
	"testing"
)

const sample = `{
 "summary": {"callId":"c1","direction":"outbound","destinationNumber":"concierge","durationSeconds":10.02,
  "endTimestamp":"2026-03-01T12:00:10Z","cause":"NORMAL_CLEARING","causeCode":16},
 "stats": [
  {"audio":{"inbound":{"packetsReceived":50,"packetsLost":0,"jitterAvg":2,"jitterBufferDelay":480,"jitterBufferEmittedCount":24000,
    "totalSamplesReceived":48000,"concealedSamples":0,"codec":{"mimeType":"audio/opus","clockRate":48000,"channels":2}}},
   "connection":{"roundTripTimeAvg":0.004}},
  {"audio":{"inbound":{"packetsReceived":99,"packetsLost":1,"jitterAvg":4,"jitterBufferDelay":1920,"jitterBufferEmittedCount":48000,
    "totalSamplesReceived":96000,"concealedSamples":960}},
   "connection":{"roundTripTimeAvg":0.006}}],
 "quality": {"r_factor":90.1,"mos":4.32},
 "path": {"local":{"candidateType":"relay","protocol":"udp"},"relayProtocol":"tls"}
}`

func TestParse(t *testing.T) {
	r, err := Parse([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	if r.CallID != "c1" || r.Destination != "concierge" || r.Seconds != 10.02 || r.Cause != "NORMAL_CLEARING" || r.CauseCode != 16 || r.Ended == nil {
		t.Errorf("summary: %+v", r)
	}
	if r.Codec != "opus/48000/2" || r.Path != "relay over tls" {
		t.Errorf("codec %q, path %q", r.Codec, r.Path)
	}
	for name, c := range map[string]struct {
		got  *float64
		want float64
	}{
		"MOS": {r.MOS, 4.32}, "R": {r.RFactor, 90.1}, "RTT": {r.RTT, 5}, "jitter": {r.Jitter, 3},
		"loss": {r.Loss, 1}, "concealed": {r.Concealed, 1}, "buffer": {r.Buffer, 40},
	} {
		if c.got == nil || math.Abs(*c.got-c.want) > 1e-9 {
			t.Errorf("%s is %v, want %v", name, c.got, c.want)
		}
	}
}

// TestNothingIsInvented: a call without media has no figures.
func TestNothingIsInvented(t *testing.T) {
	r, err := Parse([]byte(`{"summary":{"callId":"c1","durationSeconds":0},"stats":[{},{"audio":{"inbound":{"packetsReceived":0,"packetsLost":0}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if r.MOS != nil || r.RFactor != nil || r.RTT != nil || r.Jitter != nil || r.Loss != nil || r.Concealed != nil || r.Buffer != nil || r.Path != "" || r.Codec != "" {
		t.Errorf("%+v", r)
	}
	if _, err := Parse([]byte("{")); err == nil {
		t.Error("half an object was taken")
	}
}
