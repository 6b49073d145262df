package verto

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"sync"
	"time"

	"sidetone/rtc/quality"
)

const (
	maxQueued = 256 // events
	maxSeen   = 64  // kinds of strange frames that are told apart in the log
)

// line is what Run owns. Each of its files has one thing to do: connect.go the connection and its back-off, login.go
// the login and its renewal, registration.go the platform's gateway, liveness.go signs of life, request.go requests of
// ours, dispatch.go what comes in, dialogs.go the calls that live on it.
//
//	             ┌────────────── back-off ──────────────┐
//	             ▼                                      │
//	down ──► connecting ──► registering ◄─► registered ─┤ lost, silent, gateway failed, punt
//	             │               │                      │
//	             └── refused ◄───┘──────────────────────┘
//	          1 min doubling to 30 min, then as connecting, but called refused until it leads to registered
type line struct {
	c    *Client
	cfg  *Config
	ctx  context.Context
	base *url.URL
	log  *slog.Logger
	wg   sync.WaitGroup // the goroutines that connect, read, fetch credentials and close

	opened  chan opened
	frames  chan inbound
	fetched chan fetched

	// of the connection
	conn       Conn
	stopReader context.CancelFunc
	creds      Credentials // of the login that holds
	nextCreds  Credentials // of a login on its way
	loggedIn   bool
	isReady    bool // clientReady has come
	pending    map[string]pending
	polls      int // answers in a row that say "not registered"
	lastFrame  time.Time
	lastAnswer time.Time
	changed    time.Time     // the network did: what was heard before proves nothing
	waiting    []func(bool)  // who waits for a sign of life
	refreshes  []func(error) // who waits for the login to be renewed
	refreshing bool
	loginOver  string // why the login cannot be renewed; "" when it can
	// refreshRefusals counts how often that was said.
	refreshRefusals int

	// over all connections
	alarms     [alarmCount]time.Time
	attempt    uint // number of the newest dial
	stopDial   context.CancelFunc
	dialedAt   time.Time
	tries      int // since the line was registered
	refusals   int
	refusedAt  time.Time
	punts      int
	sessid     string
	sessidAt   time.Time
	sdkID      string // voice_sdk_id: brings us back to the same backend
	skipSDKID  bool   // the last backend failed: ask for another
	reportID   string
	region, dc string
	status     Status
	socket     *quality.SocketClose // how the last connection ended by itself; nil when we ended it
	conditions []Condition
	dialogs    dialogs
	queue      []Event
	seen       map[string]struct{}
}

func newLine(ctx context.Context, c *Client, base *url.URL) *line {
	l := &line{
		c: c, cfg: &c.cfg, ctx: ctx, base: base, log: c.cfg.Logger,
		opened: make(chan opened), frames: make(chan inbound), fetched: make(chan fetched),
		stopDial: func() {},
		pending:  map[string]pending{}, seen: map[string]struct{}{}, dialogs: newDialogs(),
		status: Status{State: Down, Since: time.Now()},
	}
	l.newSession()
	return l
}

func (l *line) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	l.connect()
	for l.ctx.Err() == nil {
		timer.Reset(time.Until(l.nextAlarm()))
		frames := l.frames
		var events chan Event
		var event Event
		if len(l.queue) > 0 {
			events, event = l.c.events, l.queue[0]
		}
		if len(l.queue) >= maxQueued {
			frames = nil
		}
		select {
		case <-l.ctx.Done():
		case <-timer.C:
			l.ring(time.Now())
		case o := <-l.opened:
			l.open(o)
		case in := <-frames:
			if in.conn == l.conn { // else it is what was left of an older one
				l.receive(in)
			}
		case f := <-l.fetched:
			if f.conn == l.conn {
				l.relogin(f)
			}
		case do := <-l.c.asked:
			do(l)
		case events <- event:
			l.queue[0] = Event{}
			l.queue = l.queue[1:]
		}
	}
	l.hangUp(errors.New("the line was shut down"))
	l.setStatus(Status{State: Down, Message: "shut down"})
	l.wg.Wait()
}

// alarm is a moment at which the line does something by itself.
type alarm int

const (
	alarmConnect  alarm = iota // back-off is over
	alarmReady                 // clientReady did not come
	alarmPoll                  // ask for the gateway state again
	alarmRegister              // registration takes too long
	alarmCheck                 // liveness
	alarmExpiring              // the login ends soon
	alarmExpired               // the login has ended
	alarmCount
)

// nextAlarm is the earliest moment at which something is due; far away when nothing is.
func (l *line) nextAlarm() time.Time {
	next := time.Now().Add(time.Hour)
	for _, t := range l.alarms {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	for _, p := range l.pending {
		if p.deadline.Before(next) {
			next = p.deadline
		}
	}
	return next
}

func (l *line) setAlarm(a alarm, in time.Duration) { l.alarms[a] = time.Now().Add(in) }

func (l *line) clearAlarm(a alarm) { l.alarms[a] = time.Time{} }

// ring does what is due.
func (l *line) ring(now time.Time) {
	for a := range alarmCount {
		// Read anew each time: what one alarm does may call off the others.
		if t := l.alarms[a]; t.IsZero() || t.After(now) {
			continue
		}
		l.clearAlarm(a)
		switch a {
		case alarmConnect:
			l.connect()
		case alarmReady, alarmPoll:
			l.poll()
		case alarmRegister:
			l.fail(CodeGatewayFailed, fmt.Sprintf("the platform did not register the line within %s", registerTimeout), 0)
		case alarmCheck:
			l.check(now)
		case alarmExpiring:
			l.expiring()
		case alarmExpired:
			l.expired()
		}
	}
	for id, p := range l.pending {
		if !p.deadline.After(now) {
			delete(l.pending, id)
			l.unanswered(p)
		}
	}
}

// once logs a strange thing the first time it happens: a broken server must not fill the log.
func (l *line) once(kind string, args ...any) {
	if _, ok := l.seen[kind]; ok || len(l.seen) >= maxSeen {
		return
	}
	l.seen[kind] = struct{}{}
	l.log.Warn("ignored from the platform, logged once: "+kind, args...)
}

// trace logs what a frame is, never what is in it: SDP, tokens and passwords stay out of logs.
func (l *line) trace(what string, f *Frame, size int) {
	if !l.log.Enabled(l.ctx, slog.LevelDebug) {
		return
	}
	args := []any{"bytes", strconv.Itoa(size), "id", string(f.ID)}
	if f.Method != "" {
		args = append(args, "method", f.Method)
	}
	if f.Error != nil {
		args = append(args, "error", f.Error.Code)
	}
	l.log.Debug("frame "+what, args...)
}
