package voice

import (
	"testing"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"
	"sidetone/audio/opus"

	"github.com/pion/rtp"
)

// keep keeps the packets of a sender.
type keep struct{ packets []*rtp.Packet }

func (k *keep) WriteRTP(p *rtp.Packet) bool {
	q := *p
	q.Payload = append([]byte(nil), p.Payload...)
	k.packets = append(k.packets, &q)
	return true
}

// encoded is pcm as packets of Opus.
func encoded(t testing.TB, pcm []int16, c opus.Config) []*rtp.Packet {
	enc, err := opus.NewEncoder(c)
	if err != nil {
		t.Fatal(err)
	}
	var k keep
	s := NewSender(SenderConfig{Encoder: enc, Out: &k})
	for ; len(pcm) >= audio.FrameSamples; pcm = pcm[audio.FrameSamples:] {
		s.PushFrame((*audio.Frame)(pcm))
	}
	return k.packets
}

// listen plays packets as a trace brings them, in virtual time, and gives what is heard from the moment on at which the
// first packet is sent.
func listen(t testing.TB, trace []audiotest.Packet, packets []*rtp.Packet) ([]int16, audio.PlayoutStats) {
	dec, err := opus.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Unix(1e9, 0)
	now := start
	r := NewReceiver(ReceiverConfig{Decoder: dec, Now: func() time.Time { return now }})
	var heard []int16
	var f audio.Frame
	for at := time.Duration(0); len(trace) > 0; at += audio.FrameDuration {
		for len(trace) > 0 && trace[0].At <= at {
			if seq := trace[0].Seq; seq < len(packets) {
				now = start.Add(trace[0].At)
				r.PushRTP(packets[seq], now)
			}
			trace = trace[1:]
		}
		now = start.Add(at)
		r.PullFrame(&f)
		heard = append(heard, f[:]...)
	}
	return heard, r.PlayoutStats()
}

// speech is the committed recording, again and again.
func speech(t testing.TB, d time.Duration) []int16 {
	once, rate, err := audiotest.ReadWAV("../audiotest/testdata/speech.wav")
	if err != nil || rate != audio.SampleRate {
		t.Fatal(rate, err)
	}
	var pcm []int16
	for len(pcm) < int(d/time.Second)*audio.SampleRate {
		pcm = append(pcm, once...)
	}
	return pcm[:int(d/time.Second)*audio.SampleRate]
}

func TestTracesWithOpus(t *testing.T) {
	const ms = time.Millisecond
	in := speech(t, time.Minute)
	plain := encoded(t, in, opus.Config{Bitrate: 32000, Complexity: 9})
	fec := encoded(t, in, opus.Config{Bitrate: 32000, Complexity: 9, FEC: true, PacketLossPercent: 5})
	tests := []struct {
		trace     string
		packets   []*rtp.Packet
		concealed float64 // share, at most
		delay     time.Duration
	}{
		{"clean", plain, 0, 20 * ms},
		{"clean", fec, 0, 20 * ms},
		{"loss5", plain, 0.05, 20 * ms},
		{"loss5", fec, 0.02, 40 * ms},
		{"burst", plain, 0.142, 20 * ms},
		{"jitter30", plain, 0.003, 100 * ms},
		{"wifi", plain, 0.013, 160 * ms},
	}
	for _, tt := range tests {
		trace, err := audiotest.ReadTrace("../audiotest/testdata/traces/" + tt.trace + ".csv")
		if err != nil {
			t.Fatal(err)
		}
		heard, s := listen(t, trace, tt.packets)
		concealed := float64(s.ConcealedSamples) / float64(s.TotalSamplesReceived)
		delay := time.Duration(s.JitterBufferDelay / float64(s.JitterBufferEmittedCount) * float64(time.Second))
		name := tt.trace
		if &tt.packets[0] == &fec[0] {
			name += " with FEC"
		}
		t.Logf("%s: delay %v, concealed %.2f %% in %d events, BurstR %.2f, FEC used %d, discarded %d, inserted %d ms, removed %d ms", name,
			delay.Round(ms), 100*concealed, s.ConcealmentEvents, s.BurstRatio, s.FECPacketsReceived-s.FECPacketsDiscarded,
			s.PacketsDiscarded, s.InsertedSamplesForDeceleration/48, s.RemovedSamplesForAcceleration/48)
		if concealed > tt.concealed || delay > tt.delay {
			t.Errorf("%s: out of bounds", name)
		}
		if tt.trace == "clean" || tt.trace == "loss5" {
			// Before the delay is lowered, all of it is late by the same time.
			n := 11 * audio.SampleRate
			r := audiotest.CompareSpeech(in[:n], heard[:n])
			t.Logf("%s: %v", name, r)
			if err := r.Err(); err != nil && tt.trace == "clean" {
				t.Errorf("%s: %v", name, err)
			}
			if r.Lag < 36*ms || r.Lag > 80*ms {
				t.Errorf("%s: lag %v", name, r.Lag)
			}
		}
		if level := audiotest.LevelDifference(in, heard); level < -1.5 || level > 1.5 {
			t.Errorf("%s: level changed by %.1f dB", name, level)
		}
	}
}

// A round trip through the codec alone is the same speech to the comparison that the product is judged by.
func TestOpusPassesTheComparison(t *testing.T) {
	for _, in := range [][]int16{speech(t, 8*time.Second), audiotest.Speech(1, 8*time.Second)} {
		dec, err := opus.NewDecoder()
		if err != nil {
			t.Fatal(err)
		}
		var out []int16
		pcm := make([]int16, maxSamples)
		for _, p := range encoded(t, in, opus.Config{Bitrate: 32000, Complexity: 5}) {
			n, err := dec.Decode(p.Payload, pcm)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, pcm[:n]...)
		}
		r := audiotest.CompareSpeech(in, out)
		if err := r.Err(); err != nil {
			t.Error(err)
		}
		t.Log(r)
	}
}

func BenchmarkReceiverPull(b *testing.B) {
	b.ReportAllocs()
	packets := encoded(b, audiotest.Speech(1, time.Second), opus.Config{Complexity: 5})
	dec, err := opus.NewDecoder()
	if err != nil {
		b.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	r := NewReceiver(ReceiverConfig{Decoder: dec, Now: func() time.Time { return now }})
	var p rtp.Packet
	var f audio.Frame
	for b.Loop() {
		p.Payload = packets[int(p.SequenceNumber)%len(packets)].Payload
		r.PushRTP(&p, now)
		r.PullFrame(&f)
		p.SequenceNumber++
		p.Timestamp += 960
		now = now.Add(audio.FrameDuration)
	}
}

func BenchmarkSenderPush(b *testing.B) {
	b.ReportAllocs()
	enc, err := opus.NewEncoder(opus.Config{Bitrate: 32000, Complexity: 5})
	if err != nil {
		b.Fatal(err)
	}
	pcm := audiotest.Speech(1, 10*time.Second)
	s := NewSender(SenderConfig{Encoder: enc, Out: nowhere{}})
	for i := 0; b.Loop(); i += audio.FrameSamples {
		s.PushFrame((*audio.Frame)(pcm[i%(len(pcm)-audio.FrameSamples)/960*960:]))
	}
}
