package gateway

import (
	"encoding/json"
	"strings"
	"sync"
	"time"

	"sidetone/rtc/verto"

	"github.com/google/uuid"
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
	outOfOrder    = cause{text: "DESTINATION_OUT_OF_ORDER", code: 27}
	unspecified   = cause{text: "INVALID_MSG_UNSPECIFIED", code: 95}
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

// lost is why a leg ends whose client went away before it answered l's call.
func lost(l *leg) cause {
	if l.fs {
		return outOfOrder
	}
	return calleeLost
}

// inviteFreeSWITCH invites the client: the callee's number is its own session, the direction is that of FreeSWITCH's leg,
// and custom headers are params of their own. A user variable x of the caller is verto_dvar_x in its leg, which no client
// sees; this dialplan exports each to the callee as verto_h_x.
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

// attachFreeSWITCH offers a call anew, with names and direction as FreeSWITCH's leg has them: of a call that the client
// made, the caller is the client itself.
func (l *leg) attachFreeSWITCH(p verto.ServerCallParams) {
	c := l.call
	p.CallerIDName, p.CallerIDNumber = c.callerName, c.callerName
	p.CalleeIDName, p.CalleeIDNumber, p.DisplayDirection = c.calleeName, l.sessid, outbound
	if l == c.caller {
		p.CalleeIDNumber, p.DisplayDirection = c.calleeName, inbound
	}
	l.send(verto.Attach, p)
}

// display tells both ends of a bridge who is at the far one, by the name that FreeSWITCH gives to whoever was called.
func (c *call) display() {
	for _, l := range []*leg{c.caller, c.callee} {
		if l == nil || !l.fs {
			continue
		}
		p := verto.ServerCallParams{DisplayName: "Outbound Call", DisplayNumber: c.calleeName}
		if l == c.callee {
			p.DisplayName, p.DisplayNumber = c.callerName, c.callerName
		}
		l.send(verto.Display, p)
	}
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

// refuseCall refuses an invite of which no call can be made.
func (s *session) refuseCall(req *request, why cause) {
	if req.ID != nil {
		f := verto.Refuse(req.Frame, verto.CodeSessionError, "CALL ERROR")
		f.Error.Cause, f.Error.CauseCode = why.text, why.code
		s.respond(req, f)
	}
}

// answers to a batch go out as one array, when all are there.
type answers struct {
	s       *session
	mu      sync.Mutex
	frames  []*verto.Frame
	waiting int // for answers, and for the end of the batch
}

func (s *session) newAnswers() *answers { return &answers{s: s, frames: []*verto.Frame{}, waiting: 1} }

func (a *answers) expect() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting++
}

func (a *answers) add(f *verto.Frame) {
	a.mu.Lock()
	a.frames = append(a.frames, f)
	a.mu.Unlock()
	a.arrived()
}

// arrived is told of each answer, and of the batch's end.
func (a *answers) arrived() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting--; a.waiting > 0 {
		return
	}
	b, err := json.Marshal(a.frames)
	if err != nil {
		a.s.log.Error("answers to a batch cannot be sent", "err", err)
		return
	}
	a.s.queue(b)
}
