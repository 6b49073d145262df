package appliance

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"sidetone/provisioning/config"
	"sidetone/provisioning/identity"
	"sidetone/rtc/call"
	"sidetone/rtc/media"
	"sidetone/rtc/verto"
)

// dialect is what the line's platform speaks.
func (a *Appliance) dialect() verto.Dialect {
	if a.cfg.Line.Dialect == verto.FreeSWITCH.Name {
		return verto.FreeSWITCH
	}
	return verto.Telnyx
}

func (a *Appliance) lineConfig(roots *x509.CertPool) verto.Config {
	cfg := verto.Config{
		URL: a.cfg.Line.URL, Dialect: a.dialect(), Region: a.cfg.Line.Region, UserAgent: "sidetone/" + a.opt.Version,
		TLS:    &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, Time: a.clock.Now},
		Logger: a.log,
	}
	if t := a.cfg.Assistant; a.identity == nil {
		cfg.Anonymous = &verto.Target{Type: t.TargetType, ID: t.TargetID, Version: t.TargetVersionID, ConversationID: t.ConversationID, Params: map[string]any{}}
		for _, p := range t.Params {
			cfg.Anonymous.Params[p.Name] = p.Value
		}
		return cfg
	}
	cfg.Refused = a.identity.Invalidate
	cfg.Credentials = func(ctx context.Context) (verto.Credentials, error) {
		c, err := a.identity.Credentials(ctx)
		if errors.Is(err, identity.ErrRefused) {
			return verto.Credentials{}, refusedError{err}
		}
		return verto.Credentials{Token: c.Token.Reveal(), User: c.User, Password: c.Password.Reveal(), Expires: c.Expires}, err
	}
	return cfg
}

// keepLogin keeps the credentials fresh, and logs in with new ones on the line that is up.
func (a *Appliance) keepLogin(ctx context.Context) {
	if a.identity == nil {
		return
	}
	var keeper part
	keeper.start(ctx, a.identity.Run)
	defer keeper.stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.identity.Refreshed():
			if err := a.line.Refresh(ctx); err != nil && ctx.Err() == nil {
				a.log.Warn("the new credentials are not taken yet", "err", err)
			}
		}
	}
}

// warn has the line tell of a token near its end, since it notices that too.
func (a *Appliance) warn(w identity.Warning) {
	_ = a.line.TokenExpiring(context.Background(), w.Message) // its only error is that the line has ended
}

// refusedError is an identity's refusal in the line's terms, in its own words.
type refusedError struct{ error }

// Is implements errors.Is.
func (refusedError) Is(target error) bool { return target == verto.ErrRefused }

func (a *Appliance) callConfig() call.Config {
	l := a.cfg.Line
	return call.Config{
		Line: lineAdapter{a}, NewMedia: a.newMedia,
		AutoAnswer: l.AutoAnswer, AnswerDelay: time.Duration(l.AnswerDelay), AllowFrom: l.AllowFrom,
		SecondCall: call.SecondCall(l.SecondCall), DTMF: call.DTMFMode(l.DTMF), StartMuted: l.Muted,
		DoNotDisturb:  func() bool { return a.cfg.Quiet.Action == config.QuietReject && a.quiet() },
		RelayFallback: a.cfg.ICE.Policy == media.PolicyAuto,
		RingTimeout:   time.Duration(l.RingTimeout), SetupTimeout: time.Duration(l.SetupTimeout),
		CallerNumber: l.CallerNumber, SDKVersion: a.opt.Version, ClientSummary: summarize(a.cfg),
		FlushInterval: time.Duration(a.cfg.Report.FlushInterval),
		Logger:        a.log,
	}
}

// iceServers are those of one call: the configured ones, be there none; else those that came with the token, which are
// fresh; else the platform's own.
func (a *Appliance) iceServers(ctx context.Context) []media.ICEServer {
	if a.servers != nil {
		return a.servers
	}
	if a.identity == nil {
		return platformServers(a.cfg.Line.URL)
	}
	creds, err := a.identity.Credentials(ctx)
	if err != nil {
		a.log.Warn("no fresh TURN servers from the token broker; the call goes without them", "err", err)
	}
	if len(creds.ICEServers) == 0 {
		return platformServers(a.cfg.Line.URL)
	}
	var servers []media.ICEServer
	for _, s := range creds.ICEServers {
		servers = append(servers, media.ICEServer{URLs: s.URLs, Username: s.Username, Credential: s.Credential.Reveal()})
	}
	return servers
}

// platformServers are the STUN and TURN servers that belong to the platform at a line's URL; empty when none are known.
func platformServers(lineURL string) []media.ICEServer {
	u, err := url.Parse(lineURL)
	if err != nil {
		return nil
	}
	if host := u.Hostname(); host == "telnyx.com" || strings.HasSuffix(host, ".telnyx.com") {
		return media.TelnyxServers()
	}
	return nil
}

// lineAdapter is the line as the call manager wants it.
type lineAdapter struct{ a *Appliance }

var _ call.Line = lineAdapter{}

func (l lineAdapter) Invite(ctx context.Context, c call.Info, sdp string) error {
	ours := l.a.cfg.Line
	p := verto.ClientCallParams{SDP: sdp, Trickle: l.a.cfg.ICE.Trickle, Dialog: dialog(c)}
	p.Dialog.DestinationNumber = c.Destination
	p.Dialog.CallerIDName = cmp.Or(c.CallerName, ours.CallerName)
	p.Dialog.CallerIDNumber = cmp.Or(c.CallerNumber, ours.CallerNumber)
	p.Dialog.ClientState = cmp.Or(c.ClientState, base64.StdEncoding.EncodeToString([]byte(ours.ClientState)))
	p.Dialog.PreferredCodecs = l.preferred(c)
	p.Dialog.CustomHeaders = headers(c.Headers)
	for _, h := range ours.Headers { // the call's own win
		if !slices.ContainsFunc(c.Headers, func(o call.Header) bool { return strings.EqualFold(o.Name, h.Name) }) {
			p.Dialog.CustomHeaders = append(p.Dialog.CustomHeaders, verto.Header(h))
		}
	}
	return l.request(ctx, verto.Invite, p)
}

func (l lineAdapter) Answer(ctx context.Context, c call.Info, sdp string) error {
	p := verto.ClientCallParams{SDP: sdp, Trickle: l.a.cfg.ICE.Trickle, Dialog: dialog(c)}
	p.Dialog.PreferredCodecs = l.preferred(c)
	p.Dialog.CustomHeaders = headers(c.AnswerHeaders)
	return l.request(ctx, verto.Answer, p)
}

// preferred are the codecs of a call, best first.
func (l lineAdapter) preferred(c call.Info) (codecs []verto.Codec) {
	for _, name := range l.a.codecs(c) {
		if i := slices.IndexFunc(codecsKnown, func(k verto.Codec) bool { return strings.EqualFold(k.MimeType, "audio/"+name) }); i >= 0 {
			codecs = append(codecs, codecsKnown[i])
		}
	}
	return codecs
}

// codecsKnown are those of audio.codecs by their MIME types (RFC 7587, RFC 3551).
var codecsKnown = []verto.Codec{
	{MimeType: "audio/opus", ClockRate: 48000, Channels: 2},
	{MimeType: "audio/PCMU", ClockRate: 8000, Channels: 1},
	{MimeType: "audio/PCMA", ClockRate: 8000, Channels: 1},
}

func headers(in []call.Header) (out []verto.Header) {
	for _, h := range in {
		out = append(out, verto.Header(h))
	}
	return out
}

func (l lineAdapter) Bye(ctx context.Context, c call.Info) error {
	return l.request(ctx, verto.Bye, verto.ClientCallParams{Cause: c.Cause.Cause, CauseCode: c.CauseCode, Dialog: dialog(c)})
}

func (l lineAdapter) DTMF(ctx context.Context, c call.Info, digits string) error {
	// One message per digit, as every SDK sends them.
	for _, d := range digits {
		if err := l.request(ctx, verto.Info, verto.ClientCallParams{DTMF: string(d), Dialog: dialog(c)}); err != nil {
			return err
		}
	}
	return nil
}

func (l lineAdapter) Attach(ctx context.Context, c call.Info, sdp string) error {
	p := verto.ClientCallParams{SDP: sdp, Trickle: l.a.cfg.ICE.Trickle, Dialog: dialog(c)}
	p.Dialog.Attach = true
	return l.request(ctx, verto.Attach, p)
}

func (l lineAdapter) Modify(ctx context.Context, c call.Info, action, with string) (call.Modified, error) {
	p := verto.ClientCallParams{Action: action, Dialog: dialog(c)}
	switch action {
	case call.ModifyUpdate:
		p.CallID, p.SDP, p.Trickle = c.ID, with, l.a.cfg.ICE.Trickle
	case call.ModifyTransfer:
		p.Destination = with
	}
	r, err := l.a.line.Call(ctx, verto.Modify, p)
	return call.Modified{HoldState: r.HoldState, SDP: r.SDP}, refused(err)
}

func (l lineAdapter) Candidate(ctx context.Context, c call.Info, candidate, mid string, mline uint16) error {
	return l.request(ctx, verto.Candidate, verto.ClientCallParams{
		Candidate: candidate, SDPMid: &mid, SDPMLineIndex: &mline, Dialog: dialog(c),
	})
}

func (l lineAdapter) EndOfCandidates(ctx context.Context, c call.Info) error {
	return l.request(ctx, verto.EndOfCandidates, verto.ClientCallParams{EndOfCandidates: true, Dialog: dialog(c)})
}

func (l lineAdapter) Healthy(ctx context.Context) bool { return l.a.line.Healthy(ctx) }

func (l lineAdapter) Renew(ctx context.Context, why string) {
	if err := l.a.line.Renew(ctx, why); err != nil && ctx.Err() == nil {
		l.a.log.Warn("the line is not renewed", "err", err)
	}
}

func (l lineAdapter) request(ctx context.Context, method string, p verto.ClientCallParams) error {
	_, err := l.a.line.Call(ctx, method, p)
	return refused(err)
}

// refused tells the platform's no from a line that is down, and what was asked from what was not.
func refused(err error) error {
	if refusal := (*verto.Error)(nil); errors.As(err, &refusal) {
		return &call.Refused{Cause: call.Cause{Cause: refusal.Cause, CauseCode: refusal.CauseCode}, Err: refusal}
	}
	if errors.Is(err, verto.ErrNotRegistered) {
		return fmt.Errorf("%w: %w", call.ErrUnsent, err)
	}
	return err
}

func dialog(c call.Info) verto.DialogParams {
	return verto.DialogParams{
		CallID: c.ID, Audio: true,
		TelnyxCallControlID: c.TelnyxCallControlID, TelnyxSessionID: c.TelnyxSessionID, TelnyxLegID: c.TelnyxLegID,
	}
}

// signals translates what the platform says of a call. What has no entry is not about a call's course.
var signals = map[string]call.SignalKind{
	verto.Invite:    call.SignalInvite,
	verto.Ringing:   call.SignalRinging,
	verto.Media:     call.SignalEarlyMedia,
	verto.Answer:    call.SignalAnswered,
	verto.Bye:       call.SignalBye,
	verto.Display:   call.SignalDisplay,
	verto.Candidate: call.SignalCandidate,
	verto.Attach:    call.SignalAttach,
	verto.Punt:      call.SignalDropped,

	verto.ClientReady: call.SignalReady,
}

func (a *Appliance) signal(e verto.Event) {
	kind, ok := signals[e.Method]
	p := e.Call
	if e.Method == verto.Info && p != nil && p.DTMF != "" {
		kind, ok = call.SignalDigit, true
	}
	if !ok {
		return
	}
	s := call.Signal{Kind: kind, Reattached: e.Reattached}
	if p != nil {
		s = call.Signal{
			Kind: kind, CallID: p.CallID, SDP: p.SDP, Digit: p.DTMF,
			RemoteName: p.CallerIDName, RemoteID: p.CallerIDNumber,
			Cause:     call.Cause{Cause: p.Cause, CauseCode: p.CauseCode, SIPCode: p.SIPCode, SIPReason: p.SIPReason},
			Candidate: p.Candidate, ClientState: p.ClientState,

			TelnyxCallControlID: p.TelnyxCallControlID, TelnyxSessionID: p.TelnyxSessionID, TelnyxLegID: p.TelnyxLegID,
		}
		if kind == call.SignalDisplay {
			s.RemoteName, s.RemoteID = p.DisplayName, p.DisplayNumber
		}
		if p.Dialog != nil {
			for _, h := range p.Dialog.CustomHeaders {
				s.Headers = append(s.Headers, call.Header(h))
			}
		}
		if p.SDPMid != nil {
			s.SDPMid = *p.SDPMid
		}
		if p.SDPMLineIndex != nil {
			s.SDPMLineIndex = *p.SDPMLineIndex
		}
	}
	a.calls.Signal(s)
}
