package appliance

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sidetone/audio"
	"sidetone/audio/g711"
	"sidetone/audio/opus"
	"sidetone/audio/voice"
	"sidetone/cmd/sidetone/internal/control"
	"sidetone/provisioning/config"
	"sidetone/rtc/call"
	"sidetone/rtc/media"
	"sidetone/rtc/quality"
)

// pipelines are the two ways of one call's sound. They outlive its sessions: when media moves to another one, in
// mid-call, the trunk goes on where it was.
type pipelines struct {
	in       audio.Source
	out      *voice.Sender
	receiver *voice.Receiver
	trunk    *media.Trunk
	deaf     *atomic.Bool
	opusIn   *opus.Decoder
	opusOut  opus.Config // as the config has it
	log      *slog.Logger
	before   quality.SoundDevice // what had gone wrong with it when they were made
	sessions int                 // that use them
}

// voices knows the pipelines of each live call.
type voices struct {
	mu  sync.Mutex
	set map[string]*pipelines
}

// join gives the pipelines of a call to one more session; build makes them for the first.
func (v *voices) join(callID string, build func() (*pipelines, error)) (p *pipelines, first bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if p = v.set[callID]; p == nil {
		if p, err = build(); err != nil {
			return nil, false, err
		}
		if v.set == nil {
			v.set = map[string]*pipelines{}
		}
		v.set[callID], first = p, true
	}
	p.sessions++
	return p, first, nil
}

// leave is join's end; the last session takes the pipelines with it.
func (v *voices) leave(callID string, p *pipelines) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if p.sessions--; p.sessions == 0 && v.set[callID] == p {
		delete(v.set, callID)
	}
}

func (v *voices) of(callID string) (p *pipelines, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p, ok = v.set[callID]
	return p, ok
}

// callMedia is one session of a call with the call's pipelines, as call.Manager wants it.
type callMedia struct {
	*media.Session
	*pipelines
	dumb   func() bool // there is no microphone
	counts func() quality.SoundDevice
	closed func()
}

// Close implements call.Media.
func (m callMedia) Close() error {
	defer m.closed()
	return m.Session.Close()
}

// Sample implements call.Media. Without a microphone silence is meant.
func (m callMedia) Sample() quality.Sample {
	s := m.Session.Sample()
	s.Muted = s.Muted || m.dumb()
	s.Device = m.counts().Minus(m.before)
	if o := s.Outbound; o != nil && o.Codec != nil {
		o.TargetBitrate = g711Bitrate
		if strings.EqualFold(o.Codec.MimeType, "audio/opus") {
			o.TargetBitrate = float64(m.out.TargetBitrate())
		}
	}
	return s
}

const g711Bitrate = 64000 // bit/s

// Mute implements call.Media.
func (m callMedia) Mute(on bool) { m.out.SetMuted(on) }

// Deaf implements call.Media.
func (m callMedia) Deaf(on bool) { m.deaf.Store(on) }

var _ call.Media = callMedia{}

// newPipelines builds the two ways of one call's sound. tell is told once when something can be heard.
func (a *Appliance) newPipelines(heard func()) (*pipelines, error) {
	dec, err := opus.NewDecoder()
	if err != nil {
		return nil, fmt.Errorf("opus decoder: %w", err)
	}
	p := &pipelines{trunk: &media.Trunk{}, before: a.sound.counts.read(), deaf: &atomic.Bool{}, log: a.log, opusIn: dec}
	p.opusOut = opus.Config{Bitrate: a.cfg.Audio.Bitrate, Complexity: a.complexity(), FEC: a.cfg.Audio.FEC, DTX: a.cfg.Audio.DTX}
	p.receiver = voice.NewReceiver(voice.ReceiverConfig{Decoder: dec, Logger: a.log})
	p.in = &firstSound{Source: &ear{Source: p.receiver, deaf: p.deaf}, tell: heard}
	p.in = &fader{Source: p.in, volume: func() int { return a.volume(talkRole) }}
	sender := voice.SenderConfig{Out: p.trunk, Logger: a.log} // its encoder comes by sends
	if a.chain != nil {
		sender.Process = a.processing(a.chain.Process)
	}
	p.out = voice.NewSender(sender)
	return p, nil
}

// codecs are those that a call may use, best first.
func (a *Appliance) codecs(c call.Info) []string {
	if len(c.PreferredCodecs) > 0 {
		return c.PreferredCodecs
	}
	return a.cfg.Audio.Codecs
}

// suitsBoards is how hard Opus works where neither config nor profile says: above 5, which browsers use on ARM, the ear hears
// little and a small board sweats.
const suitsBoards = 5

// complexity is how hard Opus works here.
func (a *Appliance) complexity() int {
	if c := a.cfg.Audio.Complexity; c >= 0 {
		return c
	}
	return suitsBoards
}

// newMedia builds a session of a call, and for the first one the call's pipelines. A later one stands by until it is
// connected: then the sound moves over.
func (a *Appliance) newMedia(ctx context.Context, c call.Info, notify func(call.MediaEvent)) (call.Media, error) {
	tell := func(what string, at time.Time, gap time.Duration) {
		a.watchers.tell(control.Event{
			Event: "media", Name: what, CallID: c.ID, TMs: at.Sub(c.Created).Milliseconds(), GapMs: gap.Milliseconds(),
		})
	}
	p, first, err := a.voices.join(c.ID, func() (*pipelines, error) {
		return a.newPipelines(func() {
			now := time.Now()
			tell("first_sound_played", now, 0)
			notify(call.MediaEvent{Kind: "first_sound_played", Time: now})
		})
	})
	if err != nil {
		return nil, err
	}
	var session *media.Session
	made := make(chan struct{}) // session is set
	config := media.SessionConfig{
		Receiver: p.receiver, CaptureStats: p.out.CaptureStats, Servers: a.iceServers(ctx), Fresh: a.iceServers,
		Codecs: a.codecs(c), BandwidthKbps: a.cfg.Audio.BandwidthKbps, Sends: p.sends, Receives: p.receives, Reported: p.out.Report, Trickle: a.cfg.ICE.Trickle, Prefetch: a.cfg.ICE.Prefetch, Standby: !first,
		Notify: func(e media.Event) {
			switch e.Kind {
			case media.FirstPacketSent, media.FirstPacketReceived:
				if e.Gap > 0 {
					a.log.Info("the sound has moved", "call_id", c.ID, "gap", e.Gap.Round(time.Millisecond))
				}
				tell(string(e.Kind), e.Time, e.Gap)
				notify(call.MediaEvent{Kind: call.MediaKind(e.Kind), Time: e.Time})
			case media.Connected:
				<-made
				if session != nil {
					p.trunk.Use(session)
				}
				tell(string(e.Kind), e.Time, 0)
				notify(call.MediaEvent{Kind: call.MediaConnected, Time: e.Time})
			case media.Disconnected:
				notify(call.MediaEvent{Kind: call.MediaDisconnected, Time: e.Time})
			case media.Failed:
				notify(call.MediaEvent{Kind: call.MediaFailed, Time: e.Time, Err: e.Err})
			case media.Warned:
				notify(call.MediaEvent{Kind: call.MediaWarning, Code: e.Code})
			case media.Digit:
				notify(call.MediaEvent{Kind: call.MediaDigit, Digit: e.Digit})
			case media.Candidate:
				kind := call.MediaCandidate
				if e.Candidate == "" {
					kind = call.MediaEndOfCandidates
				}
				notify(call.MediaEvent{Kind: kind, Candidate: e.Candidate, SDPMid: e.Mid, SDPMLineIndex: e.MLine})
			}
		},
	}
	if c.Relay {
		config.Policy = media.PolicyRelay
		if !first {
			config.Why = "other ways carried no sound"
		}
	}
	session, err = a.engine.NewSession(config)
	close(made)
	if err != nil {
		a.voices.leave(c.ID, p)
		return nil, err
	}
	if first {
		p.trunk.Use(session)
	}
	return callMedia{Session: session, pipelines: p, dumb: func() bool { return a.sound.device.Load().dumb }, counts: a.sound.counts.read, closed: func() { a.voices.leave(c.ID, p) }}, nil
}

// sends makes the sending pipeline code as was negotiated.
func (p *pipelines) sends(c media.Codec) {
	if law, ok := laws[c.Name]; ok {
		p.out.SetEncoder(g711.NewEncoder(law))
		return
	}
	o := p.opusOut
	if o.FEC = o.FEC && c.FEC; c.MaxBitrate > 0 {
		o.Bitrate = max(config.MinBitrate, min(o.Bitrate, c.MaxBitrate))
	}
	enc, err := opus.NewEncoder(o)
	if err != nil {
		p.log.Error("nothing can be sent", "err", err)
		return
	}
	p.out.SetEncoder(enc)
}

// receives makes the receiving pipeline decode what comes.
func (p *pipelines) receives(c media.Codec) {
	if law, ok := laws[c.Name]; ok {
		p.receiver.SetDecoder(g711.NewDecoder(law))
	} else {
		p.receiver.SetDecoder(p.opusIn)
	}
}

var laws = map[string]g711.Law{"PCMU": g711.PCMU, "PCMA": g711.PCMA}

// ear hears nothing while it is deaf; the sound goes on behind it.
type ear struct {
	audio.Source
	deaf *atomic.Bool
}

// PullFrame implements audio.Source.
func (e *ear) PullFrame(f *audio.Frame) {
	e.Source.PullFrame(f)
	if e.deaf.Load() {
		*f = audio.Frame{}
	}
}

// firstSound tells once when something can be heard.
type firstSound struct {
	audio.Source
	tell  func()
	heard bool
}

// PullFrame implements audio.Source.
func (s *firstSound) PullFrame(f *audio.Frame) {
	s.Source.PullFrame(f)
	if s.heard {
		return
	}
	for _, v := range f {
		if v > audible || v < -audible {
			s.heard = true
			s.tell()
			return
		}
	}
}

// audible is -50 dBFS.
const audible = 104
