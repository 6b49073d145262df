package media

import (
	"io"
	"sync"

	"github.com/pion/transport/v4/packetio"
	"github.com/pion/webrtc/v4"
)

const (
	// maxStreams bounds how many streams of the far side are read at once; the one that came first gives way.
	maxStreams = 8
	// What a stream may have waiting; pion's own figures.
	rtpBuffer, rtcpBuffer = 1000 * 1000, 100 * 1000
)

// streams reads every stream that the far side sends, declared or not: there is one audio section, so there is no doubt
// what they are. Far sides change their SSRC in mid-call (a bridge, a transfer), and some never declare one.
type streams struct {
	arrived chan uint32
	open    func() (*webrtc.RTPReceiver, error)

	mu      sync.Mutex
	live    []*webrtc.RTPReceiver
	stopped bool
}

func newStreams() *streams { return &streams{arrived: make(chan uint32, 2*maxStreams)} }

// buffer is pion's BufferFactory: it is asked once for each stream, before the first packet is read, in pion's read loop.
func (s *streams) buffer(kind packetio.BufferPacketType, ssrc uint32) io.ReadWriteCloser {
	b := packetio.NewBuffer()
	b.SetLimitSize(rtcpBuffer)
	if kind != packetio.RTPBufferPacket {
		return b
	}
	b.SetLimitSize(rtpBuffer)
	select {
	case s.arrived <- ssrc:
	default: // a flood of streams
	}
	return b
}

// run starts a reader for each stream that arrives.
func (s *streams) run(session *Session) {
	for {
		select {
		case <-session.done:
			return
		case ssrc := <-s.arrived:
			if ssrc == 0 || s.reads(ssrc) { // 0: a browser's probe of the bandwidth
				continue
			}
			// The first packet may come before pion has put SRTP's sessions in place, which it does under this lock.
			session.probe.dtls.State()
			if err := s.read(session, ssrc); err != nil {
				session.log.Info("media: a stream of the far side cannot be read", "err", err)
			}
		}
	}
}

func (s *streams) read(session *Session, ssrc uint32) error {
	r, err := s.open()
	if err != nil {
		return err
	}
	if err := r.Receive(webrtc.RTPReceiveParameters{Encodings: []webrtc.RTPDecodingParameters{
		{RTPCodingParameters: webrtc.RTPCodingParameters{SSRC: webrtc.SSRC(ssrc)}},
	}}); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return r.Stop()
	}
	if len(s.live) == maxStreams {
		_ = s.live[0].Stop()
		s.live = append(s.live[:0], s.live[1:]...)
	}
	s.live = append(s.live, r)
	session.start(func() { drain(func(b []byte) error { _, _, err := r.Read(b); return err }) })
	session.start(func() { session.receive(r.Track(), r) })
	return nil
}

func (s *streams) reads(ssrc uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.live {
		if r.Track().SSRC() == webrtc.SSRC(ssrc) {
			return true
		}
	}
	return false
}

// stop ends all readers.
func (s *streams) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for _, r := range s.live {
		_ = r.Stop()
	}
	s.live = nil
}
