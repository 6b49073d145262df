package verto

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fault is one thing that goes wrong with a platform, and the longest that the line may take to be back after it.
type fault struct {
	name   string
	strike func(b *bench, r *rand.Rand)
	back   time.Duration
}

var faults = []fault{
	{"cut", func(b *bench, _ *rand.Rand) { b.drop() }, time.Minute},
	{"half-dead", func(b *bench, _ *rand.Rand) { b.die() }, time.Minute},
	{"refused dial", func(b *bench, r *rand.Rand) {
		n := r.IntN(5)
		b.script(func() {
			b.refuseDial = func(int) error {
				if n--; n >= 0 {
					return errNoRoute
				}
				return nil
			}
		})
		b.drop()
	}, 5 * time.Minute},
	{"gateway state", func(b *bench, r *rand.Rand) {
		states := []string{"UNREGED", "NOREG", "FAILED", "FAIL_WAIT", "TIMEOUT", "TRYING", "EXPIRED", "UNREGISTER", "DOWN", "ATTACHED", "REGISTER"}
		b.say(b.request(1, "state", map[string]any{"state": states[r.IntN(len(states))]}))
	}, 2 * time.Minute},
	{"gateway states in errors", func(b *bench, r *rand.Rand) {
		var states []string
		for range r.IntN(8) {
			states = append(states, []string{"UNREGED", "NOREG", "FAILED", "TIMEOUT", "DOWN", "EXPIRED"}[r.IntN(6)])
		}
		b.script(func() { b.states, b.stateError, b.polled = append(states, "REGED"), r.IntN(2) == 0, 0 })
		b.drop()
	}, 30 * time.Minute},
	{"punt", func(b *bench, _ *rand.Rand) { b.say(b.request(1, Punt, struct{}{})) }, 45 * time.Minute},
	{"late answers", func(b *bench, r *rand.Rand) {
		late := time.Duration(r.IntN(15)) * time.Second
		until := time.Now().Add(time.Minute)
		b.script(func() {
			b.delay = func(*Frame) time.Duration {
				if time.Now().Before(until) {
					return late
				}
				return 0
			}
		})
		if r.IntN(2) == 0 {
			b.drop()
		}
	}, 5 * time.Minute},
	{"missing answers", func(b *bench, r *rand.Rand) {
		method := []string{Login, "telnyx_rtc.gatewayState", "telnyx_rtc.ping"}[r.IntN(3)]
		until := time.Now().Add(time.Minute)
		b.script(func() { b.silent = func(f *Frame) bool { return f.Method == method && time.Now().Before(until) } })
		b.drop()
	}, 5 * time.Minute},
	{"refused login", func(b *bench, r *rand.Rand) {
		b.script(func() { b.loginError = &Error{Code: []int{-32000, -32001, -32603, -32003}[r.IntN(4)]} })
		b.drop()
		time.Sleep(time.Duration(r.IntN(20)) * time.Second)
		b.script(func() { b.loginError = nil })
	}, 45 * time.Minute},
	{"rubbish", func(b *bench, r *rand.Rand) { b.say(seedFrames[r.IntN(len(seedFrames))]) }, 45 * time.Minute},
	{"address change", func(b *bench, r *rand.Rand) { _ = b.Renew(context.Background(), "address changed") }, time.Minute},
}

// 200 faults in random order, with requests in flight: the line is always back, over one connection, and leaves nothing
// behind (goleak watches the package, and a bubble does not end while a goroutine is in it).
func TestFaults(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { strikeAll(t, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func strikeAll(t *testing.T, r *rand.Rand) {
	s := &source{life: time.Hour}
	b, stop := start(t, &platform{pingEvery: 15 * time.Second}, s.config)
	defer stop()
	synctest.Wait()
	goroutines := runtime.NumGoroutine()

	order := make([]fault, 0, 200)
	for len(order) < cap(order) {
		order = append(order, faults[len(order)%len(faults)])
	}
	r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	var inFlight sync.WaitGroup
	for i, f := range order {
		for n := range r.IntN(3) {
			inFlight.Go(func() {
				method := []string{Invite, Bye, Modify}[n]
				_, err := b.Call(context.Background(), method, ClientCallParams{SDP: "v=0", Dialog: DialogParams{CallID: fmt.Sprint("c", i)}})
				var refused *Error
				if err != nil && !errors.Is(err, ErrNotRegistered) && !errors.Is(err, ErrLineLost) && !errors.Is(err, ErrNoAnswer) && !errors.As(err, &refused) {
					t.Errorf("%s: %v", method, err)
				}
			})
		}
		if r.IntN(4) == 0 {
			inFlight.Go(func() { _ = b.Refresh(context.Background()) })
			inFlight.Go(func() { b.Healthy(context.Background()) })
		}
		f.strike(b, r)
		struck := time.Now()
		time.Sleep(time.Duration(r.IntN(60)) * time.Second)
		synctest.Wait() // the blow has landed, also where that was no pause
		for b.Status().State != Registered {
			time.Sleep(time.Second)
			synctest.Wait()
			if time.Since(struck) > f.back+2*time.Minute {
				t.Fatalf("fault %d, %s: after %s the line is %+v", i, f.name, time.Since(struck), b.Status())
			}
		}
		if n := b.registrations(); n > 1 {
			t.Fatalf("fault %d, %s: %d registrations", i, f.name, n)
		}
		b.script(func() {
			b.refuseDial, b.states, b.stateError, b.delay, b.silent, b.loginError = nil, nil, false, nil, nil, nil
		})
	}
	inFlight.Wait()
	// Three minutes of peace, and all is as in the beginning.
	time.Sleep(3 * time.Minute)
	synctest.Wait()
	for b.Status().State != Registered {
		time.Sleep(time.Second)
		synctest.Wait()
	}
	if n := b.registrations(); n != 1 {
		t.Errorf("%d registrations at the end", n)
	}
	if n := runtime.NumGoroutine(); n > goroutines+2 { // the runtime's own come and go
		t.Errorf("%d goroutines, %d at the beginning", n, goroutines)
	}
	if c := b.Conditions(); len(c) != 0 {
		t.Errorf("conditions at the end: %+v", c)
	}
	t.Logf("%d faults, %d connections, %d logins", len(order), len(b.dialed()), len(b.received(Login)))
}
