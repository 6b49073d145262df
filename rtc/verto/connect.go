package verto

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// Timings of connecting, as Telnyx's browser SDK keeps them where it has the same timer.
const (
	credentialsTimeout = 15 * time.Second
	dialTimeout        = 10 * time.Second
	writeTimeout       = 5 * time.Second
	dialSpacing        = time.Second // between connections, however often Renew is called; ours

	backoffFirst = time.Second
	backoffMax   = 30 * time.Second
	refusedFirst = time.Minute
	refusedMax   = 30 * time.Minute
	puntFirst    = 30 * time.Second // ours: the SDK never comes back
	puntMax      = 30 * time.Minute
	puntForget   = 10 * time.Minute // of being registered, after which a punt counts as the first
	jitter       = 0.25

	exhaustedTries   = 10 // connections in vain after which browsers give up
	exhaustedGateway = 5  // the same when it is the gateway that fails
)

type opened struct {
	attempt uint
	conn    Conn
	creds   Credentials
	err     error
	refused bool // by the source of credentials
}

type inbound struct {
	conn  Conn
	frame []byte
	err   error
}

// baseURL is the line's URL, with its region.
func baseURL(cfg *Config) (*url.URL, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || (u.Scheme != "ws" && u.Scheme != "wss") {
		return nil, fmt.Errorf("line.url is %q: it must be a full ws:// or wss:// URL", cfg.URL)
	}
	switch {
	case cfg.Region == "" || cfg.Region == "auto":
		return u, nil
	case strings.Trim(cfg.Region, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		return nil, fmt.Errorf("line.region is %q: it must be a name such as eu or us-east", cfg.Region)
	case net.ParseIP(u.Hostname()) != nil:
		return nil, fmt.Errorf("line.region %q needs a host name in line.url, not the address %s", cfg.Region, u.Hostname())
	}
	u.Host = cfg.Region + "." + u.Host
	return u, nil
}

// target is the URL to connect to: with the id of the last backend, so that it finds our calls again.
func (l *line) target() string {
	u := *l.base
	q := u.Query()
	for name, values := range l.cfg.Query {
		q[name] = values
	}
	if l.cfg.Canary {
		q.Set("canary", "true")
	}
	// Who is sent through a given proxy is not sent back to a backend.
	if l.sdkID != "" && !q.Has("rtc_ip") {
		q.Set("voice_sdk_id", l.sdkID)
		if l.skipSDKID {
			q.Set("skip_last_voice_sdk_id", "true")
		}
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// connect fetches credentials and opens a connection, in a goroutine that the line waits for at its end. An older
// attempt that is still under way is given up.
func (l *line) connect() {
	l.clearAlarm(alarmConnect)
	l.trying(Status{State: Connecting})
	l.stopDial()
	ctx, cancel := context.WithCancel(l.ctx)
	l.stopDial = cancel
	l.attempt++
	l.dialedAt = time.Now()
	attempt, target := l.attempt, l.target()
	l.wg.Go(func() {
		defer cancel()
		o := l.dial(ctx, target)
		o.attempt = attempt
		select {
		case l.opened <- o:
		case <-l.ctx.Done():
			if o.conn != nil {
				o.conn.Close(1000, "")
			}
		}
	})
}

// dial runs beside the owner: it reads nothing that the owner writes.
func (l *line) dial(ctx context.Context, target string) opened {
	creds, err := l.credentials(ctx)
	if err != nil {
		return opened{err: fmt.Errorf("no credentials for the line: %w", err), refused: errors.Is(err, ErrRefused)}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := l.cfg.Dial(ctx, target)
	if err != nil {
		return opened{err: fmt.Errorf("no connection to %s: %w", l.base.Host, err)}
	}
	return opened{conn: conn, creds: creds}
}

// open takes a new connection into use and logs in.
func (l *line) open(o opened) {
	switch {
	case o.attempt != l.attempt: // a newer one is under way
		if o.conn != nil {
			l.wg.Go(func() { o.conn.Close(1000, "") })
		}
		return
	case o.refused:
		l.refuse(CodeLoginFailed, o.err.Error())
		return
	case o.err != nil:
		if errors.Is(o.err, syscall.ENETUNREACH) || errors.Is(o.err, syscall.ENETDOWN) {
			l.raise(CodeOffline, o.err.Error())
		}
		l.fail(CodeConnectFailed, o.err.Error(), 0)
		return
	case l.cfg.Anonymous == nil && o.creds.Token == "" && (o.creds.User == "" || o.creds.Password == ""):
		l.wg.Go(func() { o.conn.Close(1000, "") })
		l.refuse(CodeInvalidCredentials, "there is neither a token nor a user with a password: check line.token_file, "+
			"line.token_url or line.login and line.password_file")
		return
	}
	now := time.Now()
	// The reader outlives the end of l.ctx until the connection is closed in good order.
	ctx, cancel := context.WithCancel(context.WithoutCancel(l.ctx))
	l.conn, l.stopReader, l.socket = o.conn, cancel, nil
	l.loggedIn, l.isReady, l.polls = false, false, 0
	l.lastFrame, l.lastAnswer = now, now
	l.wg.Go(func() { l.read(ctx, o.conn) })
	l.setAlarm(alarmCheck, checkPeriod)
	l.setAlarm(alarmRegister, registerTimeout)
	l.trying(Status{State: Registering})
	l.login(o.creds, pending{purpose: forLogin, deadline: now.Add(registerTimeout)})
}

// read hands frames of one connection to the owner until the connection ends.
func (l *line) read(ctx context.Context, conn Conn) {
	for {
		b, err := conn.Read(ctx)
		select {
		case l.frames <- inbound{conn: conn, frame: b, err: err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// hangUp ends the connection, if there is one, and tells everybody who waits for an answer on it.
func (l *line) hangUp(why error) {
	l.alarms = [alarmCount]time.Time{}
	lost := fmt.Errorf("%w: %w", ErrLineLost, why)
	for id, p := range l.pending {
		delete(l.pending, id)
		if p.answer != nil {
			p.answer(nil, lost)
		}
	}
	l.heard(false)
	l.refreshed(lost)
	l.creds, l.nextCreds, l.loginOver, l.refreshRefusals = Credentials{}, Credentials{}, "", 0
	if l.conn == nil {
		return
	}
	l.sessidAt = time.Now()
	conn, stop := l.conn, l.stopReader
	l.conn, l.stopReader, l.loggedIn = nil, nil, false
	l.wg.Go(func() {
		conn.Close(1000, "") // an error means that it is closed already
		stop()
	})
}

// fail drops the connection and comes back after a back-off, or after least when that is longer.
func (l *line) fail(code int, why string, least time.Duration) {
	l.hangUp(errors.New(why))
	l.tries++
	if l.tries >= exhaustedTries || code == CodeGatewayFailed && l.tries >= exhaustedGateway {
		l.raise(CodeExhausted, fmt.Sprintf("%d tries; it goes on", l.tries))
	}
	delay := l.spread(doubling(backoffFirst, backoffMax, l.tries), -jitter, jitter)
	l.retry(Down, code, why, max(delay, least))
}

// refuse drops the connection and comes back slowly: the credentials are wrong, and asking often mends nothing.
func (l *line) refuse(code int, why string) {
	l.hangUp(errors.New(why))
	l.newSession() // sticking to the session of a refused login would be refused again
	l.refusals++
	l.refusedAt = time.Now()
	l.retry(Refused, code, why, l.spread(doubling(refusedFirst, refusedMax, l.refusals), 0, jitter))
}

func (l *line) retry(state LineState, code int, why string, delay time.Duration) {
	if l.ctx.Err() != nil {
		return // nothing went wrong: we are leaving
	}
	l.setAlarm(alarmConnect, delay)
	c := NewCondition(code, why)
	l.setStatus(Status{
		State: state, Code: code, Name: c.Name, Message: why, RetryAt: l.alarms[alarmConnect],
		GatewayState: l.status.GatewayState, Socket: l.socket,
	})
	l.raise(code, why)
	l.log.Warn("the line is "+string(state), "code", code, "why", why, "retry", delay.Round(100*time.Millisecond))
}

// renew replaces the connection, or ends a back-off, as soon as that may be.
func (l *line) renew(why string) {
	if l.status.State == Refused {
		return
	}
	l.hangUp(errors.New(why))
	l.tries = 0 // it is another network
	l.log.Info("the line is renewed", "why", why)
	if wait := time.Until(l.dialedAt.Add(dialSpacing)); wait > 0 {
		l.attempt++ // what is under way goes over the old network
		l.stopDial()
		l.setAlarm(alarmConnect, wait)
		l.setStatus(Status{State: Down, Message: why, RetryAt: l.alarms[alarmConnect]})
		return
	}
	l.connect()
}

// newSession forgets what the platform knows us by.
func (l *line) newSession() {
	l.sessid, l.sdkID = l.cfg.Dialect.newSessID(), ""
}

// doubling is the nth pause of a back-off.
func doubling(first, limit time.Duration, n int) time.Duration {
	d := first
	for ; n > 1 && d < limit; n-- {
		d *= 2
	}
	return min(d, limit)
}

// spread varies d by a random share between low and high, so that a fleet does not come back in step.
func (l *line) spread(d time.Duration, low, high float64) time.Duration {
	return time.Duration(float64(d) * (1 + low + (high-low)*l.cfg.Rand()))
}
