// Package playout plays a schedule of packets through the receiver that a call has, in virtual time, and measures what
// was heard.
package playout

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"
	"sidetone/audio/voice"

	"github.com/pion/rtp"
)

// Config of a run.
type Config struct {
	Schedule audiotest.Schedule
	// Spoken is 48 kHz mono. The run ends with it or with the schedule.
	Spoken []int16

	Codec      string // opus or pcm
	FEC        string // off, on, or auto: by receiver reports
	Bitrate    int    // bit/s
	Complexity int    // 0 to 10
	DTX        bool
	// Skew is by how many parts in a million the sender's clock is fast against the receiver's.
	Skew float64
	// Phase is when the first pull is, after the first packet was sent. Playback has a clock of its own.
	Phase time.Duration
	// Unscored leaves out Quality and what is made of it.
	Unscored bool
}

// drain is how long pulls go on after the last packet came.
const drain = 2 * time.Second

// Run makes one run.
func Run(c Config) (*Result, error) {
	runtime.LockOSThread() // for the CPU time
	defer runtime.UnlockOSThread()
	codec, ok := codecs[c.Codec]
	if !ok {
		return nil, fmt.Errorf("there is no codec %q in this program", c.Codec)
	}
	frames := min(len(c.Schedule), len(c.Spoken)/audio.FrameSamples)
	if frames == 0 {
		return nil, errors.New("nothing to play: the schedule or the sound is empty")
	}
	e, err := newEngine(c, codec, c.Schedule[:frames])
	if err != nil {
		return nil, err
	}
	if err := e.run(); err != nil {
		return nil, err
	}
	if e.meter.last == 0 {
		return nil, errors.New("nothing was heard: no packet of the schedule comes")
	}
	r := e.meter.result(e.receiver.PlayoutStats())
	r.hear(e.heard[:min(e.meter.heard, len(e.heard))])
	if !c.Unscored {
		r.score(c.Spoken[:frames*audio.FrameSamples], e.network.fastest, codec.lookAhead)
	}
	r.Log = e.log
	r.DecisionsSHA256 = e.log.sha256()
	r.Seconds = e.now.Seconds()
	r.CPU = round(float64(e.clock.total) / float64(time.Millisecond) / r.Seconds)
	r.Lost = round(1 - float64(e.network.came)/float64(max(len(e.network.numbers), 1)))
	return r, nil
}

// engine is the two ends of a call and what lies between.
type engine struct {
	Config
	network  *network
	encoder  encoder
	reported func(fractionLost uint8, highest uint32) // nil unless FEC is auto
	push     func(*audio.Frame)
	receiver *voice.Receiver
	clock    stopwatch

	now   time.Duration
	told  []voice.Decision // since the last pull
	meter meter
	heard []int16
	log   Log
}

// epoch is when the first packet is sent.
var epoch = time.Unix(1e9, 0)

func newEngine(c Config, codec codec, s audiotest.Schedule) (*engine, error) {
	e := &engine{Config: c, network: newNetwork(s, c.Skew)}
	e.meter.waits = make(map[int]int)
	var err error
	if e.encoder, err = codec.encoder(c); err != nil {
		return nil, err
	}
	switch c.FEC {
	case "off", "auto":
	case "on":
		err = e.encoder.SetPacketLoss(voice.FECPercent(c.Bitrate, 0.05))
	default:
		err = fmt.Errorf("FEC %q: say off, on or auto", c.FEC)
	}
	if err != nil {
		return nil, err
	}
	if c.Codec == "pcm" {
		e.push = e.pushPCM
	} else {
		enc := voice.Encoder(e.encoder)
		if c.FEC != "auto" {
			enc = struct{ voice.Encoder }{enc} // not Adaptive: it stays as it was set
		}
		sender := voice.NewSender(voice.SenderConfig{Encoder: enc, Out: e.network})
		e.push = func(f *audio.Frame) { sender.PushFrame(f) }
		if c.FEC == "auto" {
			e.reported = sender.Report
		}
	}
	decoder, err := codec.decoder()
	if err != nil {
		return nil, err
	}
	e.receiver = voice.NewReceiver(voice.ReceiverConfig{
		Decoder: decoder,
		Now:     func() time.Time { return epoch.Add(e.now) },
		Tell:    func(d voice.Decision) { e.told = append(e.told, d) },
	})
	return e, nil
}

// pushPCM stands for the sender, whose packets have no room for a frame of PCM.
func (e *engine) pushPCM(f *audio.Frame) {
	buf := make([]byte, 2*audio.FrameSamples)
	n, _ := e.encoder.Encode(f, buf)
	e.network.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2}, Payload: buf[:n]})
}

// run lets everything happen in its order: at the same moment, sending before arrival, arrival before pull.
func (e *engine) run() error {
	end := drain
	if n := len(e.network.arrivals); n > 0 {
		end += e.network.arrivals[n-1].At
	}
	for pull := e.Phase; pull <= end; pull += audio.FrameDuration {
		if err := e.until(pull); err != nil {
			return err
		}
		e.now = pull
		e.pull()
		// The last packet is played, or is not going to be.
		if len(e.network.arrivals) == 0 && e.meter.last > 0 && pull-e.meter.last > drain/2 {
			break
		}
	}
	return nil
}

// until lets the network work up to and including a moment.
func (e *engine) until(moment time.Duration) error {
	n := e.network
	const never = time.Duration(1<<63 - 1)
	for {
		send, arrival, back, report := never, never, never, never
		if i := len(n.packets); i < len(n.rows) {
			send, report = n.rows[i].Sent, n.nextReport
		}
		if len(n.arrivals) > 0 {
			arrival = n.arrivals[0].At
		}
		if len(n.reports) > 0 {
			back = n.reports[0].at
		}
		next := min(send, arrival, back, report)
		if next > moment {
			return nil
		}
		e.now = next
		switch next {
		case send:
			frame := (*audio.Frame)(e.Spoken[len(n.packets)*audio.FrameSamples:])
			n.send(func() { e.clock.run(func() { e.push(frame) }) })
		case arrival:
			if p := n.arrive(); p != nil {
				e.clock.run(func() { e.receiver.PushRTP(&p.Packet, epoch.Add(e.now)) })
			}
		case back:
			r := n.reports[0]
			n.reports = n.reports[1:]
			if e.reported != nil {
				e.reported(r.fractionLost, r.highest)
			}
		case report:
			n.report()
		}
	}
}

// pull takes what is to be heard now, and notes how that was made.
func (e *engine) pull() {
	var f audio.Frame
	e.clock.run(func() { e.receiver.PullFrame(&f) })
	e.heard = append(e.heard, f[:]...)
	for _, t := range e.told {
		d := Decision{At: t.At, Kind: t.Kind, Row: -1, Samples: t.Samples, Stretch: t.Stretch, Target: t.Target}
		if row := e.network.rowOf(t.Seq); row >= 0 && (t.Kind == "decode" || t.Kind == "fec") {
			r := e.network.rows[row]
			d.Row, d.Waited = row, t.At-r.Sent-r.Delay
			if t.Kind == "fec" {
				d.Row-- // it tells of the frame before
			}
			d.Delay = t.At - e.network.rows[max(d.Row, 0)].Sent - e.network.fastest
		}
		e.log = append(e.log, d)
		e.meter.count(d)
	}
	e.told = e.told[:0]
}
