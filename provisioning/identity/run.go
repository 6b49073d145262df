package identity

import (
	"context"
	"time"
)

const (
	issueTimeout = 15 * time.Second
	pollPeriod   = 5 * time.Second // of a file
	idlePeriod   = time.Hour
)

// Run is the owner of time: it refreshes, tries again, looks into files, and warns.
func (k *keeper) Run(ctx context.Context) {
	k.mu.Lock()
	k.load()
	k.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(k.next(time.Now()))
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		case <-timer.C:
			if k.local {
				k.poll(ctx)
			}
		}
		k.warnOnce()
		if k.isDue() {
			k.refresh(ctx)
		}
		k.save()
	}
}

// next tells how long there is nothing to do.
func (k *keeper) next(now time.Time) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	wait := idlePeriod
	switch {
	case k.local:
		wait = pollPeriod
	case !k.due.IsZero():
		wait = min(wait, k.due.Sub(now))
	}
	if h := k.hand; h != nil && !h.warnAt.IsZero() && k.unlucky(now) {
		wait = min(wait, h.warnAt.Sub(now))
	}
	return max(0, wait)
}

func (k *keeper) isDue() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.local && !k.due.IsZero() && !time.Now().Before(k.due)
}

// unlucky: nothing newer came, though it should have.
func (k *keeper) unlucky(now time.Time) bool { return k.local || k.failed > 0 || now.Before(k.open) }

func (k *keeper) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	_, _ = k.ask(ctx, true) // logged, and tried again
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); !k.due.IsZero() && !k.due.After(now) { // whoever asked went away
		k.due = now.Add(retryFirst)
	}
}

// poll looks whether the file holds something new. It is taken when it is seen twice: whoever writes it may be in the
// middle of it.
func (k *keeper) poll(ctx context.Context) {
	g, err := k.issuer.issue(ctx)
	if err != nil {
		return // whoever needs it will be told
	}
	id := g.key()
	k.mu.Lock()
	isNew := k.given != "" && id != k.given
	seen := k.pending == id
	k.pending = id
	k.mu.Unlock()
	if isNew && seen {
		_, _ = k.ask(ctx, true)
	}
}

// warnOnce says that the token in hand is near its end, and that there is no newer one.
func (k *keeper) warnOnce() {
	k.mu.Lock()
	h, now := k.hand, time.Now()
	if h == nil || h.warnAt.IsZero() || now.Before(h.warnAt) || !k.unlucky(now) {
		k.mu.Unlock()
		return
	}
	h.warnAt = time.Time{}
	w := Warning{
		Expires: h.dead,
		Message: "the token expires in " + inWords(max(0, h.dead.Sub(now))) + " and there is no newer one; see to its source",
	}
	k.mu.Unlock()
	k.log.Warn(w.Message)
	if k.warn != nil {
		k.warn(w)
	}
}

// nudge makes Run look anew.
func (k *keeper) nudge() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}
