package media

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"sidetone/rtc/quality"
)

const (
	// gatherGrace is how long more candidates are waited for once there is enough to begin with.
	gatherGrace = 50 * time.Millisecond
	// gatherLimit is when the SDP goes out with what there is. JS SDKs wait 1 s; measured, TURN over TLS takes 0.2-1 s.
	gatherLimit = 1500 * time.Millisecond
	// gatherGiveUp ends the wait of a session that has nothing to show at all: pion itself may wait for minutes.
	gatherGiveUp = 8 * time.Second
	// gatherTimeout is when a search that is not over is told, as by Telnyx's SDKs.
	gatherTimeout = 15 * time.Second
)

// gathering follows our candidates as they are found.
type gathering struct {
	policy string
	plan   serverPlan
	all    bool                         // the line trickles: every candidate is told
	late   func(c *webrtc.ICECandidate) // told what comes after the SDP was taken; nil ends them
	warn   func(code int)

	mu                 sync.Mutex
	host, srflx, relay int
	complete, taken    bool
	timeout            *time.Timer   // runs while candidates are looked for
	changed            chan struct{} // holds a token when something changed
}

func newGathering(policy string, plan serverPlan, all bool, late func(*webrtc.ICECandidate), warn func(int)) *gathering {
	return &gathering{
		policy: policy, plan: plan, all: all, taken: all, late: late, warn: warn, changed: make(chan struct{}, 1),
	}
}

// begin watches the time of a round that has begun.
func (g *gathering) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.complete && g.timeout == nil {
		g.timeout = time.AfterFunc(gatherTimeout, g.overdue)
	}
}

// end stops watching.
func (g *gathering) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.settle()
}

func (g *gathering) settle() {
	if g.timeout != nil {
		g.timeout.Stop()
	}
	g.timeout = nil
}

// overdue tells of a round that is not over in time.
func (g *gathering) overdue() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timeout != nil { // it did not end meanwhile
		g.warn(quality.GatheringTimeout)
	}
}

// poor is the code of what there is to be said of the candidates found so far, once they are all; 0 when they will do. Where
// no server is configured, host candidates are what was asked for.
func (g *gathering) poor() int {
	switch {
	case g.relay+g.srflx > 0 || g.host > 0 && !g.plan.wantSrflx && !g.plan.wantRelay:
		return 0
	case g.host > 0 && g.policy != PolicyRelay:
		return quality.OnlyHostCandidates
	}
	return quality.GatheringEmpty
}

// again begins another round: what was found before is gone (ICE restarts).
func (g *gathering) again() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.host, g.srflx, g.relay, g.complete, g.taken = 0, 0, 0, false, g.all
	g.settle()
}

// found takes what pion's OnICECandidate says.
func (g *gathering) found(c *webrtc.ICECandidate) {
	g.mu.Lock()
	switch {
	case c == nil:
		g.complete = true
		g.settle()
		if code := g.poor(); g.all && code != 0 {
			g.warn(code)
		}
	case c.Typ == webrtc.ICECandidateTypeHost:
		g.host++
	case c.Typ == webrtc.ICECandidateTypeSrflx:
		g.srflx++
	case c.Typ == webrtc.ICECandidateTypeRelay:
		g.relay++
	}
	late := g.taken
	g.mu.Unlock()
	if late {
		g.late(c)
		return
	}
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// state says whether there is anything to send, whether it is enough to begin with, and whether there will be no more.
func (g *gathering) state() (some, enough, complete bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.policy == PolicyRelay {
		return g.relay > 0, g.relay > 0, g.complete
	}
	some = g.host+g.srflx+g.relay > 0
	enough = g.host > 0 && (g.srflx > 0 || !g.plan.wantSrflx) && (g.relay > 0 || !g.plan.wantRelay)
	return some, enough, g.complete
}

// wait returns when our SDP is fit to be sent: not when gathering is complete, which one dead server can put off for
// minutes.
func (g *gathering) wait(ctx context.Context, closed <-chan struct{}) error {
	limit, giveUp := time.After(gatherLimit), time.After(gatherGiveUp)
	var grace <-chan time.Time
	over := false
	for {
		some, enough, complete := g.state()
		switch {
		case complete && some, over && some:
			return nil
		case complete:
			return g.none()
		case enough && grace == nil:
			grace = time.After(gatherGrace)
		}
		select {
		case <-g.changed:
		case <-grace:
			return nil
		case <-limit:
			over = true
		case <-giveUp:
			return g.none()
		case <-closed:
			return ErrClosed
		case <-ctx.Done():
			if some {
				return nil
			}
			return fmt.Errorf("%w: %w", ErrNoCandidates, context.Cause(ctx))
		}
	}
}

func (g *gathering) none() error {
	if g.policy == PolicyRelay {
		return fmt.Errorf("%w: no TURN server gave an address, and the policy is relay; check ice.servers, their credentials and, for turns:, ice.ca_file", ErrNoCandidates)
	}
	return fmt.Errorf("%w: is the network up?", ErrNoCandidates)
}

// take marks the moment at which the SDP is read: what is found from now on is late.
func (g *gathering) take() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if code := g.poor(); !g.taken && code != 0 {
		g.warn(code)
	}
	g.taken = true
}
