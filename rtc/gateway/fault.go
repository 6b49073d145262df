package gateway

import (
	"maps"
	"slices"

	"sidetone/rtc/verto"
)

// Trouble made on purpose.

// Cut drops every socket at once, without a word. Calls and their media go on (see Config.DetachTimeout).
func (g *Gateway) Cut() {
	for _, s := range g.everySession() {
		s.cut()
	}
}

// HalfDead makes every socket there is now, or none, swallow what goes through it, both ways. New ones are good.
func (g *Gateway) HalfDead(on bool) {
	for _, s := range g.everySession() {
		s.dead.Store(on)
	}
}

// RefuseReports answers call reports with 503 while on is true.
func (g *Gateway) RefuseReports(on bool) { g.away.Store(on) }

func (g *Gateway) everySession() []*session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Keys(g.sessions))
}

// States that SetState takes.
var States = []string{
	verto.StateRegistered, verto.StateRegister, verto.StateUnregistered, verto.StateNoRegister, verto.StateFailed,
	verto.StateFailWait, verto.StateTimeout, "TRYING", "EXPIRED", "UNREGISTER", "DOWN",
}

// SetState makes that state the answer to gatewayState from now on; "" is REGED again. A client that was told another
// state than REGED or REGISTER cannot call. Others go on.
func (g *Gateway) SetState(state string) {
	g.mu.Lock()
	g.state = state
	g.mu.Unlock()
}

// gatewayState is what clients are told.
func (g *Gateway) gatewayState() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == "" {
		return verto.StateRegistered
	}
	return g.state
}

// down tells whether the session was told that it is not registered.
func (s *session) down() bool {
	return !slices.Contains([]string{"", verto.StateRegistered, verto.StateRegister}, s.told)
}
