package call

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/rtc/quality"
)

// world is a manager with a line and media that do as they are told, and write down in which order they were asked.
type world struct {
	t *testing.T
	*Manager
	line  *fakeLine
	stop  func()
	logs  *strings.Builder
	limit sync.Mutex // of logs

	mu     sync.Mutex
	media  []*fakeMedia
	events []Event
	ended  bool

	// how media behaves
	newMediaErr, offerErr, answerErr, setErr, restartErr, dtmfErr error
	gather                                                        time.Duration // Offer and Answer take so long
	stuck                                                         chan struct{} // Close and Sample wait for it; guarded by mu
}

func (w *world) stick(until chan struct{}) {
	w.mu.Lock()
	w.stuck = until
	w.mu.Unlock()
	w.line.mu.Lock()
	w.line.stuck = until
	w.line.mu.Unlock()
}

// held waits while the media is stuck.
func (w *world) held() {
	w.mu.Lock()
	stuck := w.stuck
	w.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
}

func (w *world) Write(p []byte) (int, error) {
	w.limit.Lock()
	defer w.limit.Unlock()
	return w.logs.Write(p)
}

func newWorld(t *testing.T, change func(*Config, *world)) *world {
	w := &world{t: t, line: &fakeLine{}, logs: &strings.Builder{}, gather: 50 * time.Millisecond}
	ids := 0
	cfg := Config{
		Line: w.line, NewMedia: w.newMedia, SDKVersion: "1.0", CallerNumber: "+15550100",
		NewID:  func() string { ids++; return fmt.Sprintf("call-%d", ids) },
		Logger: slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg, w)
	}
	w.Manager = NewManager(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		for e := range w.Events() {
			w.mu.Lock()
			w.events = append(w.events, e)
			w.mu.Unlock()
		}
		w.mu.Lock()
		w.ended = true
		w.mu.Unlock()
	})
	w.stop = sync.OnceFunc(func() {
		began := time.Now()
		cancel()
		wg.Wait()
		if took := time.Since(began); took >= time.Second {
			t.Errorf("the end took %s", took)
		}
		w.check()
	})
	return w
}

// check holds every call that was ever seen against what must be true of all.
func (w *world) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := map[string]Event{}
	reports := map[string]int{}
	state := map[string]State{}
	for _, e := range w.events {
		id := e.Call.ID
		if reports[id] > 0 {
			w.t.Errorf("%s: event %s after the report", id, e.Kind)
		}
		switch e.Kind {
		case StateChanged:
			if e.Call.State != New {
				if from := state[id]; !slices.Contains(drawn[from], e.Call.State) || e.Call.PrevState != from {
					w.t.Errorf("%s: event says %s from %s, it was %s", id, e.Call.State, e.Call.PrevState, from)
				}
			}
			state[id] = e.Call.State
		case Reported:
			reports[id]++
			if e.Report == nil || e.Report.Summary.CallID != id || e.Report.Summary.State != "destroy" {
				w.t.Errorf("%s: report %+v", id, e.Report)
			}
		}
		last[id] = e
	}
	for id, e := range last {
		if e.Kind != Reported || e.Call.State != Destroy || reports[id] != 1 {
			w.t.Errorf("%s: last event %s in state %s, %d reports", id, e.Kind, e.Call.State, reports[id])
		}
	}
	for _, m := range w.media {
		m.check(w.t)
	}
	if !w.ended {
		w.t.Error("events are open after the end")
	}
}

// states of a call, in the order of events.
func (w *world) states(id string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for _, e := range w.events {
		if e.Call.ID == id && e.Kind == StateChanged {
			names = append(names, e.Call.State.String())
		}
	}
	return strings.Join(names, " ")
}

// of gives the events of a kind.
func (w *world) of(k EventKind) []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	var es []Event
	for _, e := range w.events {
		if e.Kind == k {
			es = append(es, e)
		}
	}
	return es
}

func (w *world) report(id string) *quality.Report {
	for _, e := range w.of(Reported) {
		if e.Call.ID == id {
			return e.Report
		}
	}
	w.t.Helper()
	w.t.Fatalf("no report of %s", id)
	return nil
}

func (w *world) theMedia(n int) *fakeMedia {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n >= len(w.media) {
		w.t.Helper()
		w.t.Fatalf("only %d media were made", len(w.media))
	}
	return w.media[n]
}

// dial places a call and waits until it is trying.
func (w *world) dial() string {
	w.t.Helper()
	id, err := w.Dial(w.t.Context(), DialRequest{Destination: "concierge"})
	if err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(w.gather + time.Millisecond)
	synctest.Wait()
	return id
}

// talk places a call and has it answered.
func (w *world) talk() string {
	w.t.Helper()
	id := w.dial()
	w.Signal(Signal{Kind: SignalAnswered, CallID: id, SDP: "their answer"})
	synctest.Wait()
	return id
}

func (w *world) newMedia(ctx context.Context, c Info, notify func(MediaEvent)) (Media, error) {
	if w.newMediaErr != nil {
		return nil, w.newMediaErr
	}
	m := &fakeMedia{w: w, id: c.ID, notify: notify, relay: c.Relay}
	w.mu.Lock()
	w.media = append(w.media, m)
	w.mu.Unlock()
	return m, nil
}

type fakeMedia struct {
	w      *world
	id     string
	notify func(MediaEvent)

	mu      sync.Mutex
	did     []string
	samples int
	closed  int

	relay          bool
	since          time.Time // zero: nothing is measured
	in, out        bool      // packets flow
	received, sent uint64
	captured       float64
	path           *quality.Path
}

func (m *fakeMedia) note(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed > 0 {
		m.w.t.Errorf("%s: %s after Close", m.id, what)
	}
	m.did = append(m.did, what)
}

func (m *fakeMedia) done() string {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.did, ", ")
}

func (m *fakeMedia) check(t *testing.T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed != 1 && m.w.stuck == nil {
		t.Errorf("%s: media closed %d times", m.id, m.closed)
	}
}

func (m *fakeMedia) describe(ctx context.Context, sdp string, err error) (string, error) {
	select {
	case <-time.After(m.w.gather):
		return sdp, err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (m *fakeMedia) Offer(ctx context.Context) (string, error) {
	m.note("offer")
	return m.describe(ctx, "our offer", m.w.offerErr)
}

func (m *fakeMedia) Answer(ctx context.Context, offer string) (string, error) {
	m.note("answer " + offer)
	return m.describe(ctx, "our answer", m.w.answerErr)
}

func (m *fakeMedia) SetAnswer(sdp string) error {
	m.note("set " + sdp)
	return m.w.setErr
}

func (m *fakeMedia) AddCandidate(candidate, mid string, mline uint16) error {
	m.note("candidate " + candidate)
	return nil
}

func (m *fakeMedia) Restart(ctx context.Context) (string, error) {
	m.note("restart")
	return m.describe(ctx, "our restart", m.w.restartErr)
}

func (m *fakeMedia) Hold(on bool) { m.note(fmt.Sprintf("hold %t", on)) }
func (m *fakeMedia) Mute(on bool) { m.note(fmt.Sprintf("mute %t", on)) }
func (m *fakeMedia) Deaf(on bool) { m.note(fmt.Sprintf("deaf %t", on)) }

func (m *fakeMedia) SendDTMF(digits string) error {
	m.note("dtmf " + digits)
	return m.w.dtmfErr
}

func (m *fakeMedia) Sample() quality.Sample {
	m.w.held()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.samples++
	s := m.measured()
	s.Path = m.path
	return s
}

func (m *fakeMedia) Close() error {
	m.w.held()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed++
	return nil
}

type fakeLine struct {
	mu   sync.Mutex
	did  []string
	last map[string]Info

	inviteErr, answerErr, byeErr, attachErr, modifyErr, unhealthy error
	modified                                                      Modified
	delay                                                         time.Duration // each request takes so long
	stuck                                                         chan struct{} // requests ignore their context and wait for it
}

var errOffline = errors.New("the line is not registered")

func (l *fakeLine) ask(ctx context.Context, what string, c Info, err error) error {
	l.mu.Lock()
	l.did = append(l.did, what)
	if l.last == nil {
		l.last = map[string]Info{}
	}
	l.last[strings.Fields(what)[0]] = c
	stuck, delay := l.stuck, l.delay
	l.mu.Unlock()
	if stuck != nil {
		<-stuck
		return nil
	}
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (l *fakeLine) done() string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.did, ", ")
}

func (l *fakeLine) Invite(ctx context.Context, c Info, sdp string) error {
	return l.ask(ctx, "invite "+c.ID+" "+sdp, c, l.inviteErr)
}

func (l *fakeLine) Answer(ctx context.Context, c Info, sdp string) error {
	return l.ask(ctx, "answer "+c.ID+" "+sdp, c, l.answerErr)
}

func (l *fakeLine) Bye(ctx context.Context, c Info) error {
	return l.ask(ctx, fmt.Sprintf("bye %s %s/%d", c.ID, c.Cause.Cause, c.CauseCode), c, l.byeErr)
}

func (l *fakeLine) DTMF(ctx context.Context, c Info, digits string) error {
	return l.ask(ctx, "dtmf "+c.ID+" "+digits, c, nil)
}

func (l *fakeLine) Attach(ctx context.Context, c Info, sdp string) error {
	l.mu.Lock()
	err := l.attachErr
	l.mu.Unlock()
	return l.ask(ctx, "attach "+c.ID+" "+sdp, c, err)
}

func (l *fakeLine) Modify(ctx context.Context, c Info, action, with string) (Modified, error) {
	err := l.ask(ctx, strings.TrimSpace("modify "+c.ID+" "+action+" "+with), c, l.modifyErr)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.modified, err
}

func (l *fakeLine) Candidate(ctx context.Context, c Info, candidate, mid string, mline uint16) error {
	return l.ask(ctx, "candidate "+c.ID+" "+candidate, c, nil)
}

func (l *fakeLine) EndOfCandidates(ctx context.Context, c Info) error {
	return l.ask(ctx, "end of candidates "+c.ID, c, nil)
}

func (l *fakeLine) Renew(ctx context.Context, why string) { _ = l.ask(ctx, "renew", Info{}, nil) }

func (l *fakeLine) Healthy(ctx context.Context) bool {
	return l.ask(ctx, "healthy?", Info{}, l.unhealthy) == nil
}
