package quality

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

const (
	wireOutbound = `"packetsSent":50,"bytesSent":4000,"headerBytesSent":600,"nackCount":1,"totalPacketSendDelay":0.1,
		"targetBitrate":32000,"active":true,"codec":` + wireCodec
	wireInbound = `"packetsReceived":49,"bytesReceived":3920,"packetsLost":1,"jitter":0.004,"codec":` + wireCodec + `,
		"jitterBufferDelay":1920,"jitterBufferTargetDelay":1900,"jitterBufferMinimumDelay":960,
		"jitterBufferEmittedCount":48000,"totalSamplesReceived":48000,"concealedSamples":960,"silentConcealedSamples":10,
		"concealmentEvents":1,"insertedSamplesForDeceleration":5,"removedSamplesForAcceleration":6,"fecPacketsReceived":1,
		"fecPacketsDiscarded":2,"packetsDiscarded":3,"totalProcessingDelay":1.5,"totalAudioEnergy":0.01,
		"totalSamplesDuration":1,"burstRatio":1.5`
	wireCodec = `{"codecId":"opus-111","mimeType":"audio/opus","clockRate":48000,"channels":2,"payloadType":111,
		"sdpFmtpLine":"minptime=10;useinbandfec=1"}`
	wireRemoteIn = `{"packetsReceived":48,"packetsLost":2,"fractionLost":0.04,"jitter":2,"roundTripTime":0.08,
		"totalRoundTripTime":0.16,"roundTripTimeMeasurements":2}`
	wireRemoteOut = `{"packetsSent":50,"bytesSent":4000,"reportsSent":2,"remoteTimestamp":"2026-11-21T09:00:00Z"}`
	wireLocal     = `"candidateType":"relay","protocol":"udp","address":"192.0.2.7","port":50000,
		"url":"turns:turn.example.com","networkType":"wifi"`
	wireRemote = `{"candidateType":"host","protocol":"udp","address":"198.51.100.1","port":40000,"url":"x","networkType":"y"}`
	wirePath   = `{"local":{` + wireLocal + `},"remote":` + wireRemote + `,"relayProtocol":"tls","policy":"relay","why":"asked",
		"currentRoundTripTime":0.02,"dtlsState":"connected","iceState":"connected","srtpCipher":"AEAD_AES_128_GCM",
		"tlsVersion":"FEFD","selectedCandidatePairChanges":1}`

	wireReport = `{
	"summary":{"callId":"c1","destinationNumber":"concierge","callerNumber":"door1","direction":"outbound","state":"destroy",
		"telnyxSessionId":"s1","telnyxLegId":"l1","sdkVersion":"sidetone 0.1","startTimestamp":"2026-11-21T08:59:59Z",
		"activeTimestamp":"2026-11-21T09:00:00Z","endTimestamp":"2026-11-21T09:00:03Z","durationSeconds":3,
		"cause":"NORMAL_CLEARING","causeCode":16,"sipCode":200,"sipReason":"OK","clientSummary":{"media":{"policy":"all"}}},
	"stats":[{"intervalStartUtc":"2026-11-21T09:00:00Z","intervalEndUtc":"2026-11-21T09:00:01Z",
		"audio":{
			"outbound":{` + wireOutbound + `,"mediaSource":{"totalAudioEnergy":0.04,"totalSamplesDuration":1},
				"localTrack":{"kind":"audio","enabled":true},"audioLevelAvg":0.2,"bitrateAvg":32000},
			"inbound":{` + wireInbound + `,"audioLevelAvg":0.1,"bitrateAvg":31360,"jitterAvg":4}},
		"connection":{"roundTripTimeAvg":0.08,"currentRoundTripTime":0.02,"roundTripTimeSource":"remote-inbound-rtp",
			"packetsSent":60,"packetsReceived":61,"bytesSent":5000,"bytesReceived":5001},
		"ice":{"id":"p1","localCandidateId":"a","remoteCandidateId":"b","state":"succeeded","nominated":true,"requestsSent":1,
			"requestsReceived":2,"responsesSent":3,"responsesReceived":4,
			"local":{` + wireLocal + `,"relayProtocol":"tls"},"remote":` + wireRemote + `},
		"transport":{"iceState":"connected","dtlsState":"connected","srtpCipher":"AEAD_AES_128_GCM","tlsVersion":"FEFD",
			"selectedCandidatePairChanges":1},
		"mediaPlayout":{"kind":"audio","totalSamplesDuration":1,"totalSamplesCount":48000},
		"remoteRtcp":{"inbound":` + wireRemoteIn + `,"outbound":` + wireRemoteOut + `},
		"soundDevice":{"overruns":1,"underruns":2,"reopened":3}}],
	"logs":[{"timestamp":"2026-11-21T09:00:00Z","level":"info","message":"state active","context":{"cause":"x"}}],
	"segment":1,
	"flushReason":{"type":"socket-close","socketClose":{"code":1006,"codeName":"ABNORMAL_CLOSURE","reason":"gone",
		"wasClean":true,"error":"EOF"}},
	"timeline":[{"event":"active","ts":"2026-11-21T09:00:00Z","t_ms":1000}],
	"quality":{"model":"G.107","version":"1","r_factor":84.3,"mos":4.2,"mos_telnyx":3.6,"ta_ms":109,"rtt_ms":65,
		"jitter_ms":4,"buffer_delay_ms":40,"device_delay_ms":10,"packet_delay_ms":20,"codec_delay_ms":6.5,"ppl":2,
		"burst_r":1.5,"bpl":20,"ie":1,"network_loss":2,"seconds":3},
	"path":` + wirePath + `,
	"warnings":[{"code":31001,"name":"HIGH_RTT","message":"slow","ts":"2026-11-21T09:00:02Z"}],
	"warningsDropped":1}`

	wireFrame = `{"ts":"2026-11-21T09:00:00Z","jitter":0.004,"rtt":0.08,"mos":4.2,"quality":"good",
		"inboundAudio":{` + wireInbound + `,"audioLevel":0.1},"outboundAudio":{` + wireOutbound + `,"audioLevel":0.2},
		"remoteInboundAudio":` + wireRemoteIn + `,"remoteOutboundAudio":` + wireRemoteOut + `,"path":` + wirePath + `}`
)

// The report and the stats frame against texts written by hand: all that stands there is read, all of the structures is
// there, and what is written again is the same.
func TestWire(t *testing.T) {
	for text, into := range map[string]any{wireReport: new(Report), wireFrame: new(Frame)} {
		in := json.NewDecoder(bytes.NewReader([]byte(text)))
		in.DisallowUnknownFields()
		if err := in.Decode(into); err != nil {
			t.Errorf("%T: %v", into, err)
			continue
		}
		v := reflect.ValueOf(into).Elem()
		whole(t, v, v.Type().Name())
		out, err := json.Marshal(into)
		if err != nil {
			t.Errorf("%T: %v", into, err)
			continue
		}
		var want, got any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(want, got) {
			t.Errorf("%T is written as\n%s\nwant\n%s", into, out, text)
		}
	}
}

// whole checks that every field with a JSON name was read.
func whole(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			whole(t, v.Elem(), path)
		}
	case reflect.Slice:
		for i := range v.Len() {
			if v.Type().Elem().Kind() == reflect.Struct {
				whole(t, v.Index(i), path)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			switch {
			case f.Anonymous:
			case f.Tag.Get("json") == "" || f.Tag.Get("json") == "-":
				continue
			case v.Field(i).IsZero():
				t.Errorf("%s.%s is not in the text of this test: put it there", path, f.Name)
			}
			whole(t, v.Field(i), path+"."+f.Name)
		}
	}
}
