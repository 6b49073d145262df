package media

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"sidetone/audio"
)

const (
	mimeTelephoneEvent = "audio/telephone-event"
	opusFmtp           = "minptime=10;useinbandfec=1" // RFC 7587, section 6.1: we decode FEC
)

// sounds are the codecs that we speak, best first. Payload types are those of our own offers; where the far side offers,
// its own are used. G.722 is not among them: no module that we have speaks it.
var sounds = []webrtc.RTPCodecParameters{
	{PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: opusFmtp}},
	{PayloadType: 0, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: 8000}},
	{PayloadType: 8, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMA, ClockRate: 8000}},
}

// telephoneEvents are offered for each clock that sound may have (RFC 4733, section 2.1).
var telephoneEvents = []webrtc.RTPCodecParameters{
	{PayloadType: 110, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: mimeTelephoneEvent, ClockRate: 48000, SDPFmtpLine: "0-15"}},
	{PayloadType: 126, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: mimeTelephoneEvent, ClockRate: 8000, SDPFmtpLine: "0-15"}},
}

// Codec is a codec as it was negotiated.
type Codec struct {
	Name        string // "opus", "PCMU" or "PCMA"
	ClockRate   uint32 // of its RTP timestamps on the wire, in Hz; at our seams they are always of 48 kHz
	Channels    uint16
	PayloadType uint8
	Fmtp        string        // the far side's parameters
	MaxPacket   time.Duration // the longest packet the far side takes (maxptime); 0: it did not say
	FEC         bool          // the far side makes use of Opus's in-band FEC (RFC 7587, section 6.1: useinbandfec)
	MaxBitrate  int           // the most it wants to get on average, in bit/s (maxaveragebitrate); 0: it did not say
}

// nameOf gives a codec's name as we write it, or "".
func nameOf(mime string) string {
	for _, c := range sounds {
		if strings.EqualFold(c.MimeType, mime) {
			return strings.TrimPrefix(c.MimeType, "audio/")
		}
	}
	return ""
}

// CheckCodecs says what is wrong with a list of preferred codecs.
func CheckCodecs(names []string) error {
	_, err := chooseCodecs(names)
	return err
}

// chooseCodecs gives the codecs of these names, in their order; all when there are none. PCMU is always among them: some
// callers of FreeSWITCH speak nothing else.
func chooseCodecs(names []string) ([]webrtc.RTPCodecParameters, error) {
	if names == nil {
		return sounds, nil
	}
	var out []webrtc.RTPCodecParameters
	add := func(name string) bool {
		i := slices.IndexFunc(sounds, func(c webrtc.RTPCodecParameters) bool { return strings.EqualFold(c.MimeType, "audio/"+name) })
		if i < 0 {
			return false
		}
		if !slices.ContainsFunc(out, func(c webrtc.RTPCodecParameters) bool { return c.MimeType == sounds[i].MimeType }) {
			out = append(out, sounds[i])
		}
		return true
	}
	for _, name := range names {
		if !add(name) {
			return nil, fmt.Errorf("media: codec %q is not known; there are opus, PCMU and PCMA", name)
		}
	}
	add("PCMU")
	return out, nil
}

// wanted are the codecs of this session.
func (s *Session) wanted() ([]webrtc.RTPCodecParameters, error) {
	if s.cfg.Sends == nil || s.cfg.Receives == nil {
		return sounds[:1], nil // nobody could follow another
	}
	return chooseCodecs(s.cfg.Codecs)
}

// withEvents adds the telephone events in the clocks of these codecs.
func withEvents(codecs []webrtc.RTPCodecParameters) []webrtc.RTPCodecParameters {
	out := slices.Clone(codecs)
	for _, e := range telephoneEvents {
		if slices.ContainsFunc(codecs, func(c webrtc.RTPCodecParameters) bool { return c.ClockRate == e.ClockRate }) {
			out = append(out, e)
		}
	}
	return out
}

// newMediaEngine knows the codecs without their parameters: pion would drop a codec whose parameters differ from the far
// side's when another one's agree. What we say of ours comes by prefer.
func newMediaEngine(wanted []webrtc.RTPCodecParameters) (*webrtc.MediaEngine, error) {
	m := &webrtc.MediaEngine{}
	for _, c := range append(slices.Clone(wanted), telephoneEvents...) {
		c.SDPFmtpLine = ""
		if err := m.RegisterCodec(c, webrtc.RTPCodecTypeAudio); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// prefer sets which codecs our SDP lists, in this order, and with our parameters.
func (s *Session) prefer(codecs []webrtc.RTPCodecParameters) error {
	list := withEvents(codecs)
	for i := range list {
		list[i].PayloadType = 0 // pion fills in what is registered, or the far side's own
	}
	return s.pc.GetTransceivers()[0].SetCodecPreferences(list)
}

// pick is the best of wanted that the far side's audio section has: an answer of ours names one codec only, so that what
// comes is what was meant.
func pick(wanted []webrtc.RTPCodecParameters, m *sdp.MediaDescription) (webrtc.RTPCodecParameters, error) {
	names, _ := codecNames(m)
	for _, c := range wanted {
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold("audio/"+n, c.MimeType) }) {
			return c, nil
		}
	}
	return webrtc.RTPCodecParameters{}, fmt.Errorf("%w: it has %s", ErrNoCodec, strings.Join(names, ", "))
}

func isTelephoneEvent(c webrtc.RTPCodecParameters) bool {
	return strings.EqualFold(c.MimeType, mimeTelephoneEvent)
}

// speaks says whether name is a codec of ours that carries sound.
func speaks(name string) bool { return nameOf("audio/"+name) != "" }

// clockRatio is how many of our 48 kHz ticks make one of c's.
func clockRatio(c webrtc.RTPCodecParameters) uint32 {
	if c.ClockRate == 0 || audio.SampleRate%c.ClockRate != 0 {
		return 1
	}
	return audio.SampleRate / c.ClockRate
}

// maxPacket reads a=maxptime (RFC 8866, section 6.4), or what FreeSWITCH writes into the fmtp line; 0 when neither is there.
func maxPacket(m *sdp.MediaDescription, fmtp string) time.Duration {
	value, _ := m.Attribute("maxptime")
	if value == "" {
		value = parameter(fmtp, "maxptime")
	}
	ms, err := strconv.ParseUint(strings.TrimSpace(value), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// parameter is the value that a fmtp line has for a key; empty when it has none.
func parameter(fmtp, key string) string {
	for p := range strings.SplitSeq(fmtp, ";") {
		if k, v, ok := strings.Cut(strings.TrimSpace(p), "="); ok && strings.EqualFold(k, key) {
			return v
		}
	}
	return ""
}

// codecTeller tells the codec of each direction, once each time that it changes.
type codecTeller struct {
	sends, receives func(Codec)

	mu       sync.Mutex
	standby  bool // another session carries the call: nothing is told
	longest  time.Duration
	out      webrtc.RTPCodecParameters
	toldSent string // MIME types that were told
	toldCame string
}

func (t *codecTeller) describe(c webrtc.RTPCodecParameters) Codec {
	most, _ := strconv.ParseUint(parameter(c.SDPFmtpLine, "maxaveragebitrate"), 10, 31) // 0 unless it is one
	return Codec{
		FEC: parameter(c.SDPFmtpLine, "useinbandfec") == "1", MaxBitrate: int(most),
		Name: nameOf(c.MimeType), ClockRate: c.ClockRate, Channels: c.Channels,
		PayloadType: uint8(c.PayloadType), Fmtp: c.SDPFmtpLine, MaxPacket: t.longest,
	}
}

// sending takes what was agreed for our sound.
func (t *codecTeller) sending(c webrtc.RTPCodecParameters, m *sdp.MediaDescription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.longest, t.out = maxPacket(m, c.SDPFmtpLine), c
	t.tellSent()
}

func (t *codecTeller) tellSent() {
	if t.standby || t.out.MimeType == "" || t.out.MimeType == t.toldSent {
		return
	}
	t.toldSent = t.out.MimeType
	if t.sends != nil {
		t.sends(t.describe(t.out))
	}
}

// receiving takes the codec of a packet that came, before the packet goes on.
func (t *codecTeller) receiving(c webrtc.RTPCodecParameters) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.standby || c.MimeType == t.toldCame {
		return
	}
	t.toldCame = c.MimeType
	if t.receives != nil {
		t.receives(t.describe(c))
	}
}

// takeOver ends the standby: what the session before it told is not told again.
func (t *codecTeller) takeOver(before *codecTeller) {
	sent, came := "", ""
	if before != nil {
		before.mu.Lock()
		sent, came, before.standby = before.toldSent, before.toldCame, true
		before.mu.Unlock()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if before != nil {
		t.toldSent, t.toldCame = sent, came
	}
	t.standby = false
	t.tellSent()
}

// Codec is what our sound is sent in; false before it is negotiated.
func (s *Session) Codec() (Codec, bool) {
	s.codecs.mu.Lock()
	defer s.codecs.mu.Unlock()
	if s.codecs.out.MimeType == "" {
		return Codec{}, false
	}
	return s.codecs.describe(s.codecs.out), true
}
