package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Bounds of the circuit breaker.
const (
	breakerFirst = time.Minute
	breakerMost  = 30 * time.Minute
	breakerSlack = 2 * time.Second // is waited for: a line counts the same pause from a moment earlier
	provenAfter  = time.Minute     // a token that was not refused for so long had been accepted
)

// keeper is a Source: it has the newest credentials in hand, and asks its issuer for newer ones, one flight at a time.
// Run, in run.go, decides when.
type keeper struct {
	issuer issuer
	name   string // of the config's key
	local  bool   // asking costs nothing: what counts is what the file holds now
	disk   *disk  // nil: nothing is kept on disk
	clock  *Clock
	warn   func(Warning)
	log    *slog.Logger

	refreshed chan struct{}
	wake      chan struct{} // for Run: there is something new to wait for

	mu      sync.Mutex
	loaded  bool     // from disk
	hand    *holding // nil: nothing
	flight  *flight  // nil: none
	given   string   // the key of what Credentials gave last
	due     time.Time
	failed  int    // tries since the last success
	pending string // the key of what the file was seen to hold, and not yet taken

	// The circuit breaker.
	refusedKey string    // what the platform refused last
	stale      bool      // that may have been too old, so that one newer is worth a try
	trips      int       // in a row
	open       time.Time // until then nobody is asked
	why        error     // wraps ErrRefused
}

// holding is a grant in hand. Its times are counted from when it came by the monotonic clock: the device's own may be
// wrong or jump.
type holding struct {
	grant
	id       string // grant.key
	received time.Time
	seen     time.Time     // when the issuer gave it last
	life     time.Duration // 0: not known
	dead     time.Time     // zero: not known
	servers  time.Time     // the end of its TURN servers; zero: not known
	warnAt   time.Time     // zero: never
}

// fresh tells whether it is good for a login and for a call. Where nothing is known of its end it is so for a moment.
func (h *holding) fresh(now time.Time) bool {
	if h.dead.IsZero() {
		return now.Before(h.seen.Add(refreshPause))
	}
	return now.Before(h.dead) && (h.servers.IsZero() || now.Before(h.servers))
}

func (h *holding) alive(now time.Time) bool { return h.dead.IsZero() || now.Before(h.dead) }

// flight is one question to the issuer, whose answer all wait for.
type flight struct {
	done    chan struct{}
	creds   Credentials
	err     error
	aborted bool // whoever asked went away
}

func (k *keeper) Refreshed() <-chan struct{} { return k.refreshed }

func (k *keeper) Credentials(ctx context.Context) (Credentials, error) {
	k.mu.Lock()
	k.load()
	// After a failure Run tries again; a call does not wait for that.
	now := time.Now()
	if h := k.hand; h != nil && !k.local && (h.fresh(now) || h.alive(now) && k.failed > 0 && now.Before(k.due)) {
		defer k.mu.Unlock()
		return k.give(h), nil
	}
	k.mu.Unlock()
	return k.ask(ctx, false)
}

// ask asks the issuer, or waits for the answer to who asks already. refresh: nobody waits to log in with it, so a new
// token is announced.
func (k *keeper) ask(ctx context.Context, refresh bool) (Credentials, error) {
	for {
		k.mu.Lock()
		f := k.flight
		if f == nil {
			// A file is read nevertheless: it may hold something new.
			if now := time.Now(); !k.local && now.Before(k.open) {
				creds, err := k.handOr(now, k.barred(now))
				wait := k.open.Sub(now)
				k.mu.Unlock()
				if err == nil || wait > breakerSlack || !sleep(ctx, wait) {
					return creds, err
				}
				continue
			}
			f = &flight{done: make(chan struct{})}
			k.flight = f
			k.mu.Unlock()
			return k.fly(ctx, f, refresh)
		}
		k.mu.Unlock()
		select {
		case <-f.done:
			if !f.aborted {
				return f.creds, f.err
			}
		case <-ctx.Done():
			return Credentials{}, fmt.Errorf("credentials: %w", ctx.Err())
		}
	}
}

func (k *keeper) fly(ctx context.Context, f *flight, refresh bool) (Credentials, error) {
	asked := time.Now() // so that the way does not count as life
	g, err := k.issuer.issue(ctx)
	k.mu.Lock()
	k.flight = nil
	if err != nil && errors.Is(ctx.Err(), context.Canceled) { // says nothing about the issuer
		f.err = fmt.Errorf("credentials: %w", ctx.Err())
	} else {
		f.creds, f.err = k.settle(g, err, asked, refresh)
	}
	f.aborted = f.err != nil && ctx.Err() != nil
	k.mu.Unlock()
	close(f.done)
	k.nudge()
	k.save()
	return f.creds, f.err
}

// settle draws the consequences of an answer.
func (k *keeper) settle(g grant, err error, asked time.Time, refresh bool) (Credentials, error) {
	now, h, id := time.Now(), k.hand, g.key()
	var m measured
	if err == nil {
		m, err = k.weigh(g, asked)
	}
	switch {
	case err != nil && k.local: // Run looks again anyway
		return Credentials{}, err
	case errors.Is(err, ErrRefused):
		k.trip(now, err)
	case err != nil:
		k.retry(now, err)
	case h != nil && h.id == id:
		// The same again. Its life goes on; what came with it may be new.
		h.grant = g
		h.servers = end(asked, m.servers)
		switch {
		case h.dead.IsZero():
			h.seen, k.failed, k.due = asked, 0, time.Time{}
		case !k.local:
			err = errors.New("the source of the token has no newer one than that which is over")
			k.retry(now, err)
		}
	case id == k.refusedKey && now.Before(k.open):
		err = k.barred(now)
	case id == k.refusedKey && k.stale:
		err = fmt.Errorf("%w: the platform refused the token, and there is no newer one", ErrRefused)
		k.trip(now, err)
	default:
		return k.give(k.take(g, m, asked, refresh)), nil
	}
	return k.handOr(now, err)
}

// handOr gives what is in hand as long as it lives, else the error.
func (k *keeper) handOr(now time.Time, err error) (Credentials, error) {
	if h := k.hand; h != nil && h.alive(now) {
		return k.give(h), nil
	}
	return Credentials{}, err
}

// weigh tells how long a grant lives. What somebody wrote into a file may have expired; what was made just now has
// not, so there it is our clock that is wrong.
func (k *keeper) weigh(g grant, now time.Time) (measured, error) {
	m := measure(g, now, k.clock.Plausible(now))
	if g.file == "" {
		return m, nil
	}
	if h := k.hand; h != nil && h.id == g.key() && !h.alive(now) && m.expired == 0 {
		m.expired = max(1, now.Sub(h.dead))
	}
	if m.expired > 0 {
		return m, fmt.Errorf("%w: the token in %s expired %s ago at %s; get a new one and write it there",
			ErrRefused, g.file, inWords(m.expired), readLife(g.Token.Reveal()).expires.UTC().Format(time.RFC3339))
	}
	return m, nil
}

// take has a new grant in hand from now on.
func (k *keeper) take(g grant, m measured, received time.Time, refresh bool) *holding {
	old := k.hand
	if old != nil && time.Since(old.received) >= provenAfter {
		k.trips = 0
	}
	h := &holding{grant: g, id: g.key(), received: received, seen: received, servers: end(received, m.servers)}
	k.due = time.Time{}
	if m.known {
		h.life, h.dead, h.warnAt = m.left, received.Add(m.left), received.Add(warnAfter(m.left))
		k.due = received.Add(refreshAfter(m.left))
	}
	if m.servers > 0 {
		if at := received.Add(refreshAfter(m.servers)); k.due.IsZero() || at.Before(k.due) {
			k.due = at
		}
	}
	if least := received.Add(refreshPause); !k.due.IsZero() && k.due.Before(least) {
		k.due = least
	}
	k.hand, k.pending, k.failed = h, "", 0
	k.open, k.why, k.stale = time.Time{}, nil, false
	k.clock.saw(g.issuersTime)
	k.clock.saw(readLife(g.Token.Reveal()).issued)
	// Whoever asked for credentials will log in with these, unless it was for a call's TURN servers only.
	if refresh || old != nil {
		select {
		case k.refreshed <- struct{}{}:
		default:
		}
	}
	return h
}

func (k *keeper) give(h *holding) Credentials {
	k.given = h.id
	c := h.Credentials
	c.Expires = h.dead
	if !h.servers.IsZero() && !time.Now().Before(h.servers) {
		c.ICEServers = nil
	}
	return c
}

// Invalidate does not wait for one who asks at the moment: what is under way is newer.
func (k *keeper) Invalidate() {
	defer k.nudge()
	k.mu.Lock()
	defer k.mu.Unlock()
	h, now := k.hand, time.Now()
	if h == nil || k.given != h.id { // a newer one is there already, which nobody has refused
		return
	}
	k.refusedKey, k.hand = h.id, nil
	if now.Sub(h.received) >= provenAfter {
		k.trips = 0
		if !k.local {
			k.stale, k.due = true, now
			if now.Before(k.open) { // the issuer has refused us already
				k.due = k.open
			}
			return
		}
	}
	k.trip(now, fmt.Errorf("%w: the platform refused what %s gave; check whether the device's credential there was revoked", ErrRefused, k.name))
}

// retry waits longer after each failure. Without anything in hand the line is down, and asks at its own pace.
func (k *keeper) retry(now time.Time, err error) {
	k.failed++
	k.due = time.Time{}
	if k.hand == nil && !k.stale {
		return
	}
	k.due = now.Add(retryAfter(k.failed))
	level := slog.LevelDebug
	if k.failed == 1 {
		level = slog.LevelWarn
	}
	k.log.Log(context.Background(), level, "no new token", "err", err, "again_in", k.due.Sub(now).Round(time.Second))
}

// trip opens the circuit breaker: what is refused stays so for a while. Then the next one who asks for credentials
// closes it or trips it again; while there are some in hand nobody else does, so that it is due.
func (k *keeper) trip(now time.Time, err error) {
	pause := breakerMost
	if k.trips < 5 { // 2^5 min are more than the most
		pause = min(pause, breakerFirst<<k.trips)
	}
	k.log.Warn("credentials are refused", "err", err, "again_in", pause)
	k.trips++
	k.stale, k.due = false, time.Time{}
	k.open, k.why = now.Add(pause), err
	if k.hand != nil {
		k.due = now.Add(pause)
	}
}

// barred is the error while the breaker is open.
func (k *keeper) barred(now time.Time) error {
	return fmt.Errorf("%w (asked again in %s)", k.why, inWords(k.open.Sub(now)))
}

// end is a moment after received, zero when the duration is not known.
func end(received time.Time, d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return received.Add(d)
}

// sleep tells whether it slept to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
