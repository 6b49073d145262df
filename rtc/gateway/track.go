package gateway

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// codec is a coding, whatever its payload type is with a client.
type codec struct {
	mime  string // lower case
	clock uint32 // Hz
}

const mimeTelephoneEvent = "audio/telephone-event"

var (
	codecOpus = codec{"audio/opus", 48000}
	codecPCMU = codec{"audio/pcmu", 8000}
	codecPCMA = codec{"audio/pcma", 8000}
)

// supported codecs, with the payload types of our own offers. RFC 4733 events need the clock of the sound they stand
// in for, so there is one for each clock.
var supported = []webrtc.RTPCodecParameters{
	{PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1",
	}},
	{PayloadType: 0, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: 8000}},
	{PayloadType: 8, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMA, ClockRate: 8000}},
	{PayloadType: 110, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: mimeTelephoneEvent, ClockRate: 48000, SDPFmtpLine: "0-16",
	}},
	{PayloadType: 126, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: mimeTelephoneEvent, ClockRate: 8000, SDPFmtpLine: "0-16",
	}},
}

func codecOf(c webrtc.RTPCodecParameters) codec {
	return codec{strings.ToLower(c.MimeType), c.ClockRate}
}

func (c codec) isTelephoneEvent() bool { return c.mime == mimeTelephoneEvent }

// audible are those codecs that carry sound.
func audible(codecs []codec) []codec {
	return slices.DeleteFunc(slices.Clone(codecs), codec.isTelephoneEvent)
}

// track is what the gateway sends to a client: packets of any codec negotiated, with everything but SSRC and payload
// type as given. pion's own static track knows one payload type alone, and so no telephone-event.
type track struct {
	bound  atomic.Pointer[binding]
	onBind func() // nil, or told when sound can be sent

	allowed atomic.Pointer[[]codec] // for sound; nil is all: pion binds codecs too that our answer has left out

	mu     sync.Mutex // one writer at a time, so that header can be used again
	header rtp.Header
}

// binding is what was negotiated.
type binding struct {
	ssrc   uint32
	types  map[codec]uint8
	writer webrtc.TrackLocalWriter
	sound  codec // the best of them for sound of our own
}

func newTrack() *track { return &track{} }

// Bind implements webrtc.TrackLocal.
func (t *track) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	b := &binding{ssrc: uint32(c.SSRC()), writer: c.WriteStream(), types: map[codec]uint8{}}
	params := map[codec]webrtc.RTPCodecParameters{}
	allowed := t.allowed.Load()
	for _, p := range c.CodecParameters() {
		k := codecOf(p)
		if allowed != nil && !k.isTelephoneEvent() && !slices.Contains(*allowed, k) {
			continue
		}
		if params[k].MimeType == "" {
			params[k] = p
			b.types[k] = uint8(p.PayloadType)
		}
	}
	for _, k := range []codec{codecOpus, codecPCMU, codecPCMA} {
		if p, ok := params[k]; ok {
			b.sound = k
			t.bound.Store(b)
			if t.onBind != nil {
				t.onBind()
			}
			return p, nil
		}
	}
	return webrtc.RTPCodecParameters{}, webrtc.ErrUnsupportedCodec
}

// Unbind implements webrtc.TrackLocal.
func (t *track) Unbind(webrtc.TrackLocalContext) error {
	t.bound.Store(nil)
	return nil
}

// ID, RID, StreamID and Kind implement webrtc.TrackLocal.
func (t *track) ID() string                { return "audio" }
func (t *track) RID() string               { return "" }
func (t *track) StreamID() string          { return "gateway" }
func (t *track) Kind() webrtc.RTPCodecType { return webrtc.RTPCodecTypeAudio }

// sound is the codec for sound of our own; false before anything is negotiated.
func (t *track) sound() (codec, bool) {
	b := t.bound.Load()
	if b == nil {
		return codec{}, false
	}
	return b.sound, true
}

// events is the telephone-event that goes with sound of that clock, or another one; false when there is none.
func (t *track) events(clock uint32) (codec, bool) {
	b := t.bound.Load()
	if b == nil {
		return codec{}, false
	}
	for _, c := range []uint32{clock, 8000, 48000} {
		k := codec{mimeTelephoneEvent, c}
		if _, ok := b.types[k]; ok {
			return k, true
		}
	}
	return codec{}, false
}

// takes tells whether the client takes a codec.
func (t *track) takes(c codec) bool {
	b := t.bound.Load()
	if b == nil {
		return false
	}
	_, ok := b.types[c]
	return ok
}

// write sends p's payload under p's sequence number, timestamp and marker. It reports false when the client does not
// take p's codec.
func (t *track) write(p *packet) bool {
	b := t.bound.Load()
	if b == nil {
		return false
	}
	number, ok := b.types[p.codec]
	if !ok {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// No header extensions: none is negotiated, and their numbers are another's.
	t.header = rtp.Header{
		Version: 2, Marker: p.Marker, PayloadType: number, SequenceNumber: p.SequenceNumber, Timestamp: p.Timestamp, SSRC: b.ssrc,
	}
	_, _ = b.writer.WriteRTP(&t.header, p.Payload) // lost, as on any network
	return true
}
