package gateway

import (
	"crypto/rand"
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"sidetone/rtc/verto"

	"github.com/google/uuid"
	"github.com/pion/webrtc/v4"
)

// The freeswitch personality: what a FreeSWITCH 1.11 with mod_verto does differently, as measured, so that clients meet
// it here first. It is served on vertoPath; everywhere else the gateway is Telnyx's.
const (
	vertoPath = "/verto"

	readyDelay   = 100 * time.Millisecond // from the login to clientReady
	failureDelay = 50 * time.Millisecond  // from CALL CREATED to the bye of a call that cannot be
	idlePing     = 30 * time.Second       // of silence, after which it pings
	jitterBuffer = 60 * time.Millisecond  // of sound kept on a bridge
)

// Causes of its own.
var (
	noRoute       = cause{text: "NO_ROUTE_DESTINATION", code: 3}
	loseRace      = cause{text: "LOSE_RACE", code: 702}
	notRegistered = cause{text: "USER_NOT_REGISTERED", code: 806}
)

// absent is why l cannot call a client that is not there.
func absent(l *leg) cause {
	if l.fs {
		return notRegistered
	}
	return absentNumber
}

// unknown is why l cannot call a name that does not exist.
func unknown(l *leg) cause {
	if l.fs {
		return noRoute
	}
	return unknownNumber
}

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

// fixICE gives a peer one name and password for its life: an ICE restart is answered with the old ones.
func fixICE(s *webrtc.SettingEngine) { s.SetICECredentials(rand.Text()[:16], rand.Text()) }

// inviteFreeSWITCH invites the client: the callee's number is its own session, the direction is the caller's, and custom
// headers are params of their own.
func (l *leg) inviteFreeSWITCH(p verto.ServerCallParams, from verto.DialogParams) uint32 {
	p.CalleeIDNumber, p.DisplayDirection = l.sessid, outbound
	headers := map[string]string{}
	for name, v := range from.UserVariables {
		if text, ok := v.(string); ok {
			headers["verto_h_"+name] = text
		}
	}
	for _, h := range from.CustomHeaders {
		headers["verto_h_"+h.Name] = h.Value
	}
	return l.sendWith(verto.Invite, p, headers)
}

func (l *leg) attachFreeSWITCH(p verto.ServerCallParams) {
	p.CalleeIDNumber = l.sessid
	l.send(verto.Attach, p)
}

// with adds members to the params of a request; those of p win.
func with(p verto.ServerCallParams, more map[string]string) any {
	if len(more) == 0 {
		return p
	}
	all := map[string]json.RawMessage{}
	for name, value := range more {
		all[name], _ = json.Marshal(value)
	}
	b, err := json.Marshal(p)
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil {
		return p
	}
	return all
}

var (
	midLine       = regexp.MustCompile(`(?m)^a=(mid:|group:BUNDLE|msid-semantic:|extmap-allow-mixed).*\r\n`)
	candidateLine = regexp.MustCompile(`(?m)^(a=candidate:\S+ )1( .*\r\n)`)
)

// disguise makes an SDP of pion look like FreeSWITCH's: without mid and BUNDLE, and, when it is an offer, of the profile
// RTP/SAVPF and with each candidate for RTCP as well.
func disguise(sdp string) string {
	sdp = midLine.ReplaceAllString(sdp, "")
	if strings.Contains(sdp, "a=setup:actpass") {
		sdp = strings.Replace(sdp, " UDP/TLS/RTP/SAVPF ", " RTP/SAVPF ", 1)
		sdp = candidateLine.ReplaceAllString(sdp, "${1}1$2${1}2$2")
	}
	return sdp
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

// loginFreeSWITCH takes a user with a domain, and a password; there are no tokens.
func loginFreeSWITCH(p verto.LoginParams) verto.LoginParams {
	p.User, _, _ = strings.Cut(p.User, "@")
	p.Token = ""
	return p
}

// sessidFor is the sessid of a login: FreeSWITCH takes the client's own.
func (s *session) sessidFor(wanted string) string {
	if s.fs && wanted != "" && len(wanted) <= maxCallID {
		return wanted
	}
	return uuid.NewString()
}
