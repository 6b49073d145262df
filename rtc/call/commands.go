package call

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// An empty callID means the one call that is up, in all commands; of several the one that is talked on, rings or is held,
// as fits the command.

// command steps a call that a person means.
func (m *Manager) command(c *live, id string, in Input) error {
	switch {
	case c == nil && id == "":
		return ErrNoCall
	case c == nil:
		return fmt.Errorf("%w %q", ErrNoCall, id)
	}
	if !m.step(c, in) {
		return fmt.Errorf("the call is %s (%s): it cannot %s now", c.info.State, c.info.Direction, in.Kind)
	}
	return nil
}

// Answer answers an inbound call that rings, after putting the one that is talked on on hold. The names of headers begin
// with X-.
func (m *Manager) Answer(ctx context.Context, callID string, headers ...Header) error {
	if err := validHeaders(headers); err != nil {
		return err
	}
	headers = slices.Clone(headers)
	reply := make(chan error, 1)
	if err := m.ask(ctx, func() error {
		c := m.find(callID, Ringing, Answering)
		if c == nil || c.info.State != Ringing {
			reply <- nil
			return m.command(c, callID, Input{Kind: OnAnswer})
		}
		return m.answer(c, headers, func(err error) { reply <- err })
	}); err != nil {
		return err
	}
	return m.await(ctx, reply)
}

// Reject says no to an inbound call that rings: USER_BUSY, so that the platform does not try again.
func (m *Manager) Reject(ctx context.Context, callID string) error {
	return m.ask(ctx, func() error {
		return m.command(m.find(callID, Ringing, Answering), callID, Input{Kind: OnReject})
	})
}

// Hangup ends a call, or rejects it while it rings. It returns when the call is in state hangup.
func (m *Manager) Hangup(ctx context.Context, callID string) error {
	return m.ask(ctx, func() error {
		c := m.find(callID, talkingFirst...)
		if c != nil && c.info.State == Hangup {
			return nil
		}
		return m.command(c, callID, Input{Kind: OnHangup})
	})
}

// Hold puts a call on hold: no sound either way. It returns when the platform has said what the call is now.
func (m *Manager) Hold(ctx context.Context, callID string) error {
	return m.change(ctx, callID, Input{Kind: OnHold}, Active)
}

// Unhold takes a call off hold. It is refused while another call is talked on.
func (m *Manager) Unhold(ctx context.Context, callID string) error {
	return m.change(ctx, callID, Input{Kind: OnUnhold}, Held)
}

// ToggleHold does the one or the other; the platform knows which.
func (m *Manager) ToggleHold(ctx context.Context, callID string) error {
	return m.change(ctx, callID, Input{Kind: OnToggleHold}, Active, Held)
}

// Transfer has the platform connect the far side with somebody else; ours then ends by its bye. Not every platform can.
func (m *Manager) Transfer(ctx context.Context, callID, to string) error {
	if err := ValidDestination(to); err != nil {
		return err
	}
	return m.change(ctx, callID, Input{Kind: OnTransfer, To: to}, Active, Held)
}

// change asks the platform for something and waits for its answer.
func (m *Manager) change(ctx context.Context, callID string, in Input, preferred ...State) error {
	reply := make(chan error, 1)
	err := m.ask(ctx, func() error {
		c := m.find(callID, preferred...)
		if c != nil && c.info.State == Held && in.Kind != OnTransfer {
			for _, other := range m.calls {
				if other.up() && other.info.State == Active {
					return fmt.Errorf("another call is talked on (%s): hold it first", other.info.ID)
				}
			}
		}
		return m.modifying(c, callID, in, func(err error) { reply <- err })
	})
	if err != nil {
		return err
	}
	if err := m.await(ctx, reply); err != nil {
		return fmt.Errorf("%s failed: %w", in.Kind, err)
	}
	return nil
}

// modifying steps a call to something that the platform is asked for; done is told its answer, unless this fails.
func (m *Manager) modifying(c *live, id string, in Input, done func(error)) error {
	if c != nil {
		c.heldFor = false
		c.modified = done
		defer func() { c.modified = nil }()
	}
	return m.command(c, id, in)
}

// Mute stops, or lets go on, what the far side hears of us. It may come before the call is answered.
func (m *Manager) Mute(ctx context.Context, callID string, on bool) error {
	return m.simple(ctx, callID, Input{Kind: OnMute, On: on})
}

// ToggleMute mutes or unmutes.
func (m *Manager) ToggleMute(ctx context.Context, callID string) error {
	return m.simple(ctx, callID, Input{Kind: OnToggleMute})
}

// Deaf stops, or lets go on, what we hear of the far side.
func (m *Manager) Deaf(ctx context.Context, callID string, on bool) error {
	return m.simple(ctx, callID, Input{Kind: OnDeaf, On: on})
}

func (m *Manager) simple(ctx context.Context, callID string, in Input) error {
	return m.ask(ctx, func() error { return m.command(m.find(callID, talkingFirst...), callID, in) })
}

// DTMF sends digits (0-9, A-D, *, #) with pauses (w or comma 0.5 s, W or p 1 s) and returns when the last has gone out.
func (m *Manager) DTMF(ctx context.Context, callID, digits string) error {
	if _, err := parseKeys(digits); err != nil {
		return err
	}
	sent := make(chan error, 1)
	if err := m.ask(ctx, func() error {
		c := m.find(callID, talkingFirst...)
		if c != nil {
			c.digitsSent = sent
		}
		return m.command(c, callID, Input{Kind: OnSendDigits, Digits: digits})
	}); err != nil {
		return err
	}
	return m.await(ctx, sent)
}

var errEnded = errors.New("the call ended")
