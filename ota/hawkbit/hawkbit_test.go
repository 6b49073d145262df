package hawkbit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sidetone/ota"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a hawkBit for one device: it speaks DDI as its documentation has it.
type server struct {
	t *testing.T

	mu         sync.Mutex
	down       bool
	attributes map[string]string
	action     int    // the last one
	version    string // ordered by it; "": nothing is
	update     string // skip, attempt or forced
	cancel     int    // the action that takes it back; 0: none
	told       []string
	polls      int
}

// RoundTrip has no network in between, so that time is virtual.
func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	s.serve(w, r)
	return w.Result(), nil
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	if r.Host != "hawkbit.example" || r.URL.Scheme != "https" {
		s.t.Errorf("the token goes to %s", r.URL)
	}
	if r.Header.Get("Authorization") != "TargetToken secret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	const root = "/hb/DEFAULT/controller/v1/door1"
	path, below := strings.CutPrefix(r.URL.Path, root)
	if !below {
		http.NotFound(w, r)
		return
	}
	href := func(kind string) map[string]string { // by a name that nobody else knows
		return map[string]string{"href": "http://internal:8080" + root + "/" + kind}
	}
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	var f feedback
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(&f); err != nil || f.ID == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
	}
	word := f.Status.Execution + " " + f.Status.Result.Finished + ": " + strings.Join(f.Status.Details, ", ")
	switch {
	case r.Method == http.MethodGet && path == "":
		s.polls++
		links := map[string]any{}
		if s.attributes == nil {
			links["configData"] = href("configData")
		}
		if s.cancel > 0 {
			links["cancelAction"] = href(fmt.Sprint("cancelAction/", s.cancel))
		} else if s.version != "" {
			links["deploymentBase"] = href(fmt.Sprintf("deploymentBase/%d", s.action) + "?c=-21")
		}
		answer(map[string]any{"config": map[string]any{"polling": map[string]string{"sleep": "00:05:00"}}, "_links": links})
	case r.Method == http.MethodPut && path == "/configData":
		var in struct {
			Mode string            `json:"mode"`
			Data map[string]string `json:"data"`
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Mode != "merge" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.attributes = in.Data
	case r.Method == http.MethodGet && path == fmt.Sprintf("/deploymentBase/%d", s.action) && r.URL.RawQuery == "c=-21":
		answer(map[string]any{"id": fmt.Sprint(s.action), "deployment": map[string]any{
			"download": "attempt", "update": s.update, "chunks": []any{map[string]any{"part": "os", "name": "sidetone", "version": s.version, "artifacts": []any{}}},
		}})
	case r.Method == http.MethodPost && path == fmt.Sprintf("/deploymentBase/%d/feedback", s.action):
		if s.version == "" {
			w.WriteHeader(http.StatusGone)
			return
		}
		s.told = append(s.told, word)
		if f.Status.Execution == closed {
			s.version = ""
		}
	case r.Method == http.MethodGet && s.cancel > 0 && path == fmt.Sprint("/cancelAction/", s.cancel):
		answer(map[string]any{"id": fmt.Sprint(s.cancel), "cancelAction": map[string]string{"stopId": fmt.Sprint(s.action)}})
	case r.Method == http.MethodPost && s.cancel > 0 && path == fmt.Sprintf("/cancelAction/%d/feedback", s.cancel):
		s.told = append(s.told, "cancel "+word)
		if s.cancel = 0; f.Status.Execution == closed {
			s.version = ""
		}
	default:
		if r.Method == http.MethodPost {
			s.told = append(s.told, "to nobody, "+path)
		}
		http.NotFound(w, r)
	}
}

// with looks at the server, or changes it.
func (s *server) with(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

// orders a version, as the next action.
func (s *server) orders(version, update string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.action++
	s.version, s.update = version, update
}

// said gives what the device told since the last time, without repeated words.
func (s *server) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.told = nil }()
	return strings.Join(slices.Compact(s.told), " | ")
}

// device has two slots, and what ota.Updater needs beside.
type device struct {
	mu      sync.Mutex
	disk    []byte
	note    note   // the agent's
	offered string // by the signed metadata
	slots   map[string]string
	chosen  string
	running string
	armed   bool
	sick    string
	busy    string
	reboot  context.CancelFunc
	forced  bool // by a check
	boots   int
}

// with looks at the device, or changes it.
func (d *device) with(do func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do()
}

// is wants a slot to boot, and v2.0.0 to be in the other one or not.
func (d *device) is(t *testing.T, chosen string, written bool) {
	t.Helper()
	d.with(func() {
		if d.chosen != chosen || (d.slots["b"] == "v2.0.0") != written {
			t.Errorf("%s boots, %v", d.chosen, d.slots)
		}
	})
}

// note is a file of the agent's.
type note struct {
	b    []byte
	full atomic.Bool
}

func (n *note) Load() ([]byte, error) { return n.b, nil }
func (n *note) Save(b []byte) error {
	if n.full.Load() {
		return errors.New("no space")
	}
	n.b = b
	return nil
}

func (d *device) Load() (b []byte, _ error) { d.with(func() { b = d.disk }); return b, nil }
func (d *device) Save(b []byte) error       { d.with(func() { d.disk = b }); return nil }
func (d *device) Busy() (why string)        { d.with(func() { why = d.busy }); return why }
func (d *device) Unhealthy() (why string)   { d.with(func() { why = d.sick }); return why }
func (d *device) other() string             { return map[string]string{"a": "b", "b": "a"}[d.running] }
func (d *device) Running() (running, other string, trial bool, err error) {
	d.with(func() { running, other, trial = d.running, d.other(), d.running != d.chosen })
	return running, other, trial, nil
}
func (d *device) Try() error    { d.with(func() { d.armed = true; d.reboot() }); return nil }
func (d *device) Revert() error { d.with(func() { d.reboot() }); return nil }
func (d *device) Commit() error { d.with(func() { d.chosen = d.running }); return nil }
func (d *device) Check(_ context.Context, forced bool) (r *ota.Release, _ error) {
	d.with(func() {
		if d.forced = forced; d.offered != "" && d.offered != d.slots[d.running] {
			r = &ota.Release{Version: d.offered, Serial: 1, SHA256: d.offered, Size: 100}
		}
	})
	return r, nil
}
func (d *device) Fetch(ctx context.Context, r ota.Release, offset int64, progress func(int64)) error {
	for ; offset < r.Size; offset += 25 {
		select {
		case <-time.After(time.Minute):
		case <-ctx.Done():
			return ctx.Err()
		}
		progress(offset + 25)
	}
	return nil
}
func (d *device) ReadBack(context.Context, ota.Release) error { return nil }
func (d *device) WriteHead(_ context.Context, r ota.Release) error {
	d.with(func() { d.slots[d.other()] = r.Version })
	return nil
}

// lives boots the device again and again until ctx ends.
func (d *device) lives(ctx context.Context, s *server, c ota.Config) {
	for ctx.Err() == nil {
		boot, reboot := context.WithCancel(ctx)
		version := ""
		d.with(func() {
			d.boots++
			if d.running = d.chosen; d.armed {
				d.running, d.armed = d.other(), false
			}
			d.reboot, version = reboot, d.slots[d.running]
		})
		c.BootID = fmt.Sprint(d.boots)
		base, _ := url.Parse("https://hawkbit.example/hb")
		a := New(d, &Client{URL: base, Tenant: "DEFAULT", Controller: "door1", Auth: TargetToken,
			Token: func() (string, error) { return "secret", nil }, HTTP: &http.Client{Transport: s}}, &d.note)
		a.Running, a.Attributes = version, map[string]string{"board": "sim"}
		up := ota.New(c, a, d, d, d)
		up.Tell = a.Tell
		a.Updater = up
		var wg sync.WaitGroup
		wg.Go(func() { a.Run(boot) })
		_ = up.Run(boot)
		reboot()
		wg.Wait()
	}
}

// alive starts a device and its server.
func alive(t *testing.T, c ota.Config) (*server, *device) {
	s := &server{t: t}
	d := &device{slots: map[string]string{"a": "v1.0.0"}, chosen: "a", offered: "v2.0.0"}
	ctx, end := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.lives(ctx, s, c) }()
	t.Cleanup(func() { end(); <-done })
	return s, d
}

// reach waits for what was said to hold words, and gives all of it.
func (s *server) reach(words string) string {
	all := ""
	for range 3600 {
		time.Sleep(10 * time.Second)
		if more := s.said(); more != "" {
			all = strings.TrimPrefix(all+" | "+more, " | ")
		}
		if strings.Contains(all, words) {
			break
		}
	}
	var parts []string
	for _, p := range strings.Split(all, " | ") {
		if !slices.Contains(parts, p) { // phases that pass quickly may be skipped or told again
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, " | ")
}

// Without an order nothing is installed, whatever the metadata offers; with one it is, and the server is told each step.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := alive(t, ota.Config{})
		time.Sleep(24 * time.Hour)
		d.is(t, "a", false)
		if got := s.said(); got != "" {
			t.Errorf("without an order: %q", got)
		}
		s.mu.Lock()
		if s.attributes["board"] != "sim" || s.polls < 200 || s.polls > 300 {
			t.Errorf("%d polls in a day, %v", s.polls, s.attributes)
		}
		s.mu.Unlock()
		s.orders("2.0.0", "attempt")
		got := s.reach("closed")
		for _, want := range []string{"proceeding none: downloading", "proceeding none: probation", "closed success: v2.0.0 runs"} {
			if !strings.Contains(got, want) {
				t.Errorf("%q is missing in %q", want, got)
			}
		}
		d.is(t, "b", true)
		d.with(func() {
			if !d.forced {
				t.Error("the share of the fleet was asked for")
			}
		})
		s.orders("2.0.0", "attempt")
		if got := s.reach("closed"); got != "closed success: v2.0.0 runs" {
			t.Errorf("what runs already: %q", got)
		}
	})
}

// A device that is not well goes back, says so once, and the same order does not make it try again.
func TestUnhealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := alive(t, ota.Config{})
		d.with(func() { d.sick = "no line" })
		s.orders("v2.0.0", "forced")
		got := s.reach("closed")
		if !strings.Contains(got, "proceeding none: probation") || !strings.HasSuffix(got, "closed failure: v2.0.0 is not tried again: no line") && !strings.HasSuffix(got, "closed failure: rolled back, no line") {
			t.Errorf("%q", got)
		}
		s.orders("v2.0.0", "forced")
		if got := s.reach("closed"); got != "closed failure: v2.0.0 is not tried again: no line" {
			t.Errorf("ordered again: %q", got)
		}
		d.is(t, "a", true)
	})
}

// The metadata does not offer what is ordered: nothing is installed.
func TestOrderOfSomethingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := alive(t, ota.Config{})
		s.orders("v3.0.0", "attempt")
		if got := s.reach("closed"); got != "closed failure: v3.0.0 is ordered, the signed metadata offers v2.0.0" {
			t.Errorf("%q", got)
		}
		d.is(t, "a", false)
		d.with(func() { d.offered = "" })
		s.orders("v3.0.0", "attempt")
		if got := s.reach("closed"); got != "closed failure: v3.0.0 is ordered, the signed metadata offers nothing to us" {
			t.Errorf("%q", got)
		}
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := alive(t, ota.Config{})
		d.with(func() { d.busy = "a call" })
		s.orders("v2.0.0", "attempt")
		if got := s.reach("waiting"); !strings.Contains(got, "proceeding none: waiting, a call") {
			t.Fatalf("%q", got)
		}
		s.with(func() { s.cancel = 99 })
		if got := s.reach("cancel"); !strings.Contains(got, "cancel closed success: cancelled") {
			t.Errorf("%q", got)
		}
		d.with(func() { d.busy = "" })
		time.Sleep(24 * time.Hour)
		d.is(t, "a", true)
		if got := s.said(); got != "" {
			t.Errorf("after its end: %q", got)
		}
	})
}

// Outside the server's maintenance window a release is fetched and not booted.
func TestMaintenanceWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := alive(t, ota.Config{})
		s.orders("v2.0.0", "skip")
		time.Sleep(3 * time.Hour)
		d.is(t, "a", true)
		s.with(func() { s.update = "attempt" })
		if got := s.reach("closed"); !strings.HasSuffix(got, "closed success: v2.0.0 runs") {
			t.Errorf("%q", got)
		}
	})
}

// A forced order does not wait for the device's own window, an attempt does.
func TestForced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().UTC() // the bubble begins at midnight UTC
		h, m, _ := now.Add(20 * time.Hour).In(time.Local).Clock()
		window, err := ota.ParseWindow(fmt.Sprintf("%02d:%02d-%02d:%02d", h, m, (h+1)%24, m))
		if err != nil {
			t.Fatal(err)
		}
		s, d := alive(t, ota.Config{Window: window})
		s.orders("v2.0.0", "attempt")
		if got := s.reach("waiting"); !strings.Contains(got, "outside the maintenance window") {
			t.Fatalf("%q", got)
		}
		d.is(t, "a", true)
		s.with(func() { s.update = "forced" })
		if got := s.reach("closed"); !strings.HasSuffix(got, "closed success: v2.0.0 runs") || time.Since(now) > 19*time.Hour {
			t.Errorf("%q after %s", got, time.Since(now))
		}
	})
}

// A server that is away is asked again, more and more seldom; what it missed it is told.
func TestServerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := alive(t, ota.Config{})
		s.orders("v2.0.0", "attempt")
		s.reach("downloading")
		s.with(func() { s.down = true })
		time.Sleep(12 * time.Hour)
		d.is(t, "b", true)
		s.with(func() { s.down = false })
		if got := s.reach("closed"); got != "closed success: v2.0.0 runs" {
			t.Errorf("%q", got)
		}
	})
}

func TestRefusals(t *testing.T) {
	s := &server{t: t}
	at, _ := url.Parse("https://hawkbit.example/hb")
	c := Client{URL: at, Tenant: "DEFAULT", Controller: "door1", Auth: GatewayToken, Token: func() (string, error) { return "secret", nil }, HTTP: &http.Client{Transport: s}}
	if _, err := c.poll(t.Context()); err == nil || !strings.Contains(err.Error(), "does not take our GatewayToken for door1 of DEFAULT") {
		t.Errorf("%v", err)
	}
	c.Token = func() (string, error) { return "", errors.New("no file") }
	if _, err := c.poll(t.Context()); err == nil || err.Error() != "no file" {
		t.Errorf("%v", err)
	}
	for _, text := range []string{"", "5", "00:00", "-1:00:00", "00:61:00"} {
		var b base
		b.Config.Polling.Sleep = text
		if d, err := b.sleep(); err == nil {
			t.Errorf("%q: %s", text, d)
		}
	}
	var d deployment
	if err := json.Unmarshal([]byte(`{"id":"1","deployment":{"chunks":[{"part":"bApp","version":"7"},{"part":"os","version":"2.1.0"}]}}`), &d); err != nil {
		t.Fatal(err)
	}
	if v, err := d.version(); v != "v2.1.0" || err != nil {
		t.Errorf("%s, %v", v, err)
	}
	d.Deployment.Chunks = d.Deployment.Chunks[:0]
	if _, err := d.version(); err == nil {
		t.Error("an order of nothing")
	}
}
