package quality

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

var epoch = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

func p(x float64) *float64 { return &x }

// good is a call without a fault, n seconds old.
func good(n int) Sample {
	f := float64(n)
	return Sample{
		Time: epoch.Add(time.Duration(n) * time.Second),
		Outbound: &Outbound{
			PacketsSent: uint64(50 * n), BytesSent: uint64(4000 * n), TotalAudioEnergy: 0.04 * f, TotalSamplesDuration: f,
			Codec: &Codec{MimeType: "audio/opus", ClockRate: 48000, Channels: 2, PayloadType: 111},
		},
		Inbound: &Inbound{
			PacketsReceived: uint64(49 * n), BytesReceived: uint64(3920 * n), PacketsLost: 0, Jitter: p(0.004),
			JitterBufferDelay: 0.04 * 48000 * f, JitterBufferEmittedCount: uint64(48000 * n),
			TotalSamplesReceived: uint64(48000 * n), TotalAudioEnergy: 0.01 * f, TotalSamplesDuration: f, BurstRatio: 1,
		},
		Remote: &RemoteInbound{FractionLost: 0, Jitter: p(0.002), RoundTripTime: p(0.08)},
		Path: &Path{
			Local:         Candidate{CandidateType: "relay", Protocol: "udp", Address: "192.0.2.7", Port: 50000, URL: "turns:turn.example.com"},
			Remote:        Candidate{CandidateType: "host", Protocol: "udp", Address: "198.51.100.1", Port: 40000},
			RelayProtocol: "tls", Policy: "relay", RoundTripTime: p(0.02), DTLSState: "connected", ICEState: "connected", Changes: 1,
		},
	}
}

func TestGoldenReport(t *testing.T) {
	c := NewCollector(CollectorConfig{DeviceDelay: 0.010})
	for n := 0; n <= 3; n++ {
		s := good(n)
		if n == 0 { // connected, nothing came yet
			s.Inbound.Jitter, s.Remote = nil, nil
		}
		s.Inbound.ConcealedSamples = uint64(960 * n) // 2 %
		s.Inbound.BurstRatio = 1.5
		s.Inbound.FECPacketsReceived = uint64(n)
		s.Inbound.PacketsLost = int64(n) // 1 of 50: 2 %
		if w := c.Add(s); n < 3 && len(w) != 0 {
			t.Errorf("second %d: %+v", n, w)
		}
	}
	r := c.Report(Summary{
		CallID: "11111111-2222-4333-8444-555555555555", DestinationNumber: "concierge", CallerNumber: "door1", Direction: "outbound",
		State: "destroy", TelnyxSessionID: "session", TelnyxLegID: "leg", SDKVersion: "sidetone 0.1",
		StartTimestamp: epoch.Add(-time.Second), ActiveTimestamp: epoch, EndTimestamp: epoch.Add(3 * time.Second),
		Cause: "NORMAL_CLEARING", CauseCode: 16,
	})
	// By hand: Ta = 80/2 + 40 + 20 + 6.5 + 10 = 116.5 ms, of which the round trip of second 0 (20 ms, by STUN) makes
	// (20+3*80)/4 = 65 ms: Ta = 109 ms. X = log2(1.09) = 0.124: Idd = 0.00004. Ie,eff = 95*2/(2/1.5+20) = 8.90625.
	// R = 93.2 - 0.00004 - 8.90625 = 84.2937.
	q := r.Quality
	near(t, "Ta", q.Ta, 109)
	near(t, "Ppl", q.Ppl, 2)
	near(t, "R", q.RFactor, 84.2937)
	near(t, "MOS", q.MOS, 4.1754)
	// latency = 4 + 65/2 = 36.5: Id = 0.876; Ie = 20*ln(3): R = 70.3518 (loss 3/150 = 2 %).
	near(t, "Telnyx's MOS", *q.MOSTelnyx, 3.6135)

	got, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "report.json")
	if *update {
		if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(append(got, '\n'), want) {
		t.Errorf("the report is not the golden one (go test -update writes it anew):\n%s", got)
	}
}

func TestACallThatNeverConnected(t *testing.T) {
	c := NewCollector(CollectorConfig{})
	c.Add(Sample{Time: epoch})
	r := c.Report(Summary{CallID: "x", Cause: "USER_BUSY", CauseCode: 17})
	if r.Quality != nil || r.Path != nil || r.Stats == nil {
		t.Errorf("%+v", r)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(b); s != `{"summary":{"callId":"x","durationSeconds":0,"cause":"USER_BUSY","causeCode":17},"stats":[]}` {
		t.Error(s)
	}
}

func TestUnknownIsAbsent(t *testing.T) {
	c := NewCollector(CollectorConfig{})
	for n := range 3 {
		s := good(n)
		s.Remote, s.Path, s.Inbound.Jitter = nil, nil, nil
		c.Add(s)
	}
	r := c.Report(Summary{})
	if r.Quality == nil || r.Quality.RTT != nil || r.Quality.MOSTelnyx != nil || r.Quality.Ta != 66.5 {
		t.Errorf("%+v", r.Quality)
	}
	b, _ := json.Marshal(r.Stats[0])
	for _, key := range []string{"roundTripTime", "jitterAvg", "ice", "transport", "remoteRtcp", "srtpCipher"} {
		if strings.Contains(string(b), `"`+key) {
			t.Errorf("%s is there: %s", key, b)
		}
	}
}

func TestMediaSetUpAnewCountsOn(t *testing.T) {
	c := NewCollector(CollectorConfig{})
	at := 0
	add := func(n int) {
		s := good(n)
		s.Time = epoch.Add(time.Duration(at) * time.Second)
		s.Inbound.PacketsLost = int64(n)
		at++
		if w := c.Add(s); len(w) > 0 && n != 0 && w[0].Code != HighPacketLoss {
			t.Errorf("%+v", w)
		}
	}
	for n := range 6 {
		add(n)
	}
	for n := range 6 { // a new session counts from 0
		add(n)
	}
	q := c.Report(Summary{}).Quality
	near(t, "loss", q.NetworkLoss, 2)
	for _, e := range c.Report(Summary{}).Stats {
		if b := *e.Audio.Inbound.BitrateAvg; b < 0 || b > 40000 {
			t.Errorf("bitrate %v", b)
		}
	}
}

func TestALongCallStaysSmall(t *testing.T) {
	c := NewCollector(CollectorConfig{})
	const seconds = 4 * 3600
	for n := range seconds {
		c.Add(good(n))
	}
	r := c.Report(Summary{})
	if len(r.Stats) > defaultEntries {
		t.Errorf("%d entries", len(r.Stats))
	}
	for i, e := range r.Stats {
		if i > 0 && !e.Start.Equal(r.Stats[i-1].End) {
			t.Fatalf("entry %d begins at %v, the one before ended at %v", i, e.Start, r.Stats[i-1].End)
		}
		if *e.Audio.Inbound.BitrateAvg != 31360 || *e.Audio.Outbound.AudioLevelAvg != 0.2 || *e.Connection.RoundTripTimeAvg != 0.08 {
			t.Fatalf("entry %d: averages changed: %+v", i, e.Audio.Inbound)
		}
	}
	if last := r.Stats[len(r.Stats)-1]; last.Audio.Inbound.PacketsReceived != 49*(seconds-1) {
		t.Errorf("last entry: %+v", last.Audio.Inbound)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d entries, %d bytes", len(r.Stats), len(b))
	if len(b) > 2<<20 {
		t.Errorf("the report has %d bytes; Telnyx takes 2 MB", len(b))
	}
}

func TestAddKeepsNothingOfTheCaller(t *testing.T) {
	c := NewCollector(CollectorConfig{})
	c.Add(good(0))
	s := good(1)
	c.Add(s)
	*s.Inbound.Jitter, s.Path.RelayProtocol, s.Outbound.Codec.MimeType = 99, "udp", "audio/x"
	r := c.Report(Summary{})
	if *r.Stats[0].Audio.Inbound.Jitter != 0.004 || r.Path.RelayProtocol != "tls" || r.Stats[0].Audio.Outbound.Codec.MimeType != "audio/opus" {
		t.Error("the report changed with the caller's sample")
	}
}

// TestWarnings plays one fault from second 1 on and lists when its warning comes.
func TestWarnings(t *testing.T) {
	frozenIn := func(s *Sample, n int) { s.Inbound = good(1).Inbound }
	frozenOut := func(s *Sample, n int) { s.Outbound = good(1).Outbound }
	quietIn := func(s *Sample, n int) { s.Inbound.TotalAudioEnergy = 0 }
	quietOut := func(s *Sample, n int) { s.Outbound.TotalAudioEnergy = 0 }
	for _, c := range []struct {
		name  string
		code  int
		fault func(s *Sample, n int)
		want  []int // seconds
	}{
		{"rtt", HighRTT, func(s *Sample, n int) { s.Remote.RoundTripTime = p(0.41) }, []int{4, 19, 34}},
		{"rtt by STUN", HighRTT, func(s *Sample, n int) { s.Remote = nil; s.Path.RoundTripTime = p(0.5) }, []int{4, 19, 34}},
		{"rtt at the limit", HighRTT, func(s *Sample, n int) { s.Remote.RoundTripTime = p(0.4) }, nil},
		{"rtt with a good second now and then", HighRTT, func(s *Sample, n int) {
			if n%3 != 0 {
				s.Remote.RoundTripTime = p(0.5)
			}
		}, nil},
		{"rtt clears and comes back", HighRTT, func(s *Sample, n int) {
			if n != 6 {
				s.Remote.RoundTripTime = p(0.5)
			}
		}, []int{4, 9, 24, 39}},
		{"jitter", HighJitter, func(s *Sample, n int) { s.Inbound.Jitter = p(0.031) }, []int{4, 19, 34}},
		{"loss", HighPacketLoss, func(s *Sample, n int) { s.Inbound.PacketsLost = int64(n) }, []int{4, 19, 34}},
		{"loss that late packets take back", HighPacketLoss, func(s *Sample, n int) { s.Inbound.PacketsLost = int64(n % 2) }, nil},
		{"mos", LowMOS, func(s *Sample, n int) { s.Inbound.PacketsLost = int64(10 * n); s.Inbound.Jitter = p(0.03) }, []int{4, 19, 34}},
		{"silence before any sound", LowLocalAudio, quietOut, []int{4, 19, 34}},
		{"silence while muted", LowLocalAudio, func(s *Sample, n int) { quietOut(s, n); s.Muted = true }, nil},
		{"silence after sound", LowLocalAudio, func(s *Sample, n int) {
			if n > 5 {
				s.Outbound.TotalAudioEnergy = good(5).Outbound.TotalAudioEnergy
			}
		}, []int{35}},
		{"far silence", LowInboundAudio, quietIn, []int{4, 19, 34}},
		{"far sound that is just none", LowInboundAudio, func(s *Sample, n int) { s.Inbound.TotalAudioEnergy = 0.9e-6 * float64(n) }, []int{4, 19, 34}},
		{"far sound that is just some", LowInboundAudio, func(s *Sample, n int) { s.Inbound.TotalAudioEnergy = 1.1e-6 * float64(n) }, nil},
		{"far silence while held", LowInboundAudio, func(s *Sample, n int) { quietIn(s, n); s.Held = true }, nil},
		{"nothing comes", LowBytesReceived, frozenIn, []int{4, 19, 34}},
		{"nothing comes while held", LowBytesReceived, func(s *Sample, n int) { frozenIn(s, n); s.Held = true }, nil},
		{"nothing goes", LowBytesSent, frozenOut, []int{4, 19, 34}},
		{"all is well", 0, func(*Sample, int) {}, nil},
		{"not connected", 0, func(s *Sample, n int) { *s = Sample{Time: s.Time} }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			col := NewCollector(CollectorConfig{})
			var got []int
			for n := 1; n <= 40; n++ {
				s := good(n)
				c.fault(&s, n)
				for _, w := range col.Add(s) {
					if c.code == 0 {
						t.Errorf("second %d: %+v", n, w)
					}
					if w.Code == c.code {
						got = append(got, n)
						if k, _ := Lookup(w.Code); w.Name != k.Name || !w.Time.Equal(s.Time) || !strings.HasPrefix(w.Message, k.Message) {
							t.Errorf("%+v", w)
						}
					}
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("warned in seconds %v, want %v", got, c.want)
			}
			if r := col.Report(Summary{}); len(got) > 0 && len(r.Warnings) < len(got) {
				t.Errorf("the report has %d warnings", len(r.Warnings))
			}
		})
	}
}

func TestTheShortLastSampleWarnsOfNothing(t *testing.T) {
	c := NewCollector(CollectorConfig{})
	for n := range 4 {
		s := good(min(n, 1))
		s.Time = epoch.Add(time.Duration(n) * 10 * time.Millisecond)
		if w := c.Add(s); len(w) > 0 {
			t.Errorf("%+v", w)
		}
	}
}

func TestWarningsAreBounded(t *testing.T) {
	c := NewCollector(CollectorConfig{})
	for n := range 15 * 150 {
		s := good(1)
		s.Time = epoch.Add(time.Duration(n) * time.Second)
		c.Add(s)
	}
	if r := c.Report(Summary{}); len(r.Warnings) != maxWarnings || r.WarningsDropped == 0 {
		t.Errorf("%d warnings, %d dropped", len(r.Warnings), r.WarningsDropped)
	}
}

// FuzzCollector feeds samples of arbitrary bits: whatever comes, a report must be JSON and its scores in range.
func FuzzCollector(f *testing.F) {
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 400))
	nan := make([]byte, 0, 800)
	for range 100 {
		for i := 7; i >= 0; i-- {
			nan = append(nan, byte(math.Float64bits(math.NaN())>>(8*i)))
		}
	}
	f.Add(nan)
	f.Fuzz(func(t *testing.T, data []byte) {
		u := func() uint64 {
			var b [8]byte
			data = data[copy(b[:], data):]
			var v uint64
			for _, x := range b {
				v = v<<8 | uint64(x)
			}
			return v
		}
		fl := func() float64 { return math.Float64frombits(u()) }
		fp := func() *float64 {
			if len(data) > 0 && data[0]&1 == 0 {
				return nil
			}
			return p(fl())
		}
		c := NewCollector(CollectorConfig{MaxEntries: 4, DeviceDelay: fl()})
		for range 12 {
			s := Sample{Time: time.Unix(int64(u()), int64(u()%1e9)), Held: u()%2 == 1, Muted: u()%2 == 1}
			if u()%4 != 0 {
				s.Outbound = &Outbound{PacketsSent: u(), BytesSent: u(), TotalAudioEnergy: fl(), TotalSamplesDuration: fl()}
			}
			if u()%4 != 0 {
				s.Inbound = &Inbound{PacketsReceived: u(), BytesReceived: u(), PacketsLost: int64(u()), Jitter: fp(), JitterBufferDelay: fl(),
					JitterBufferTargetDelay: fl(), JitterBufferMinimumDelay: fl(), JitterBufferEmittedCount: u(), TotalSamplesReceived: u(),
					ConcealedSamples: u(), FECPacketsReceived: u(), TotalProcessingDelay: fl(), TotalAudioEnergy: fl(), TotalSamplesDuration: fl(), BurstRatio: fl()}
			}
			if u()%4 != 0 {
				s.Remote = &RemoteInbound{PacketsLost: int64(u()), FractionLost: fl(), Jitter: fp(), RoundTripTime: fp()}
			}
			if u()%4 != 0 {
				s.Path = &Path{RoundTripTime: fp()}
			}
			c.Add(s)
		}
		r := c.Report(Summary{DurationSeconds: fl()})
		if _, err := json.Marshal(r); err != nil {
			t.Fatal(err)
		}
		if len(r.Stats) > 5 {
			t.Fatalf("%d entries", len(r.Stats))
		}
		if q := r.Quality; q != nil && (q.MOS < 1 || q.MOS > 4.5 || q.Ppl < 0 || q.Ppl > 100 || q.MOSTelnyx != nil && (*q.MOSTelnyx < 1 || *q.MOSTelnyx > 5)) {
			t.Fatalf("%+v", q)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	c := NewCollector(CollectorConfig{})
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		c.Add(good(n))
	}
}
