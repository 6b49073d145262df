package gateway

import (
	"errors"
	"slices"
	"time"

	"sidetone/rtc/verto"

	"github.com/google/uuid"
)

// How much is kept of each client.
const (
	maxLegs       = 16  // live calls at once
	maxCalls      = 100 // in Stats
	maxCandidates = 500
	maxReportIDs  = 20
	maxRefused    = 100 // logins in Stats
)

// registry is who is there: guarded by Gateway.mu, which is never held while anything waits.
type registry struct {
	closed   bool
	state    string                // told to clients instead of REGED
	sessions map[*session]struct{} // every socket, logged in or not
	sessids  map[string]*session   // logged in
	clients  map[string]*client    // by name, whoever has logged in once
	refused  []time.Time           // logins
}

// client is a name and all that goes under it.
type client struct {
	name         string
	sessions     []*session      // the last one gets the calls
	legs         map[string]*leg // live, by call id
	candidates   []Candidate
	calls        []*CallStats
	reports      []ReportStats
	debugReports int      // frames
	reportIDs    []string // call_report_ids under which it may still send reports
}

func newRegistry() registry {
	return registry{sessions: map[*session]struct{}{}, sessids: map[string]*session{}, clients: map[string]*client{}}
}

var (
	errClosed       = errors.New("the gateway is shutting down")
	errSessionInUse = errors.New("Session in use") //lint:ignore ST1005 these are the platform's words
	errDuplicate    = errors.New("CALL ALREADY EXISTS")
	errTooMany      = errors.New("TOO MANY CALLS")
)

// connect takes in a socket; it fails when the gateway is closing.
func (g *Gateway) connect(s *session) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return errClosed
	}
	g.sessions[s] = struct{}{}
	g.sockets.Add(1)
	return nil
}

// disconnect forgets a socket. Calls on it go on without, or end.
func (g *Gateway) disconnect(s *session) {
	g.mu.Lock()
	delete(g.sessions, s)
	var orphans []*leg
	if c := g.clients[s.name]; c != nil {
		c.sessions = slices.DeleteFunc(c.sessions, func(o *session) bool { return o == s })
		if g.sessids[s.sessid] == s {
			delete(g.sessids, s.sessid)
		}
		for _, l := range c.legs {
			if l.session == s {
				l.session = nil
				orphans = append(orphans, l)
			}
		}
	}
	g.mu.Unlock()
	for _, l := range orphans {
		l.call.post(func() { l.call.detached(l) })
	}
	g.notify()
}

// register makes s the latest session of who. wanted is the sessid of an earlier login, or empty. Calls of that
// earlier session go over to s; other calls of the name whose socket is gone end now.
//
// back are those of its calls that go on with s: each is offered new media by resume.
func (g *Gateway) register(s *session, who Identity, wanted string) (back []*leg, err error) {
	name := who.Name
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil, errClosed
	}
	older := g.sessids[wanted]
	if older != nil && older.name != name {
		g.mu.Unlock()
		return nil, errSessionInUse
	}
	c := g.clients[name]
	if c == nil {
		c = &client{name: name, legs: map[string]*leg{}}
		g.clients[name] = c
	}
	s.name, s.credential, s.sessid, s.since = name, who.Credential, s.sessidFor(wanted), time.Now()
	s.logins = 1
	if older != nil {
		s.sessid = wanted
	}
	var rang, lost []*leg
	for _, l := range c.legs {
		switch {
		case wanted != "" && l.sessid == wanted:
			s.sessid = wanted
			l.session, l.credential = s, who.Credential
			if l.stats.State == CallActive {
				back = append(back, l)
			} else {
				rang = append(rang, l)
			}
		case l.session == nil && !s.fs && s.assistant == "":
			lost = append(lost, l)
		}
	}
	g.sessids[s.sessid] = s
	c.sessions = append(slices.DeleteFunc(c.sessions, func(o *session) bool { return o == older }), s)
	c.reportIDs = append(c.reportIDs, s.reportID)
	c.reportIDs = c.reportIDs[max(0, len(c.reportIDs)-maxReportIDs):]
	g.mu.Unlock()

	if older != nil {
		older.request(verto.Punt, struct{}{})
		older.close(closePolicy, "the session was taken over")
	}
	for _, l := range rang {
		l.call.post(func() { l.call.abandoned(l) })
	}
	for _, l := range lost {
		l.call.post(func() { l.call.end(recoveryExpired, nil) })
	}
	g.notify()
	return back, nil
}

// renew notes by which credential s is logged in from now on, and its calls with it.
func (g *Gateway) renew(s *session, credential string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s.credential = credential
	s.logins++
	for _, l := range g.clients[s.name].legs {
		if l.session == s {
			l.credential = credential
		}
	}
}

func (g *Gateway) sawRefusedLogin() {
	g.mu.Lock()
	g.refused = append(g.refused, time.Now())
	g.refused = g.refused[max(0, len(g.refused)-maxRefused):]
	g.mu.Unlock()
}

// resume offers new media to calls that go on with another socket.
func (g *Gateway) resume(back []*leg) {
	for _, l := range back {
		l.call.post(func() { l.call.attached(l) })
	}
}

// known tells a name that is absent from one that does not exist.
func (g *Gateway) known(name string) bool {
	if g.cfg.Known != nil {
		return g.cfg.Known(name)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.clients[name] != nil
}

// legFrom registers the caller's side of a call under the id that the client chose.
func (g *Gateway) legFrom(s *session, id string, c *call) (*leg, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, errClosed
	}
	if g.clients[s.name].legs[id] != nil {
		return nil, errDuplicate
	}
	return g.addLeg(s, id, outbound, c)
}

// legsTo registers the callee's side of a call on the latest session of name; if that is a FreeSWITCH's, on all of them.
func (g *Gateway) legsTo(name string, c *call) ([]*leg, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, errClosed
	}
	cl := g.clients[name]
	if cl == nil || len(cl.sessions) == 0 {
		return nil, ErrNotRegistered
	}
	last := cl.sessions[len(cl.sessions)-1]
	to := []*session{last}
	if last.fs {
		to = slices.DeleteFunc(slices.Clone(cl.sessions), func(s *session) bool { return !s.fs })
	}
	var legs []*leg
	for _, s := range to {
		l, err := g.addLeg(s, uuid.NewString(), inbound, c)
		if err != nil {
			for _, l := range legs {
				delete(cl.legs, l.id)
				g.calls.Done()
			}
			return nil, err
		}
		legs = append(legs, l)
	}
	return legs, nil
}

// registered tells whether a client of that name is logged in.
func (g *Gateway) registered(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	cl := g.clients[name]
	return cl != nil && len(cl.sessions) > 0
}

// Directions as a client sees them.
const (
	inbound  = "inbound"
	outbound = "outbound"
)

func (g *Gateway) addLeg(s *session, id, direction string, c *call) (*leg, error) {
	cl := g.clients[s.name]
	if len(cl.legs) >= maxLegs {
		return nil, errTooMany
	}
	port := newPort()
	l := &leg{
		g: g, call: c, client: cl, id: id, session: s, sessid: s.sessid, credential: s.credential, telnyxLegID: uuid.NewString(), fs: s.fs,
		port: port, voice: newSpeaker(port),
		stats: &CallStats{
			ID: id, Direction: direction, Caller: c.callerName, Destination: c.calleeName,
			State: CallTrying, Started: time.Now(),
		},
	}
	cl.legs[id] = l
	g.calls.Add(1)
	cl.calls = append(cl.calls, l.stats)
	cl.calls = cl.calls[max(0, len(cl.calls)-maxCalls):]
	return l, nil
}

func (g *Gateway) removeLeg(l *leg) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(l.client.legs, l.id)
	g.calls.Done()
}

// leg finds a live call of a client; nil when there is none.
func (g *Gateway) leg(name, id string) *leg {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.clients[name].legs[id]
}

// saw remembers a candidate of a client.
func (g *Gateway) saw(l *leg, lines ...string) {
	defer g.notify()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, line := range lines {
		c := Candidate{CallID: l.id, Type: candidateType(line), Line: line}
		if c.Type != "" && !slices.Contains(l.client.candidates, c) {
			l.client.candidates = append(l.client.candidates, c)
		}
	}
	l.client.candidates = l.client.candidates[max(0, len(l.client.candidates)-maxCandidates):]
}

func (g *Gateway) sawDebugReport(name string) {
	g.mu.Lock()
	g.clients[name].debugReports++
	g.mu.Unlock()
}

// Stats tells what the gateway knows.
func (g *Gateway) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := Stats{Clients: map[string]ClientStats{}, RefusedLogins: append([]time.Time{}, g.refused...)}
	for name, c := range g.clients {
		cs := ClientStats{
			Registered:   len(c.sessions) > 0,
			Sessions:     make([]SessionStats, 0, len(c.sessions)),
			Candidates:   append([]Candidate{}, c.candidates...),
			Calls:        make([]CallStats, 0, len(c.calls)),
			Reports:      append([]ReportStats{}, c.reports...),
			DebugReports: c.debugReports,
		}
		for _, s := range c.sessions {
			cs.Sessions = append(cs.Sessions, SessionStats{VoiceSDKID: s.id, Remote: s.remote, UserAgent: s.userAgent, Since: s.since, Logins: s.logins})
		}
		for _, call := range c.calls {
			cs.Calls = append(cs.Calls, *call)
		}
		out.Clients[name] = cs
	}
	return out
}
