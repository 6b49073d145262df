// Package gesture makes presses of what a button's contact does: press, double, long, a hold that is counted down, and a
// button that is stuck. It is pure: it is told what happens, with the time, and says what it was.
package gesture

import "time"

// Config says which gestures a button has. A duration of 0 means: not this one. They grow in this order.
type Config struct {
	Debounce time.Duration // how long the contact must rest to count; 0: somebody else has debounced it
	Double   time.Duration // a second press within so long after the first makes it a double one
	Long     time.Duration // held for so long it is a long press
	Hold     time.Duration // held for so long, the last CountDown of it counted down in seconds, and then let go
	Stuck    time.Duration // held for so long it is nobody's finger; more than Hold with Confirm
}

const (
	// CountDown is the part of Hold that is counted down.
	CountDown = 5 * time.Second
	// Confirm is the time in which a hold must be let go: who leans at the button, and what is stuck, does not mean it.
	Confirm = 5 * time.Second
)

// Kind is what somebody did with a button.
type Kind string

// Gestures. Each time a button goes down it tells one of Press, Double and Long at most, whatever else comes of it.
const (
	Press    Kind = "press"    // at once where the button has neither Double nor Long; else when it can be neither
	Double   Kind = "double"   // when it goes down again
	Long     Kind = "long"     // while it is still held
	Counting Kind = "counting" // Left is what is left of the hold; at 0 it is time to let go
	Held     Kind = "hold"     // it was let go in time after the hold
	Kept     Kind = "kept"     // it was let go too early, or too late: the hold means nothing
	Stuck    Kind = "stuck"    // told once, until it is released
	Released Kind = "released" // the button is not stuck any more
)

// Gesture is one of them.
type Gesture struct {
	Kind Kind
	Time time.Time     // when it was one
	Left time.Duration // of Counting; whole seconds
}

// Button is what is known of a button.
type Button struct {
	config Config

	contact   bool      // what the contact is
	contactAt time.Time // since when
	down      bool      // what it is without its bouncing
	at        time.Time // since when

	told    bool // what this going down means has been told
	counted int  // seconds of the hold told; holdOver: there is no hold in this going down, or not any more
	stuck   bool
	first   time.Time // when a press ended that may become a double one; zero: none did
}

const (
	steps    = int(CountDown/time.Second) + 1 // of the count-down, 0 among them
	holdOver = steps + 1
)

// New is a button that is found pressed, or not. Pressed, that is no press: nobody saw it go down.
func New(c Config, active bool, now time.Time) Button {
	b := Button{config: c, contact: active, contactAt: now, down: active, at: now, told: active}
	if active {
		b.counted = holdOver
	}
	return b
}

// Step takes what the contact is at that time; the same as before when only time has passed.
func (b Button) Step(active bool, now time.Time) (Button, []Gesture) {
	var out []Gesture
	// Whatever was due before comes first, so that it does not matter when Step is called.
	for due := b.Due(); !due.IsZero() && !due.After(now); due = b.Due() {
		b.pass(due, &out)
	}
	if active != b.contact {
		b.contact, b.contactAt = active, now
		if b.config.Debounce == 0 {
			b.change(&out)
		}
	}
	return b, out
}

// Active is what the contact was at the last Step.
func (b Button) Active() bool { return b.contact }

// Due is when the next Step is wanted though the contact rests; zero when none is.
func (b Button) Due() time.Time {
	if b.contact != b.down { // what is due later depends on where it comes to rest
		return b.contactAt.Add(b.config.Debounce)
	}
	if !b.down {
		if b.first.IsZero() {
			return time.Time{}
		}
		return b.first.Add(b.config.Double)
	}
	if b.stuck {
		return time.Time{}
	}
	var due time.Time
	for _, t := range []time.Time{b.meant(), b.nextCount(), b.stuckAt()} {
		if !t.IsZero() && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	return due
}

// meant is when it is clear what a button that is held means: a long press, or one that becomes no double one.
func (b Button) meant() time.Time {
	switch {
	case b.told:
		return time.Time{}
	case b.config.Long > 0:
		return b.at.Add(b.config.Long)
	}
	return b.at.Add(b.config.Double)
}

// nextCount is when the count-down goes on, or ends in vain.
func (b Button) nextCount() time.Time {
	switch {
	case b.config.Hold == 0 || b.counted == holdOver:
		return time.Time{}
	case b.counted == steps:
		return b.at.Add(b.config.Hold + Confirm)
	}
	return b.at.Add(b.config.Hold - CountDown + time.Duration(b.counted)*time.Second)
}

func (b Button) stuckAt() time.Time {
	if b.config.Stuck == 0 {
		return time.Time{}
	}
	return b.at.Add(b.config.Stuck)
}

// pass does what is due now.
func (b *Button) pass(now time.Time, out *[]Gesture) {
	tell := func(k Kind, left time.Duration) { *out = append(*out, Gesture{k, now, left}) }
	switch {
	case b.contact != b.down:
		b.change(out)
	case !b.down:
		b.first = time.Time{}
		tell(Press, 0)
	case now.Equal(b.meant()):
		b.told = true
		if b.config.Long > 0 {
			tell(Long, 0)
		} else {
			tell(Press, 0)
		}
	case now.Equal(b.nextCount()):
		if b.counted++; b.counted == holdOver {
			tell(Kept, 0)
		} else {
			tell(Counting, time.Duration(steps-b.counted)*time.Second)
		}
	default:
		b.stuck = true
		tell(Stuck, 0)
	}
}

// change is the contact's new rest.
func (b *Button) change(out *[]Gesture) {
	b.down, b.at = b.contact, b.contactAt
	tell := func(k Kind) { *out = append(*out, Gesture{Kind: k, Time: b.at}) }
	if b.down {
		switch {
		case !b.first.IsZero():
			b.told, b.first = true, time.Time{}
			tell(Double)
		case b.config.Double == 0 && b.config.Long == 0:
			b.told = true
			tell(Press)
		}
		return
	}
	switch {
	case b.stuck:
		tell(Released)
	case b.counted == steps:
		tell(Held)
	case b.counted > 0 && b.counted < steps:
		tell(Kept)
	}
	switch {
	case b.told:
	case b.config.Double > 0:
		b.first = b.at
	default:
		tell(Press)
	}
	b.told, b.counted, b.stuck = false, 0, false
}
