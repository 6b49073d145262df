package identity

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/provisioning/config"
)

// lives answers with tokens that live so long, by an issuer's clock that is off by skew.
func lives(t *testing.T, life, skew time.Duration) *tokens {
	b := &tokens{}
	b.answer = func() any {
		now := time.Now().Add(skew)
		return map[string]any{
			"token":      token(t, now, now.Add(life)),
			"iceServers": []any{map[string]any{"urls": "turn:a", "username": now.String(), "credential": "c"}},
		}
	}
	return b
}

// run starts Run and gives what ends it; the test ends only when Run has.
func run(t *testing.T, k *keeper) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func told(s Source) bool {
	select {
	case <-s.Refreshed():
		return true
	default:
		return false
	}
}

func must(t *testing.T, s Source) Credentials {
	t.Helper()
	c, err := s.Credentials(t.Context())
	if err != nil {
		t.Fatalf("%v: %v", time.Now(), err)
	}
	return c
}

// A call of five minutes, or a week of calls, while tokens come and go: there is always one that lives, and it is asked
// for when it should be.
func TestTokensAreRefreshedAheadOfTheirEnd(t *testing.T) {
	for name, test := range map[string]struct {
		life, skew, lasts time.Duration
		least, most       time.Duration // between two questions
	}{
		"a minute for five":     {life: time.Minute, lasts: 5 * time.Minute, least: 45 * time.Second, most: 52 * time.Second},
		"an hour for a week":    {life: time.Hour, lasts: 7 * 24 * time.Hour, least: 45 * time.Minute, most: 52 * time.Minute},
		"a day for a month":     {life: 24 * time.Hour, lasts: 30 * 24 * time.Hour, least: 18 * time.Hour, most: 20*time.Hour + 25*time.Minute},
		"an hour less at most":  {life: 5*time.Hour + time.Minute, lasts: 7 * 24 * time.Hour, least: 3*time.Hour + 45*time.Minute, most: 4*time.Hour + time.Minute},
		"twelve seconds":        {life: 12 * time.Second, lasts: 10 * time.Minute, least: 10 * time.Second, most: 11 * time.Second},
		"clock years behind":    {life: time.Hour, skew: 10 * 365 * 24 * time.Hour, lasts: 24 * time.Hour, least: 45 * time.Minute, most: 52 * time.Minute},
		"clock years ahead":     {life: time.Hour, skew: -10 * 365 * 24 * time.Hour, lasts: 24 * time.Hour, least: 45 * time.Minute, most: 52 * time.Minute},
		"clock a little behind": {life: time.Minute, skew: time.Minute, lasts: time.Hour, least: 45 * time.Second, most: 52 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := lives(t, test.life, test.skew)
				k := brokerKeeper(t, b, Config{Warn: func(w Warning) { t.Errorf("%+v", w) }})
				defer run(t, k)()
				c := must(t, k)
				if told(k) {
					t.Error("who asked is told that there is news")
				}
				end, since := time.Now().Add(test.lasts), time.Now()
				step := test.life / 60
				for time.Now().Before(end) {
					time.Sleep(step)
					now := must(t, k)
					if !now.Expires.After(time.Now()) || now.ICEServers[0].Credential.Reveal() != "c" {
						t.Fatalf("at %v: %+v", time.Now(), now)
					}
					if fresh := now.Token.Reveal() != c.Token.Reveal(); fresh != told(k) {
						t.Fatalf("a new token %v, and Refreshed says otherwise", fresh)
					} else if fresh {
						if d := time.Since(since); d < test.least-step || d > test.most+step {
							t.Errorf("refreshed after %v; want %v to %v", d, test.least, test.most)
						}
						if now.ICEServers[0].Username == c.ICEServers[0].Username {
							t.Error("the TURN servers are the old ones")
						}
						c, since = now, time.Now()
					}
				}
				if n, most := b.asked.Load(), int32(test.lasts/test.least)+1; n < 5 && test.lasts > 10*test.life || n > most {
					t.Errorf("asked %d times in %v; want at most %d", n, test.lasts, most)
				}
			})
		})
	}
}

func TestBrokerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lives(t, time.Hour, 0)
		var warned warnings
		k := brokerKeeper(t, b, Config{Warn: warned.add})
		stop := run(t, k)
		first := must(t, k)
		b.status.Store(503)
		time.Sleep(53 * time.Minute)
		synctest.Wait()
		if n := b.asked.Load(); n < 2 || len(warned.all()) != 0 {
			t.Errorf("asked %d times, warnings %+v", n, warned.all())
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if w := warned.all(); len(w) != 1 || !w[0].Expires.Equal(first.Expires) ||
			!strings.Contains(w[0].Message, "expires in 5 min") && !strings.Contains(w[0].Message, "expires in 6 min") {
			t.Errorf("%+v", warned.all())
		}
		time.Sleep(4*time.Minute + 59*time.Second)
		if c := must(t, k); c.Token.Reveal() != first.Token.Reveal() {
			t.Error("another token")
		}
		time.Sleep(2 * time.Second)
		if _, err := k.Credentials(t.Context()); err == nil || errors.Is(err, ErrRefused) {
			t.Errorf("a dead token served: %v", err)
		}
		// It is tried again for days, and not pressed.
		before := b.asked.Load()
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		if n := b.asked.Load() - before; n < 48*12 || n > 48*60 {
			t.Errorf("asked %d times in 48 h; half of 5 min on average are 1152", n)
		}
		if len(warned.all()) != 1 {
			t.Errorf("warned %d times of one token", len(warned.all()))
		}
		b.status.Store(0)
		time.Sleep(retryMost + time.Second)
		synctest.Wait()
		if !told(k) || must(t, k).Token.Reveal() == first.Token.Reveal() {
			t.Error("the broker is back, and nobody says so")
		}
		stop()
		if _, err := k.Credentials(t.Context()); err != nil {
			t.Error("without Run: ", err)
		}
	})
}

func TestRetriesBeginFastAndNeverPassTheBound(t *testing.T) {
	for n, bound := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 9: 256 * time.Second, 10: retryMost, 1000: retryMost} {
		most := time.Duration(0)
		for range 1000 {
			d := retryAfter(n)
			if d <= 0 || d > bound+1 {
				t.Fatalf("try %d after %v", n, d)
			}
			most = max(most, d)
		}
		if most < bound/2 {
			t.Errorf("try %d: at most %v of %v: no full jitter", n, most, bound)
		}
	}
}

// The platform refuses a token that was old: one new one is fetched, at once. It refuses that too: then there is peace.
func TestRefusedByThePlatform(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lives(t, time.Hour, 0)
		k := brokerKeeper(t, b, Config{})
		defer run(t, k)()
		old := must(t, k)
		time.Sleep(10 * time.Minute)
		k.Invalidate()
		k.Invalidate() // said twice
		synctest.Wait()
		if !told(k) || b.asked.Load() != 2 {
			t.Fatalf("asked %d times; want a new token at once", b.asked.Load())
		}
		if must(t, k).Token.Reveal() == old.Token.Reveal() {
			t.Fatal("the refused token again")
		}

		// From now on everything is refused. Whoever asks all the time gets one more token after 1, 2, 4 … 30 minutes.
		start, last, times := time.Now(), time.Now(), []time.Duration{}
		k.Invalidate()
		for time.Since(start) < 4*time.Hour {
			_, err := k.Credentials(t.Context())
			switch {
			case err == nil:
				times = append(times, time.Since(last).Round(time.Second))
				last = time.Now()
				k.Invalidate()
			case !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "line.token_url") || !strings.Contains(err.Error(), "asked again in"):
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
			if got := times[i]; got < want*time.Minute-time.Second || got > want*time.Minute+2*time.Second {
				t.Errorf("token %d after %v; want %d min", i, got, want)
			}
		}
		if n := int(b.asked.Load()); n != 2+len(times) || told(k) {
			t.Errorf("the broker was asked %d times for %d tokens", n, 2+len(times))
		}

		// It is mended; after a while a refusal counts as the first again.
		for {
			if _, err := k.Credentials(t.Context()); err == nil {
				break
			}
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Minute)
		k.Invalidate()
		synctest.Wait()
		if !told(k) {
			t.Error("no new token after a long good time")
		}
	})
}

// The broker says that the device is revoked: that is told at once, and the broker is left alone.
func TestRefusedByTheBroker(t *testing.T) {
	for _, running := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := lives(t, time.Hour, 0)
			b.status.Store(403)
			var out bytes.Buffer
			k := brokerKeeper(t, b, Config{Logger: slog.New(slog.NewTextHandler(&out, nil))})
			if running {
				defer run(t, k)()
			}
			var asked []time.Time
			for start := time.Now(); time.Since(start) < 2*time.Hour; time.Sleep(500 * time.Millisecond) {
				before := b.asked.Load()
				if c, err := k.Credentials(t.Context()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "403") {
					t.Fatalf("%v, %v", c, err)
				}
				if b.asked.Load() != before {
					asked = append(asked, time.Now())
				}
			}
			for i := 1; i < len(asked); i++ {
				if d := asked[i].Sub(asked[i-1]); d < time.Minute {
					t.Errorf("asked again after %v", d)
				}
			}
			if n := b.asked.Load(); int(n) != len(asked) || n < 6 || n > 8 {
				t.Errorf("asked %d times in 2 h; want at 0, 1, 3, 7, 15, 31, 61, 91 min", n)
			}
			if n := strings.Count(out.String(), "refused"); n > 2*len(asked) || strings.Contains(out.String(), canary) {
				t.Errorf("%d lines in the log:\n%s", n, out.String())
			}
			b.status.Store(0)
			time.Sleep(breakerMost)
			must(t, k)
		})
	}
}

// The broker refuses while a token lives: that serves on, and the broker is asked slowly until it gives in.
func TestRevokedAtTheBrokerInMidLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lives(t, time.Hour, 0)
		var warned warnings
		k := brokerKeeper(t, b, Config{Warn: warned.add})
		defer run(t, k)()
		must(t, k)
		b.status.Store(401)
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		must(t, k)
		if n := b.asked.Load(); n < 3 || n > 5 || len(warned.all()) != 1 {
			t.Errorf("asked %d times, warnings %+v", n, warned.all())
		}
		// The platform closes the door as well.
		k.Invalidate()
		if _, err := k.Credentials(t.Context()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "401") {
			t.Errorf("%v", err)
		}
		b.status.Store(0)
		time.Sleep(breakerMost)
		synctest.Wait()
		if !told(k) {
			t.Error("no new token after the broker gave in")
		}
	})
}

func TestBrokerThatRepeatsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		var same atomic.Value
		same.Store(token(t, now, now.Add(time.Hour)))
		b := &tokens{answer: func() any { return map[string]any{"token": same.Load()} }}
		var warned warnings
		k := brokerKeeper(t, b, Config{Warn: warned.add})
		defer run(t, k)()
		must(t, k)
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		must(t, k)
		if n := b.asked.Load(); n < 4 || n > 40 || told(k) || len(warned.all()) != 1 {
			t.Errorf("asked %d times, warnings %+v", n, warned.all())
		}
		time.Sleep(2 * time.Minute)
		if _, err := k.Credentials(t.Context()); err == nil || !strings.Contains(err.Error(), "no newer one") {
			t.Errorf("a dead token: %v", err)
		}
		same.Store(token(t, time.Now(), time.Now().Add(time.Hour)))
		time.Sleep(retryMost + time.Second)
		must(t, k)
		// Refused, and the same once more: there is no use in offering that at once.
		time.Sleep(time.Minute)
		k.Invalidate()
		synctest.Wait()
		if _, err := k.Credentials(t.Context()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "there is no newer one") {
			t.Errorf("%v", err)
		}
		time.Sleep(breakerFirst)
		must(t, k)
	})
}

func TestOpaqueTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &tokens{answer: func() any { return map[string]any{"token": "opaque", "expires_at": time.Now().Add(time.Hour)} }}
		k := brokerKeeper(t, b, Config{})
		for range 3 {
			if c := must(t, k); time.Until(c.Expires) != time.Hour {
				t.Errorf("expires %v", c.Expires)
			}
		}
		if b.asked.Load() != 1 {
			t.Errorf("asked %d times", b.asked.Load())
		}
	})
	// Nothing is known of its end: it is asked for by each login, but not in a burst; and Run has nothing to do.
	synctest.Test(t, func(t *testing.T) {
		b := &tokens{answer: func() any { return map[string]any{"token": "opaque"} }}
		k := brokerKeeper(t, b, Config{})
		defer run(t, k)()
		for range 10 {
			must(t, k)
			must(t, k)
			time.Sleep(11 * time.Second)
		}
		time.Sleep(48 * time.Hour)
		if b.asked.Load() != 10 || told(k) {
			t.Errorf("asked %d times", b.asked.Load())
		}
		b.status.Store(503) // the old one may be good
		must(t, k)
	})
}

// The TURN servers end before the token: they are replaced in time. When they cannot be, they are not given, and the
// token is.
func TestTURNServersEndFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &tokens{}
		b.answer = func() any {
			now := time.Now()
			return map[string]any{
				"token": token(t, now, now.Add(24*time.Hour)), "iceServers": []any{map[string]any{"urls": "turn:a"}},
				"iceServers_expires_at": now.Add(10 * time.Minute),
			}
		}
		k := brokerKeeper(t, b, Config{})
		defer run(t, k)()
		must(t, k)
		time.Sleep(time.Hour)
		if n := b.asked.Load(); n < 7 || n > 9 || len(must(t, k).ICEServers) != 1 {
			t.Errorf("asked %d times", n)
		}
		b.status.Store(500)
		time.Sleep(time.Hour)
		if c := must(t, k); c.Token.IsZero() || len(c.ICEServers) != 0 {
			t.Errorf("%+v", c)
		}
		b.status.Store(0)
		time.Sleep(retryMost + time.Second)
		if len(must(t, k).ICEServers) != 1 {
			t.Error("no TURN servers")
		}
	})
}

// The issuer says what time it is: neither our clock nor the age of its token matters then.
func TestTheIssuersDateCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		theirs := time.Now().Add(5000 * time.Hour)
		b := &tokens{
			header: http.Header{"Date": []string{theirs.UTC().Format(http.TimeFormat)}},
			answer: func() any {
				return map[string]any{"token": token(t, theirs.Add(-50*time.Minute), theirs.Add(10*time.Minute))}
			},
		}
		if c := must(t, brokerKeeper(t, b, Config{})); time.Until(c.Expires).Round(time.Second) != 10*time.Minute {
			t.Errorf("lives for %v", time.Until(c.Expires))
		}
	})
}

func TestOneFlightAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lives(t, time.Hour, 0)
		b.entered, b.release = make(chan struct{}), make(chan struct{})
		k := brokerKeeper(t, b, Config{})
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, err := k.Credentials(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		<-b.entered
		synctest.Wait()
		// One who cannot wait goes away with nothing.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := k.Credentials(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		k.Invalidate() // of an older token: what is under way is newer
		b.release <- struct{}{}
		wg.Wait()
		if n := b.asked.Load(); n != 1 {
			t.Errorf("the broker was asked %d times", n)
		}
	})
}

// Who asks the broker goes away: another asks in its place.
func TestFlightWithoutItsPilot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lives(t, time.Hour, 0)
		b.entered, b.release = make(chan struct{}), make(chan struct{})
		k := brokerKeeper(t, b, Config{})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := k.Credentials(ctx); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		<-b.entered
		wg.Go(func() {
			if _, err := k.Credentials(t.Context()); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		cancel()
		b.release <- struct{}{}
		<-b.entered
		b.release <- struct{}{}
		wg.Wait()
		if n := b.asked.Load(); n != 2 {
			t.Errorf("the broker was asked %d times", n)
		}
	})
}

// warnings collects what Run says.
type warnings struct {
	mu   sync.Mutex
	list []Warning
}

func (w *warnings) add(one Warning) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, one)
}

func (w *warnings) all() []Warning {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.list
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A file is looked into: somebody else renews it.
func TestTokenFileIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		day := 24 * time.Hour
		path := file(t, token(t, time.Now(), time.Now().Add(day)))
		var warned warnings
		k, err := newKeeper(Config{Line: config.Line{TokenFile: path}, Warn: warned.add})
		if err != nil {
			t.Fatal(err)
		}
		defer run(t, k)()
		must(t, k)
		time.Sleep(20*time.Hour + time.Second) // not at the moment when it is looked into
		if told(k) {
			t.Error("nothing changed")
		}
		second := token(t, time.Now(), time.Now().Add(day))
		put(t, path, second[:40]) // half of it
		time.Sleep(pollPeriod)
		put(t, path, second)
		time.Sleep(pollPeriod / 2)
		synctest.Wait()
		if told(k) {
			t.Error("half a token was taken")
		}
		time.Sleep(2 * pollPeriod)
		synctest.Wait()
		if !told(k) || must(t, k).Token.Reveal() != second || len(warned.all()) != 0 {
			t.Errorf("the new token is not taken; %+v", warned.all())
		}

		// Nobody renews it.
		time.Sleep(23*time.Hour + time.Minute)
		synctest.Wait()
		if len(warned.all()) != 1 {
			t.Errorf("%+v", warned.all())
		}
		time.Sleep(time.Hour)
		if _, err := k.Credentials(t.Context()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "expired") {
			t.Error(err)
		}
		third := token(t, time.Now(), time.Now().Add(day))
		put(t, path, third)
		time.Sleep(3 * pollPeriod)
		synctest.Wait()
		if !told(k) || must(t, k).Token.Reveal() != third {
			t.Error("the file was mended, and nobody says so")
		}
	})
}

// What the platform refuses from a file stays refused for a while, unless the file changes.
func TestRefusedFile(t *testing.T) {
	for name, line := range map[string]config.Line{
		"token":    {TokenFile: file(t, "opaque")},
		"password": {Login: "u", PasswordFile: file(t, "p")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k, err := newKeeper(Config{Line: line})
				if err != nil {
					t.Fatal(err)
				}
				defer run(t, k)()
				must(t, k)
				time.Sleep(24 * time.Hour)
				for _, pause := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
					k.Invalidate()
					time.Sleep(pause - time.Second)
					if _, err := k.Credentials(t.Context()); !errors.Is(err, ErrRefused) {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
					must(t, k) // once more: the platform may have thought better of it
				}
				k.Invalidate()
				put(t, line.TokenFile+line.PasswordFile, "new")
				time.Sleep(3 * pollPeriod)
				synctest.Wait()
				if c := must(t, k); !told(k) || c.Token.Reveal()+c.Password.Reveal() != "new" {
					t.Errorf("%+v", c)
				}
			})
		})
	}
}
