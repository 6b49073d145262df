package verto

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"
	"unicode"
)

const (
	readyTimeout   = 2 * time.Second  // for clientReady, after which the state is asked for all the same; ours
	sessidLifetime = 90 * time.Second // how long a sessid is good for a reconnect
	// expiryWarning is how long before the end of a login that nobody renewed it is told; at most a tenth of its life.
	expiryWarning = 120 * time.Second
)

// fetched are credentials for renewing the login of a connection.
type fetched struct {
	conn  Conn
	creds Credentials
	err   error
}

// credentials asks for what to log in with. It runs beside the owner.
func (l *line) credentials(ctx context.Context) (Credentials, error) {
	if l.cfg.Anonymous != nil {
		return Credentials{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, credentialsTimeout)
	defer cancel()
	return l.cfg.Credentials(ctx)
}

// login sends the login. p says who waits for its answer.
func (l *line) login(creds Credentials, p pending) {
	l.nextCreds = creds
	version := l.cfg.UserAgent
	if _, v, ok := strings.Cut(version, "/"); ok {
		version = v
	}
	agent, _ := json.Marshal(map[string]string{ // of strings: cannot fail
		"sdkVersion": version,
		"data":       fmt.Sprintf("%s (%s; %s)", l.cfg.UserAgent, runtime.GOOS, runtime.GOARCH),
	})
	common := sessionParams{UserVariables: l.cfg.Variables, Reconnection: l.sdkID != "", UserAgent: agent}
	switch {
	case l.cfg.Dialect.ClientSessID:
		common.SessID = l.sessid
	case p.purpose == forRefresh:
		// No sessid: it is what makes the platform offer all calls anew, and they are here already.
	case common.Reconnection && time.Since(l.sessidAt) <= sessidLifetime:
		common.SessID = l.sessid
	}
	if t := l.cfg.Anonymous; t != nil {
		_ = l.request(AnonymousLogin, t.params(common), p) // when it fails, the line comes back by itself; so below
		return
	}
	_ = l.request(Login, LoginParams{
		Token: creds.Token, User: creds.User, Password: creds.Password,
		UserVariables: common.UserVariables, Reconnection: common.Reconnection, UserAgent: agent, SessID: common.SessID,
	}, p)
}

// loginAnswered goes on to registration, or draws the consequences.
func (l *line) loginAnswered(f *Frame, state GatewayStateParams) {
	if f.Error != nil {
		why := l.scrub(f.Error.Message)
		switch {
		case strings.Contains(f.Error.Message, "Session in use"):
			l.newSession() // the id is somebody else's; nothing is wrong with the credentials
			l.fail(CodeWebSocket, "the platform knows our session as somebody else's: taking another", 0)
		case refuses(f.Error.Code):
			l.refuse(CodeLoginFailed, refusal(why, f.Error.Code))
			l.dropCredentials()
		case state.State == "": // else the state says what to do
			l.fail(CodeGatewayFailed, fmt.Sprintf("the platform could not log us in: %s (%d)", why, f.Error.Code), 0)
		}
		return
	}
	l.loginHolds(f)
	if !l.cfg.Dialect.HasGatewayState {
		l.tries = 0
		l.registered("")
	} else {
		l.setAlarm(alarmReady, readyTimeout)
	}
	if len(l.refreshes) > 0 {
		l.fetch() // asked for while this login was on its way
	}
}

func refusal(why string, code int) string {
	return fmt.Sprintf("the platform refused the login: %s (%d). Check line.token_file, line.token_url or line.login "+
		"and line.password_file: a token is good for 24 h at most, and ends with its credential", why, code)
}

// loginHolds takes over the credentials that the platform has just taken.
func (l *line) loginHolds(f *Frame) {
	var r LoginResult
	_ = json.Unmarshal(f.Result, &r) // without a sessid there is none to send
	if isID(r.SessID) {
		l.sessid = r.SessID
	} else if !l.cfg.Dialect.ClientSessID {
		l.sessid = ""
	}
	l.sessidAt, l.loggedIn = time.Now(), true
	l.creds, l.nextCreds, l.loginOver, l.refreshRefusals = l.nextCreds, Credentials{}, "", 0
	l.clear(CodeTokenExpiring)
	l.clearAlarm(alarmExpiring)
	l.clearAlarm(alarmExpired)
	if !l.creds.Expires.IsZero() {
		life := time.Until(l.creds.Expires) // from here on it is measured by monotonic time
		l.setAlarm(alarmExpired, life)
		l.setAlarm(alarmExpiring, life-min(expiryWarning, life/10))
	}
	l.publish()
}

// refuses tells whether an error to a login is about the credentials. -32000 says "login again" to browsers, which
// some do for ever.
func refuses(code int) bool {
	switch code {
	case CodeAuthenticationFailed, CodeAuthenticationRequired, CodePermissionDenied,
		401, 403, CodeLoginFailed, CodeInvalidCredentials, CodeLoginRequired:
		return true
	}
	return false
}

func (l *line) dropCredentials() {
	if l.cfg.Refused != nil {
		l.cfg.Refused()
	}
}

// refresh renews the login. done is called once.
func (l *line) refresh(done func(error)) {
	switch l.status.State {
	case Refused:
		if soon := l.refusedAt.Add(refusedFirst); soon.Before(l.alarms[alarmConnect]) {
			l.setAlarm(alarmConnect, time.Until(soon))
			s := l.status
			s.RetryAt = l.alarms[alarmConnect]
			l.setStatus(s)
		}
		done(nil)
	case Down:
		done(nil)
	default:
		if l.refreshRefusals > 1 && time.Since(l.refusedAt) < refusedFirst {
			done(fmt.Errorf("%w: %s", ErrRefused, l.loginOver)) // no storm: a dropped token was replaced, and refused too
			return
		}
		l.refreshes = append(l.refreshes, done)
		if l.loggedIn {
			l.fetch()
		}
	}
}

// fetch gets the credentials for a refresh, unless that is under way.
func (l *line) fetch() {
	if l.refreshing {
		return
	}
	l.refreshing = true
	conn := l.conn
	l.wg.Go(func() {
		creds, err := l.credentials(l.ctx)
		select {
		case l.fetched <- fetched{conn: conn, creds: creds, err: err}:
		case <-l.ctx.Done():
		}
	})
}

// relogin sends the login of a refresh.
func (l *line) relogin(f fetched) {
	switch {
	case errors.Is(f.err, ErrRefused):
		l.refreshRefused(f.err)
	case f.err != nil:
		l.refreshed(fmt.Errorf("no fresh credentials: %w", f.err))
	default:
		l.login(f.creds, pending{purpose: forRefresh, deadline: time.Now().Add(requestTimeout), answer: l.refreshAnswered})
	}
}

// refreshAnswered takes the answer to the login of a refresh.
func (l *line) refreshAnswered(f *Frame, err error) {
	switch {
	case err != nil:
		l.refreshed(err)
	case f.Error != nil && refuses(f.Error.Code):
		first := l.loginOver == ""
		l.refreshRefused(&Error{Code: f.Error.Code, Message: l.scrub(f.Error.Message)})
		if first {
			l.dropCredentials() // once: the same refusal again is no news of the cache
		}
	case f.Error != nil:
		l.refreshed(&Error{Code: f.Error.Code, Message: l.scrub(f.Error.Message)})
	default:
		l.loginHolds(f)
		l.log.Info("the login was renewed")
		l.refreshed(nil)
	}
}

// refreshRefused leaves the line as it is, until the login that holds ends. When nobody knows that end, the platform
// will say it.
func (l *line) refreshRefused(why error) {
	l.nextCreds = Credentials{}
	l.refreshRefusals++
	l.refusedAt = time.Now()
	l.loginOver = why.Error()
	var code int
	if e := (*Error)(nil); errors.As(why, &e) {
		code = e.Code
		l.loginOver = refusal(e.Message, code)
	}
	l.raise(CodeTokenExpiring, l.loginOver)
	l.log.Warn("the login could not be renewed: it was refused", "why", why, "expires", l.creds.Expires)
	l.refreshed(why)
	if !l.creds.Expires.IsZero() && l.alarms[alarmExpired].IsZero() {
		l.expired() // it has ended already
	}
}

// refreshed tells everybody who waits for a refresh how it went.
func (l *line) refreshed(err error) {
	l.refreshing = false
	waiting := l.refreshes
	l.refreshes = nil
	for _, done := range waiting {
		done(err)
	}
}

// expiring warns that nobody has renewed the login.
func (l *line) expiring() {
	l.raise(CodeTokenExpiring, "the login ends at "+l.creds.Expires.Format(time.DateTime))
}

// expired ends the line when its login has ended and cannot be renewed. One that can is left to the platform, which
// may be more patient.
func (l *line) expired() {
	if l.loginOver != "" {
		l.refuse(CodeLoginFailed, l.loginOver)
	}
}

// scrub makes a server's words fit to be shown: short, printable, and without our secrets if it repeats them.
func (l *line) scrub(s string) string {
	for _, c := range []Credentials{l.creds, l.nextCreds} {
		for _, secret := range []string{c.Token, c.Password} {
			if secret != "" {
				s = strings.ReplaceAll(s, secret, "…")
			}
		}
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + "…"
	}
	return s
}
