package verto

import (
	"slices"
	"time"
)

const (
	maxLive  = 64
	maxOwed  = 16
	oweUntil = 150 * time.Second // FreeSWITCH keeps a call without a line for 120 s
)

// dialogs are the calls that live on the line, as far as signalling can tell: what is needed to know an offered call
// for one of ours.
type dialogs struct {
	live map[string]struct{}
	owed map[string]*owed // ended here while the platform could not be told
}

type owed struct {
	bye   ClientCallParams
	since time.Time
	told  bool // the bye is on its way, or there
}

func newDialogs() dialogs {
	return dialogs{live: map[string]struct{}{}, owed: map[string]*owed{}}
}

func (d dialogs) add(id string) {
	if id != "" && len(d.live) < maxLive {
		d.live[id] = struct{}{}
	}
}

func (d dialogs) remove(id string) { delete(d.live, id) }

// owe remembers a bye that could not be delivered.
func (d dialogs) owe(id string, bye ClientCallParams) {
	d.remove(id)
	for k, o := range d.owed {
		if time.Since(o.since) > oweUntil {
			delete(d.owed, k)
		}
	}
	if id != "" && len(d.owed) < maxOwed {
		d.owed[id] = &owed{bye: bye, since: time.Now()}
	}
}

// keep forgets all calls that are not in the list.
func (d dialogs) keep(ids []string) {
	for id := range d.live {
		if !slices.Contains(ids, id) {
			delete(d.live, id)
		}
	}
}

// clientReady draws up the calls that the platform kept over a reconnect. It comes once for each connection: a renewed
// login must not end calls by a list that lacks them.
func (l *line) clientReady(p ClientReadyParams) {
	if l.cfg.Dialect.HasGatewayState && l.loggedIn && l.status.State != Registered {
		l.poll()
	}
	if l.isReady {
		return
	}
	l.isReady = true
	l.dialogs.keep(p.ReattachedSessions)
	for _, id := range p.ReattachedSessions {
		l.settle(id)
	}
	l.tell(Event{Method: ClientReady, Reattached: p.ReattachedSessions})
}

// settle sees to the bye that is owed for a call, and tells whether one is or was a moment ago.
func (l *line) settle(id string) bool {
	o, ok := l.dialogs.owed[id]
	if !ok || time.Since(o.since) > oweUntil {
		return false
	}
	if o.told {
		return true
	}
	o.told = true
	o.bye.SessID = l.sessid
	again := func(_ *Frame, err error) { o.told = err == nil }
	err := l.request(Bye, o.bye, pending{purpose: forCaller, deadline: time.Now().Add(requestTimeout), answer: again})
	if err != nil {
		again(nil, err)
	}
	return true
}

// attached tells whether a call that the platform offers anew is one to be taken up: one of ours, or any when there are
// none (they are of the time before a restart).
func (l *line) attached(id string) bool {
	if l.settle(id) {
		return false // it was ended while the line was away
	}
	if _, ours := l.dialogs.live[id]; !ours && len(l.dialogs.live) > 0 {
		l.warn(CodeUnknownReattached, "call "+l.scrub(id))
		return false
	}
	l.dialogs.add(id)
	return true
}
