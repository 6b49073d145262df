// Package keeper holds the lines of the relays in a small process of its own, so that a pulse ends whatever becomes of who
// asked for it. The keeper drives every relay to rest when it begins, when a pulse is over, when whoever started it is gone,
// and before it lets go of a line: many chips keep an output's last level then, those of a Raspberry Pi among them.
package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Relay is a relay with its line.
type Relay struct {
	Name      string
	Line      string // see Lines
	ActiveLow bool   // a low level energises it
	// FailSafe: the lock holds while it is energised, and opens without power; that is its rest. Else it opens when energised.
	FailSafe bool
	MaxOn    time.Duration // it is open no longer than this, whatever is asked for
}

// rest tells whether the relay is energised while the door is locked.
func (r Relay) rest() bool { return r.FailSafe }

// Output is a line. Set energises its relay, or does not.
type Output interface {
	Set(energised bool) error
	Close() error
}

// Lines opens a relay's line as an output that is energised, or not, from the first moment on.
type Lines func(r Relay, energised bool) (Output, error)

// request is what the keeper is told: relays first, then pulses, and safe; without any, whether it is alive. It answers each
// by its id.
type request struct {
	ID     int           `json:"id"`
	Relays []Relay       `json:"relays,omitempty"`
	Relay  string        `json:"relay,omitempty"`
	For    time.Duration `json:"for,omitempty"`
	Safe   bool          `json:"safe,omitempty"`
}

type answer struct {
	ID    int    `json:"id"`
	Error string `json:"error,omitempty"`
}

// held is a relay whose line is ours.
type held struct {
	Relay
	line         Output
	since, until time.Time // open; until is zero when it is at rest
}

// Serve is the keeper: it does what comes over conn until that ends, or ctx. Then every relay is at rest. Its error is a
// line that does not do what it should; whoever started the keeper starts it again, which tries that line again.
func Serve(ctx context.Context, conn io.ReadWriter, lines Lines) (err error) {
	var relays []*held
	defer func() { err = errors.Join(err, release(relays)) }()
	requests := make(chan request)
	ended := make(chan struct{})
	defer close(ended)
	go func() { // ends with conn, which the process's end closes at the latest
		defer close(requests)
		for d := json.NewDecoder(conn); ; {
			var q request
			if d.Decode(&q) != nil {
				return
			}
			select {
			case requests <- q:
			case <-ended:
				return
			}
		}
	}()
	say := json.NewEncoder(conn)
	for {
		select {
		case <-ctx.Done():
			return nil
		case q, ok := <-requests:
			switch {
			case !ok:
				return nil
			case q.Relays != nil:
				if relays, err = take(relays, q.Relays, lines); err != nil {
					say.Encode(answer{q.ID, err.Error()})
					return err
				}
			case q.Safe:
				err = rest(relays)
			case q.Relay != "":
				err = pulse(relays, q, time.Now())
			}
			a := answer{ID: q.ID}
			if err != nil {
				a.Error = err.Error()
			}
			if say.Encode(a) != nil {
				return nil // nobody is there
			}
		case <-next(relays):
			err = expire(relays, time.Now())
		}
		if err != nil {
			return err
		}
	}
}

// take opens the lines of all relays, at rest. Those that were opened are given back with an error, too.
func take(have []*held, relays []Relay, lines Lines) ([]*held, error) {
	if have != nil {
		return have, errors.New("the relays are set already")
	}
	var failed error
	for _, r := range relays {
		line, err := lines(r, r.rest())
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("relay %s: %w", r.Name, err)) // the others are driven to rest nevertheless
			continue
		}
		have = append(have, &held{Relay: r, line: line})
	}
	return have, failed
}

// pulse opens a relay, or keeps it open for longer.
func pulse(relays []*held, q request, now time.Time) error {
	i := slices.IndexFunc(relays, func(h *held) bool { return h.Name == q.Relay })
	if i < 0 {
		return fmt.Errorf("there is no relay %q", q.Relay)
	}
	h := relays[i]
	if h.until.IsZero() {
		h.since = now
	}
	h.until = now.Add(q.For)
	if most := h.since.Add(h.MaxOn); h.until.After(most) {
		h.until = most
	}
	return h.set(!h.rest())
}

func (h *held) set(energised bool) error {
	if err := h.line.Set(energised); err != nil {
		return fmt.Errorf("relay %s: %w", h.Name, err)
	}
	return nil
}

// next fires when the first pulse is over; nil without one.
func next(relays []*held) <-chan time.Time {
	var first time.Time
	for _, h := range relays {
		if !h.until.IsZero() && (first.IsZero() || h.until.Before(first)) {
			first = h.until
		}
	}
	if first.IsZero() {
		return nil
	}
	return time.After(time.Until(first))
}

// expire ends the pulses that are over.
func expire(relays []*held, now time.Time) (err error) {
	for _, h := range relays {
		if !h.until.IsZero() && !now.Before(h.until) {
			h.until = time.Time{}
			err = errors.Join(err, h.set(h.rest()))
		}
	}
	return err
}

// rest ends all pulses.
func rest(relays []*held) (err error) {
	for _, h := range relays {
		h.until = time.Time{}
		err = errors.Join(err, h.set(h.rest()))
	}
	return err
}

// release drives all lines to rest, and only then lets go of them.
func release(relays []*held) error {
	err := rest(relays)
	for _, h := range relays {
		err = errors.Join(err, h.line.Close())
	}
	return err
}

// Safe drives all relays to rest once, for when nobody is left who holds them: after a crash, from init.
func Safe(relays []Relay, lines Lines) error {
	have, err := take(nil, relays, lines)
	return errors.Join(err, release(have))
}
