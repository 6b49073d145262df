// Package rollout brings a release to a fleet by shares of it: it watches what became of the devices that took it, offers it
// to more, or takes it back by itself. It is no part of the firmware.
package rollout

import (
	"fmt"
	"time"
)

// Plan says how a roll-out goes.
type Plan struct {
	Shares      []float64     // of the fleet, one after the other, growing: 0.01, 0.1, 1
	FailureRate float64       // failed updates among those that ended, 0 to 1: where it stops
	Reports     int           // ended updates that a share is judged by; FailureRate is never taken of fewer
	Stage       time.Duration // a share lasts at least so long
	Silence     time.Duration // a device that says nothing for so long after it was to boot has failed
}

// Check says what makes a plan none.
func (p Plan) Check() error {
	last := 0.0
	for _, s := range p.Shares {
		if !(s > last && s <= 1) {
			return fmt.Errorf("shares grow, from above 0 to 1 at most: %v", p.Shares)
		}
		last = s
	}
	switch {
	case last == 0:
		return fmt.Errorf("a roll-out needs shares of the fleet")
	case !(p.FailureRate > 0 && p.FailureRate <= 1):
		return fmt.Errorf("a failure rate of %g: it is above 0, and 1 at most", p.FailureRate)
	case p.Reports < 1:
		return fmt.Errorf("%d reports: at least one is needed", p.Reports)
	case p.Stage < 0 || p.Silence <= 0:
		return fmt.Errorf("a stage of %s, a silence of %s", p.Stage, p.Silence)
	}
	return nil
}

// Count is what became of the devices that the release is offered to.
type Count struct {
	Succeeded int // it is what they run
	Failed    int // they gave it up
	Lost      int // they were to boot it, and say nothing
	UnderWay  int // they have it, or are getting it
	Waiting   int // they are online, and have not begun
}

// Ended are the updates that there is a result of.
func (c Count) Ended() int { return c.Succeeded + c.Failed + c.Lost }

func (c Count) String() string {
	return fmt.Sprintf("%d succeeded, %d failed, %d silent, %d under way, %d waiting", c.Succeeded, c.Failed, c.Lost, c.UnderWay, c.Waiting)
}

// Act is what a roll-out does next.
type Act string

// Acts.
const (
	Wait  Act = "wait"
	Raise Act = "raise"
	Stop  Act = "stop" // the release is offered to nobody any more
	Done  Act = "done"
)

// Decision is an act, and why.
type Decision struct {
	Act    Act
	Share  float64 // from now on
	Reason string
}

// Decide says what comes next at a share that has lasted for since. It stops as soon as the failures are too many for
// Reports even if all that are still to come were well, and goes on when Reports have come, or when none is to come.
func (p Plan) Decide(share float64, since time.Duration, c Count) Decision {
	failed, ended := c.Failed+c.Lost, c.Ended()
	if of := max(ended, p.Reports); failed > 0 && float64(failed) >= p.FailureRate*float64(of) {
		return Decision{Stop, 0, fmt.Sprintf("%d of %d updates failed (%d ended), which is %.3g %% or more", failed, of, ended, p.FailureRate*100)}
	}
	wanted := min(p.Reports, ended+c.UnderWay+c.Waiting)
	switch {
	case ended < wanted:
		return Decision{Wait, share, fmt.Sprintf("%d of %d reports", ended, wanted)}
	case since < p.Stage:
		return Decision{Wait, share, fmt.Sprintf("this share lasts %s more", (p.Stage - since).Round(time.Second))}
	}
	for _, next := range p.Shares {
		if next > share {
			return Decision{Raise, next, fmt.Sprintf("%d of %d updates failed", failed, ended)}
		}
	}
	return Decision{Done, share, fmt.Sprintf("%d of %d updates failed", failed, ended)}
}

// Rollout carries a plan out. Its methods are called one at a time.
type Rollout struct {
	Plan
	Fleet *Fleet
	Offer func(share float64) error // has devices see the release from now on, by that share of them
	Share float64                   // that it is offered to now
	Began time.Time                 // of Share
}

// Tick looks at the fleet and does what the plan has next. A decision whose act could not be carried out comes again.
func (r *Rollout) Tick(now time.Time) (Decision, error) {
	d := r.Decide(r.Share, now.Sub(r.Began), r.Fleet.Count(r.Share, now, r.Silence))
	if d.Act == Raise || d.Act == Stop {
		if err := r.Offer(d.Share); err != nil {
			return d, err
		}
		r.Share, r.Began = d.Share, now
	}
	return d, nil
}
