package gateway

import (
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
)

// freeSWITCHCodecs are those of its offers; telephone-event it only ever answers.
var freeSWITCHCodecs = []webrtc.RTPCodecParameters{
	{PayloadType: 102, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "stereo=1; maxaveragebitrate=30000; maxptime=40",
	}},
	{PayloadType: 0, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: 8000}},
	{PayloadType: 8, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMA, ClockRate: 8000}},
	{PayloadType: 103, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: mimeTelephoneEvent, ClockRate: 48000, SDPFmtpLine: "0-16",
	}},
	{PayloadType: 101, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: mimeTelephoneEvent, ClockRate: 8000, SDPFmtpLine: "0-16",
	}},
}

// FreeSWITCH's ports for media. They lie below those that a kernel gives to whoever asks for any: nobody but a gateway takes
// one while it is free for a moment.
const firstPort, lastPort = 16384, 32767

// fixTransport gives a peer one port, one ICE name and one password for its life: an ICE restart is answered with the old
// ones. pion closes its socket before it gathers anew, and then finds the same port free.
func fixTransport(s *webrtc.SettingEngine, listen net.IP) error {
	port, err := freePort(listen)
	if err != nil {
		return fmt.Errorf("a port for media: %w", err)
	}
	s.SetICECredentials(rand.Text()[:16], rand.Text())
	return s.SetEphemeralUDPPortRange(port, port)
}

// freePort picks any of the ports that is free now. Calls that begin at the same moment do not try the same ones.
func freePort(listen net.IP) (port uint16, err error) {
	for range 100 {
		port = uint16(firstPort + mathrand.IntN(lastPort-firstPort+1))
		var conn *net.UDPConn
		if conn, err = net.ListenUDP("udp", &net.UDPAddr{IP: listen, Port: int(port)}); err == nil {
			return port, conn.Close()
		}
	}
	return 0, err
}

var (
	midLine       = regexp.MustCompile(`(?m)^a=(mid:|group:BUNDLE|extmap-allow-mixed|rtcp-rsize|candidate:\S+ 2 ).*\r\n`)
	candidateLine = regexp.MustCompile(`(?m)^(a=candidate:\S+ )1( udp \d+ (\S+) (\d+) .*)\r\n`)
)

// disguise makes an SDP of pion look like FreeSWITCH's: without mid and BUNDLE, with its names, with address and port of
// its candidate where pion leaves them out, and, when it is an offer, of the profile RTP/SAVPF and with each candidate for
// RTCP as well.
func disguise(sdp string) string {
	sdp = midLine.ReplaceAllString(sdp, "")
	sdp = strings.Replace(sdp, "o=- ", "o=FreeSWITCH ", 1)
	sdp = strings.Replace(sdp, "\ns=-\r", "\ns=FreeSWITCH\r", 1)
	if c := candidateLine.FindStringSubmatch(sdp); c != nil {
		family, address, port := "IP4", c[3], c[4]
		if strings.Contains(address, ":") {
			family = "IP6"
		}
		at := "IN " + family + " " + address
		sdp = strings.Replace(sdp, "m=audio 9 ", "m=audio "+port+" ", 1)
		sdp = strings.ReplaceAll(sdp, "IN IP4 0.0.0.0\r", at+"\r")
		sdp = strings.Replace(sdp, "c="+at+"\r\n", "c="+at+"\r\na=silenceSupp:off - - - -\r\na=ptime:20\r\na=rtcp:"+port+" "+at+"\r\n", 1)
	}
	again := "${1}1$2 generation 0\r\n"
	if strings.Contains(sdp, "a=setup:actpass") {
		sdp = strings.Replace(sdp, " UDP/TLS/RTP/SAVPF ", " RTP/SAVPF ", 1)
		again += "${1}2$2 generation 0\r\n"
	}
	return candidateLine.ReplaceAllString(sdp, again)
}

// undisguise gives an SDP that came in answer to a disguised one what pion needs to find the sound in it.
func undisguise(sdp string) string {
	at := strings.Index(sdp, "m=audio ")
	if at < 0 || strings.Contains(sdp, "\na=mid:") {
		return sdp
	}
	end := strings.Index(sdp[at:], "\n")
	if end < 0 {
		return sdp
	}
	end += at + 1
	return sdp[:at] + "a=group:BUNDLE 0\r\n" + sdp[at:end] + "a=mid:0\r\n" + sdp[end:]
}

// buffered passes on to a leg what comes through FreeSWITCH's jitter buffer. Each packet with a marker empties it: whoever
// marks every packet is heard as silence. Digits do not cross a bridge, whichever way they came.
func (c *call) buffered(to *leg) func(*packet) {
	type waiting struct {
		packet
		due time.Time
	}
	const most = 256
	in := make(chan *packet, most)
	c.tasks.Go(func() {
		var queue []waiting
		timer := time.NewTimer(0)
		defer timer.Stop()
		for {
			select {
			case <-c.quit:
				return
			case p := <-in:
				if p.Marker {
					queue = nil
				}
				if len(queue) < most {
					queue = append(queue, waiting{*p, time.Now().Add(jitterBuffer)})
				}
			case <-timer.C:
				for len(queue) > 0 && !time.Now().Before(queue[0].due) {
					to.voice.pass(&queue[0].packet)
					queue = queue[1:]
				}
			}
			if len(queue) > 0 {
				timer.Reset(time.Until(queue[0].due))
			}
		}
	})
	return func(p *packet) {
		if p.codec.isTelephoneEvent() {
			return
		}
		q := *p
		q.Payload = append([]byte(nil), p.Payload...)
		offer(in, &q)
	}
}
