package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sidetone/audio"
	"sidetone/audio/tone"
	"sidetone/rtc/verto"
)

// ErrNoCall says that there is no such call.
var ErrNoCall = errors.New("no such call is answered")

// Transfer connects the client of an answered call to somebody else, as Telnyx's Call Control does: to is a built-in
// destination or a client. Who was at the far side gets a bye; the client hears a ringing tone and then the new one,
// and its own call goes on under its own id. It returns when the transfer has begun.
func (g *Gateway) Transfer(ctx context.Context, callID, to string) error {
	g.mu.Lock()
	var l *leg
	for _, c := range g.clients {
		if found := c.legs[callID]; found != nil && found.stats.State == CallActive {
			l = found
		}
	}
	g.mu.Unlock()
	if l == nil {
		return fmt.Errorf("%w: %s", ErrNoCall, callID)
	}
	result := make(chan error, 1)
	if !l.call.post(func() { result <- l.call.transfer(l, to) }) {
		return fmt.Errorf("%w: %s", ErrNoCall, callID)
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// transfer keeps l and gives it another far side.
func (c *call) transfer(l *leg, to string) error {
	if !l.answered || c.state != CallActive || len(c.ringing) > 0 {
		return ErrNoCall
	}
	app := destinations[to]
	var fresh []*leg
	if app.run == nil {
		var err error
		if fresh, err = c.g.legsTo(to, c); err != nil {
			return fmt.Errorf("transfer to %q: %w", to, err)
		}
	}
	l.port.route(nil)
	l.silence()
	l.voice.turn()
	c.endApp()
	if gone := c.other(l); gone != nil {
		c.drop(gone, normalClearing, true)
	}
	if l == c.caller {
		c.callee = nil
	} else {
		c.caller = nil
	}
	c.app, c.calleeName = app, to
	if app.run != nil {
		c.startApp(l)
		return nil
	}
	c.callerName = l.client.name
	l.play(tone.Ringback(""))
	c.ringing = fresh
	sound := audible(l.peer.codecs())
	c.invite(sound[:min(1, len(sound))], verto.DialogParams{})
	return nil
}

var errNotBridged = errors.New("call is not bridged")

// refer does a FreeSWITCH client's own transfer: the client at the far side of l goes on to the destination in params, and
// l is hung up. A built-in destination cannot be sent elsewhere.
func (c *call) refer(l *leg, params json.RawMessage) error {
	var p struct {
		Destination string `json:"destination"`
	}
	if err := decode(params, &p); err != nil {
		return err
	}
	if !l.fs {
		return nil // an action like any other that is not known
	}
	far := c.other(l)
	if far == nil {
		return errNotBridged
	}
	return c.transfer(far, p.Destination)
}

// The hold tone: half a second of 440 Hz, half a second of silence, 20 dB below full scale.
const (
	holdHz    = 440
	holdLevel = -20
	holdBeat  = 25 // frames
)

// beeps is a tone that comes and goes.
type beeps struct {
	tone   audio.Source
	frames int
}

func holdTone() audio.Source { return &beeps{tone: tone.Sine(holdHz, holdLevel)} }

// PullFrame implements audio.Source.
func (b *beeps) PullFrame(f *audio.Frame) {
	if b.tone.PullFrame(f); b.frames/holdBeat%2 == 1 {
		*f = audio.Frame{}
	}
	b.frames++
}
