package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"sidetone/rtc/verto"
)

// Texts of errors, as mod_verto words them.
const (
	textInvalidMethod = "Invalid Method, Missing Method or Permission Denied"
	textInvalid       = "Invalid Request"
	textAuthRequired  = "Authentication Required"
	textAuthFailure   = "Authentication Failure"
	textLoginWrong    = "Login Incorrect"
	textNoCall        = "CALL DOES NOT EXIST"
)

// maxBatch frames in one array: each may start a call.
const maxBatch = 32

// handle takes one text frame from the client. Whatever it holds, it is answered, done or ignored; never is it an
// end.
func (s *session) handle(data []byte) {
	data = bytes.TrimSpace(data)
	switch {
	case bytes.HasPrefix(data, []byte("#SP")): // a browser's speed test: raw text, no JSON
	case bytes.HasPrefix(data, []byte("[")):
		var batch []json.RawMessage
		if err := json.Unmarshal(data, &batch); err != nil || len(batch) == 0 || len(batch) > maxBatch {
			s.invalid(&request{}, err)
			return
		}
		var answers *answers
		if s.fs {
			answers = s.newAnswers()
			defer answers.arrived()
		}
		for _, one := range batch {
			s.handleOne(one, answers)
		}
	default:
		s.handleOne(data, nil)
	}
}

// request is a frame that a client sent.
type request struct {
	*verto.Frame
	batch *answers // nil: it is answered alone
}

func (s *session) handleOne(data []byte, batch *answers) {
	f, err := verto.Parse(data)
	req := &request{f, batch}
	if batch != nil && (err != nil || f.ID != nil && !f.IsResponse()) {
		batch.expect()
	}
	switch {
	case err != nil:
		s.invalid(req, err)
	case f.IsResponse():
		s.answered(f)
	case s.name == "" && f.Method != verto.Login && (s.fs || f.Method != verto.AnonymousLogin):
		if s.fs {
			s.refuse(req, verto.CodeAuthenticationRequired, textAuthRequired)
			return
		}
		// Never -32000: browsers take that for "log in again" and do so without a pause.
		s.refuse(req, verto.CodeAuthenticationFailed, textAuthFailure)
	case f.Method == "":
		if f.Type == "" { // an answer without an id, as one way of saying pong is
			return
		}
		s.g.sawDebugReport(s.name)
		s.reply(req, struct{}{}) // without a result browsers never start the call
	default:
		s.dispatch(req)
	}
}

func (s *session) invalid(req *request, err error) {
	s.log.Debug("not JSON-RPC", "err", err)
	s.respond(req, &verto.Frame{
		JSONRPC: verto.Version, ID: json.RawMessage("null"),
		Error: &verto.Error{Code: verto.CodeInvalidRequest, Message: textInvalid},
	})
}

// answered takes a client's answer to a request of ours. Only a refused invite matters: clients need not send any.
func (s *session) answered(f *verto.Frame) {
	id, err := strconv.ParseUint(string(f.ID), 10, 32)
	if err != nil || f.Error == nil || s.name == "" {
		return
	}
	s.g.mu.Lock()
	var legs []*leg
	for _, l := range s.g.clients[s.name].legs {
		if l.session == s {
			legs = append(legs, l)
		}
	}
	s.g.mu.Unlock()
	for _, l := range legs {
		l.call.post(func() { l.call.refused(l, uint32(id)) })
	}
}

// dispatch does what a request asks for.
func (s *session) dispatch(f *request) {
	method, known := strings.CutPrefix(f.Method, s.dialect().Prefix)
	switch method {
	case verto.Login:
		s.login(f)
		return
	case verto.AnonymousLogin, verto.AIConversation:
		known = !known
	}
	if known && !s.fs && s.dispatchTelnyx(f, method) {
		return
	}
	handler := callMethods[method]
	switch {
	case known && method == verto.Ping:
		s.reply(f, verto.CallResult{Message: "PONG", SessID: s.sessid})
	case known && handler != nil && !(s.fs && notOfFreeSWITCH[method]):
		var p verto.ClientCallParams
		if err := decode(f.Params, &p); err != nil {
			s.refuse(f, verto.CodeInvalidRequest, textInvalid)
			return
		}
		id := p.Dialog.ID()
		if id == "" {
			id = p.CallID
		}
		handler(s, f, p, id)
	default:
		s.log.Debug("unknown method", "client", s.name, "method", f.Method)
		s.refuse(f, verto.CodeMethodNotFound, textInvalidMethod)
	}
}

// notOfFreeSWITCH are call methods that mod_verto does not know: it wants the SDP whole.
var notOfFreeSWITCH = map[string]bool{verto.Candidate: true, verto.EndOfCandidates: true}

// dispatchTelnyx does what only Telnyx's dialect has; it reports false when method is none of that.
func (s *session) dispatchTelnyx(f *request, method string) bool {
	switch method {
	case verto.AnonymousLogin:
		s.loginAnonymous(f)
	case verto.AIConversation:
		s.converse(f)
	case verto.GatewayState:
		s.told = s.g.gatewayState()
		s.reply(f, verto.GatewayStateResult{SessID: s.sessid, Params: verto.GatewayStateParams{
			State: s.told, CallReportID: s.reportID, Region: region, DC: region,
		}})
	case "disable_push_notification":
		s.reply(f, verto.CallResult{Message: "disable push notification success", SessID: s.sessid})
	case "ringing_ack":
		s.reply(f, verto.CallResult{SessID: s.sessid})
	case "attachCalls": // no call is ever parked for a push
		s.refuse(f, verto.CodeSessionError, textNoCall)
	default:
		return false
	}
	return true
}

// region that the gateway says it is in.
const region = "lab"

// decode reads params as far as they can be read: a field of another type than expected (booleans as strings, null
// for a number) is left at its zero value, as if it had not come.
func decode(params json.RawMessage, v any) error {
	if len(params) == 0 {
		return nil
	}
	err := json.Unmarshal(params, v)
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) {
		return nil
	}
	return err
}

// login lets a client in, or renews its token on the same socket.
func (s *session) login(f *request) {
	var p verto.LoginParams
	if err := decode(f.Params, &p); err != nil {
		s.refuse(f, verto.CodeInvalidRequest, textInvalid)
		return
	}
	if s.fs {
		p = loginFreeSWITCH(p)
	}
	who, err := s.authenticate(p)
	if err != nil {
		s.refuseLogin(f, p, err)
		return
	}
	s.enter(f, who, p, "")
}

func (s *session) authenticate(p verto.LoginParams) (Identity, error) {
	who, err := s.g.cfg.Authenticate(p)
	if err == nil && who.Name == "" {
		err = errors.New("the credential has no name")
	}
	return who, err
}

func (s *session) refuseLogin(f *request, p verto.LoginParams, why error) {
	s.log.Info("login refused", "user", p.User, "err", why)
	s.g.sawRefusedLogin()
	text := textAuthFailure
	if p.Token == "" {
		text = textLoginWrong
	}
	s.refuse(f, verto.CodeAuthenticationFailed, text)
}

// withdrawn tells whether a login ended while it was let in, which Kick may have been too early to see.
func (s *session) withdrawn(f *request, who Identity, p verto.LoginParams) bool {
	now, err := s.authenticate(p)
	if err == nil && now != who {
		err = errors.New("the credential was given another name")
	}
	if err == nil {
		return false
	}
	s.refuseLogin(f, p, err)
	s.g.Kick(who.Credential)
	return true
}

// enter registers who has proved to be that, or wants to talk to an assistant.
func (s *session) enter(f *request, who Identity, p verto.LoginParams, assistant string) {
	if s.name != "" {
		if who.Name != s.name {
			s.refuse(f, verto.CodeAuthenticationFailed, errSessionInUse.Error())
			return
		}
		s.g.renew(s, who.Credential)
		if assistant == "" && s.withdrawn(f, who, p) {
			return
		}
		// No clientReady after a renewal: a client ends its calls when the list lacks them.
		s.reply(f, verto.LoginResult{Message: "logged in", SessID: s.sessid})
		return
	}
	s.userAgent, s.assistant = userAgent(p.UserAgent), assistant
	back, err := s.g.register(s, who, p.SessID)
	if err != nil {
		s.refuse(f, verto.CodeAuthenticationFailed, err.Error())
		if s.fs {
			s.close(closePolicy, err.Error())
		}
		return
	}
	if assistant == "" && s.withdrawn(f, who, p) {
		return
	}
	s.log.Info("client registered", "client", s.name, "user_agent", s.userAgent, "reattached", len(back))
	s.reply(f, verto.LoginResult{Message: "logged in", SessID: s.sessid})
	ready := verto.ClientReadyParams{ReattachedSessions: make([]string, 0, len(back))}
	for _, l := range back {
		ready.ReattachedSessions = append(ready.ReattachedSessions, l.id)
	}
	if s.fs { // its calls come first
		s.g.resume(back)
		time.AfterFunc(readyDelay, func() { s.request(verto.ClientReady, ready) })
		return
	}
	s.request(verto.ClientReady, ready)
	s.g.resume(back)
}

// userAgent in a few words, of a phone's string or a browser's object.
func userAgent(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		var o struct{ SDKVersion, Data string }
		_ = decode(raw, &o)
		text = strings.TrimSpace(o.SDKVersion + " " + o.Data)
	}
	const limit = 200
	return strings.ToValidUTF8(text[:min(len(text), limit)], "")
}

// callMethods are what a client may ask of a call. id is the call's.
var callMethods map[string]func(s *session, f *request, p verto.ClientCallParams, id string)

func init() {
	callMethods = map[string]func(s *session, f *request, p verto.ClientCallParams, id string){
		verto.Invite:          (*session).invite,
		verto.Answer:          (*session).answer,
		verto.Attach:          (*session).attach,
		verto.Modify:          (*session).modify,
		verto.Info:            (*session).info,
		verto.Bye:             (*session).bye,
		verto.Candidate:       (*session).candidate,
		verto.EndOfCandidates: (*session).candidate,
	}
}
