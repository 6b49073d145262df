package gateway

import (
	"context"

	"sidetone/rtc/verto"
)

// startApp lets the built-in destination talk to l.
func (c *call) startApp(l *leg) {
	ctx, cancel := context.WithCancel(context.Background())
	c.stopApp, c.appDone = cancel, make(chan struct{})
	line := line{
		port: l.port, voice: l.voice, digits: c.digit, log: c.g.log.With("call", l.id),
		sendDigit: func(d string) { l.send(verto.Info, verto.ServerCallParams{DTMF: d}) },
	}
	run := c.app.run
	go func() {
		defer close(c.appDone)
		run(ctx, line)
	}()
}

func (c *call) endApp() {
	if c.stopApp != nil {
		c.stopApp()
		<-c.appDone
		c.stopApp = nil
	}
}

// bridge forwards what comes from one leg to the other.
func (c *call) bridge(from, to *leg) {
	if from.fs {
		from.port.route(c.buffered(to))
		return
	}
	var keys digitDetector
	from.port.route(func(p *packet) {
		if to.fs && p.codec.isTelephoneEvent() || to.voice.pass(p) || !p.codec.isTelephoneEvent() {
			return
		}
		// The far side has no telephone-event: tell it by signalling.
		if d := keys.digit(p); d != "" {
			c.post(func() { to.send(verto.Info, verto.ServerCallParams{DTMF: d}) })
		}
	})
}

// digits came by signalling.
func (c *call) digits(l *leg, dtmf string) {
	to := c.other(l)
	if to != nil && l.fs && to.fs {
		return // lost on a FreeSWITCH's bridge, as measured
	}
	for _, d := range dtmf {
		if !isDigit(d) {
			continue
		}
		if to != nil {
			to.send(verto.Info, verto.ServerCallParams{DTMF: string(d)})
			continue
		}
		select {
		case c.digit <- string(d):
		default: // nobody can dial that fast
		}
	}
}

// hold stops sound to and from l, without any SDP; who is at the far side hears a tone meanwhile.
func (c *call) hold(l *leg, on bool) {
	l.held = on
	l.port.held.Store(on)
	c.tones()
}

// tones starts and stops the hold tone.
func (c *call) tones() {
	for _, l := range []*leg{c.caller, c.callee} {
		if l == nil || c.other(l) == nil || len(c.ringing) > 0 {
			continue
		}
		switch waits := c.other(l).held && !l.held && !l.fs; {
		case waits && l.playing == nil:
			l.play(holdTone())
		case !waits:
			l.silence()
		}
	}
}
