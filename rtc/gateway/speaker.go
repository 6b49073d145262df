package gateway

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"sidetone/audio"
	"sidetone/audio/opus"
	"sidetone/audio/tone"
)

// encoder makes a payload of a frame.
type encoder func(f *audio.Frame, buf []byte) (int, error)

func newEncoder(c codec) (encoder, error) {
	switch c {
	case codecOpus:
		enc, err := opus.NewEncoder(opus.Config{Complexity: 5, FEC: true})
		if err != nil {
			return nil, err
		}
		return enc.Encode, nil
	case codecPCMU:
		return narrow(mulaw), nil
	case codecPCMA:
		return narrow(alaw), nil
	}
	return nil, fmt.Errorf("no encoder for %s", c.mime)
}

// narrow codes at 8 kHz: the mean of each six samples, filter enough for a tone and a greeting.
func narrow(compand func(int16) byte) encoder {
	const ratio = audio.SampleRate / 8000
	return func(f *audio.Frame, buf []byte) (int, error) {
		for i := range len(f) / ratio {
			sum := 0
			for _, s := range f[i*ratio : (i+1)*ratio] {
				sum += int(s)
			}
			buf[i] = compand(int16(sum / ratio))
		}
		return len(f) / ratio, nil
	}
}

// speaker is one stream to a client, made of sound of our own and of packets that are passed on, in turns, without a
// break in sequence numbers or time. What is passed on before anything of our own stays as it came.
type speaker struct {
	port *port

	mu     sync.Mutex
	codec  codec // of our own sound: the best one negotiated
	encode encoder
	buf    [opus.MaxPacket]byte

	sequence uint16    // of the next packet
	stamp    uint32    // of the last packet, in units of clock
	clock    uint32    // Hz, of stamp
	at       time.Time // when the last packet was sent
	ours     bool      // it was of our own sound

	// What is added to a packet that is passed on, until our own sound comes in between.
	passing   uint32 // clock of what is passed on; 0 is none
	dSequence uint16
	dStamp    uint32
}

func newSpeaker(to *port) *speaker { return &speaker{port: to} }

// prepare finds the codec for our own sound: another one, when the client came back with other media.
func (s *speaker) prepare() error {
	c, ok := s.port.sound()
	if !ok {
		return errors.New("no codec was negotiated")
	}
	if s.encode != nil && c == s.codec {
		return nil
	}
	encode, err := newEncoder(c)
	if err != nil {
		return err
	}
	s.codec, s.encode = c, encode
	return nil
}

// now is the timestamp of this moment: the last one and the time that went by, in whole frames if they follow closely.
func (s *speaker) now(clock uint32) uint32 {
	if s.at.IsZero() {
		return s.stamp
	}
	s.clock = clock // no sender mixes clocks; keep time from running backwards
	passed := time.Since(s.at)
	frames := max(1, (passed+audio.FrameDuration/2)/audio.FrameDuration)
	return s.stamp + uint32(frames)*(clock/50)
}

// put sends a packet of our own. While the client holds the call, time passes and nothing is sent.
func (s *speaker) put(c codec, marker bool, stamp uint32, payload []byte) {
	s.passing = 0
	s.stamp, s.at = stamp, time.Now()
	if s.port.held.Load() {
		s.ours = false
		return
	}
	var p packet
	p.codec, p.Payload = c, payload
	p.Marker, p.SequenceNumber, p.Timestamp = marker, s.sequence, stamp
	s.port.write(&p)
	s.sequence++
	s.ours = true
}

// say sends a frame of our own. The marker stands at the start of a talkspurt alone (RFC 3551, section 4.1): some
// platforms empty their buffers at each one.
func (s *speaker) say(f *audio.Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.port.sound(); !ok { // the client closed its media, and may bring other: time passes meanwhile
		s.ours, s.passing = false, 0
		return nil
	}
	if err := s.prepare(); err != nil {
		return err
	}
	n, err := s.encode(f, s.buf[:])
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	stamp := s.stamp + s.codec.clock/50 // sound goes on where it was, however late this packet is
	if !s.ours {
		stamp = s.now(s.codec.clock)
	}
	s.put(s.codec, !s.ours, stamp, s.buf[:n])
	return nil
}

// pass sends on a packet of another stream, with that one's gaps, steps in time and markers. It reports false when the
// client does not take its codec.
func (s *speaker) pass(p *packet) bool {
	if !s.port.takes(p.codec) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.port.held.Load() {
		s.passing = 0
		return true
	}
	q := *p
	if s.passing == 0 {
		first := s.at.IsZero()
		if first {
			s.sequence, s.stamp = p.SequenceNumber, p.Timestamp
		}
		s.passing = p.codec.clock
		s.dSequence = s.sequence - p.SequenceNumber
		s.dStamp = s.now(p.codec.clock) - p.Timestamp
		q.Marker = p.Marker || !first
	}
	q.SequenceNumber += s.dSequence
	q.Timestamp += s.dStamp
	s.port.write(&q)
	s.ours = false
	if ahead := q.SequenceNumber - s.sequence; ahead < 1<<15 { // not an old one that comes late
		s.sequence = q.SequenceNumber + 1
		s.stamp, s.at = q.Timestamp, time.Now()
	}
	return true
}

// turn says that what will be passed on is another stream, with numbers of its own.
func (s *speaker) turn() {
	s.mu.Lock()
	s.passing = 0
	s.mu.Unlock()
}

// A part is something to say: a packet each 20 ms, until it reports that it is over.
type part func() (over bool, err error)

// sound says frames of src.
func (s *speaker) sound(src audio.Source, frames int) part {
	var f audio.Frame
	return func() (bool, error) {
		frames--
		src.PullFrame(&f)
		return frames <= 0, s.say(&f)
	}
}

// Length of a DTMF digit, and what RFC 4733 says of it.
const (
	digitTime  = 160 * time.Millisecond
	digitLevel = 10 // -dBm0, RFC 4733, section 2.3
	digitEnds  = 3  // times that the end is told, section 2.5.1.4
)

// key says a DTMF digit: as an event if those were negotiated, else as a tone.
func (s *speaker) key(digit string) (part, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.prepare(); err != nil {
		return nil, err
	}
	events, ok := s.port.events(s.codec.clock)
	if !ok {
		src, err := tone.DTMF(digit, digitTime)
		if err != nil {
			return nil, err
		}
		return s.sound(src, int(2*digitTime/audio.FrameDuration)), nil
	}
	event, ok := eventOf(digit)
	if !ok {
		return nil, fmt.Errorf("%q is no DTMF digit", digit)
	}
	const steps = int(digitTime / audio.FrameDuration)
	begin, step := s.now(s.codec.clock), 0
	return func() (bool, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		step++
		duration := uint16(min(step, steps)) * uint16(events.clock/50)
		flags := byte(digitLevel)
		if step > steps {
			flags |= eventEnd
		}
		// All packets of an event bear the time of its begin.
		s.put(events, step == 1, begin, []byte{event, flags, byte(duration >> 8), byte(duration)})
		over := step == steps+digitEnds
		if over {
			s.stamp += uint32(steps) * (s.codec.clock / 50)
			s.ours = false
		}
		return over, nil
	}, nil
}
