package hawkbit

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/ota"
)

// answers is a server that says three things: to a poll, of an order, of a cancellation.
type answers struct {
	poll, order, cancel []byte
	status              int // of all but the poll
	asked               []*http.Request
}

const ourLinks = "https://hawkbit.example/hb/DEFAULT/controller/v1/door1"

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	a.asked = append(a.asked, r)
	body, status := a.order, a.status
	switch path := r.URL.Path; {
	case r.Method != http.MethodGet:
		body = nil
	case path == "/hb/DEFAULT/controller/v1/door1":
		body, status = a.poll, http.StatusOK
	case strings.Contains(path, "cancelAction"):
		body = a.cancel
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(string(body))), Request: r}, nil
}

// orders are what an updater was asked for.
type orders struct{ did []string }

func (o *orders) add(what string) error                      { o.did = append(o.did, what); return nil }
func (o *orders) Check(context.Context) error                { return o.add("check") }
func (o *orders) Force(context.Context) error                { return o.add("force") }
func (o *orders) Defer(_ context.Context, _ time.Time) error { return o.add("defer") }
func (o *orders) Cancel(context.Context, string) error       { return o.add("cancel") }

// FuzzPoll has a server answer anything: the token stays with it, feedback goes to an action of ours, what is on trial is not
// given up, and what is ordered has a name.
func FuzzPoll(f *testing.F) {
	poll := func(kind string) []byte {
		return []byte(`{"config":{"polling":{"sleep":"00:05:00"}},"_links":{"` + kind + `":{"href":"http://x/hb/DEFAULT/controller/v1/door1/` + kind + `/1?c=2"}}}`)
	}
	order := []byte(`{"id":"1","deployment":{"download":"attempt","update":"forced","chunks":[{"part":"os","version":"2.0.0"}]}}`)
	cancel := []byte(`{"id":"9","cancelAction":{"stopId":"1"}}`)
	f.Add(poll("deploymentBase"), order, cancel, 200, uint(0))
	f.Add(poll("cancelAction"), order, cancel, 200, uint(4))
	f.Add(poll("configData"), order, cancel, 410, uint(7))
	f.Add([]byte(`{"config":{"polling":{"sleep":"99:99:99"}}}`), order, []byte(`{"id":"../..","cancelAction":{}}`), 404, uint(8))
	f.Add(poll("cancelAction"), order, []byte(`{"id":"../..","cancelAction":{"stopId":"1"}}`), 200, uint(1))
	f.Add(poll("deploymentBase"), []byte(`{"id":"1/../../2","deployment":{}}`), cancel, 200, uint(1))
	phases := []ota.Phase{"", ota.Idle, ota.Checking, ota.Downloading, ota.Ready, ota.Waiting, ota.Trying, ota.Probation, ota.Committed, ota.RolledBack, ota.Failed}
	f.Fuzz(func(t *testing.T, poll, order, cancel []byte, status int, pick uint) {
		if status < 200 || status > 599 || status >= 300 && status < 400 {
			return // the client's own business
		}
		s, o := &answers{poll: poll, order: order, cancel: cancel, status: status}, &orders{}
		base, _ := url.Parse("https://hawkbit.example/hb")
		a := New(nil, &Client{URL: base, Tenant: "DEFAULT", Controller: "door1", Auth: TargetToken,
			Token: func() (string, error) { return "secret", nil }, HTTP: &http.Client{Transport: s}}, &note{})
		a.Updater, a.Running = o, "v1.0.0"
		phase := phases[pick%uint(len(phases))]
		a.Tell(ota.State{Phase: phase, Release: ota.Release{Version: "v2.0.0", Size: 10}})
		for range 2 {
			if sleep, err := a.poll(t.Context()); err == nil && (sleep < leastSleep || sleep > mostSleep) {
				t.Errorf("it sleeps for %s", sleep)
			}
		}
		for _, r := range s.asked {
			if r.URL.Scheme != "https" || r.URL.Host != "hawkbit.example" {
				t.Errorf("the token goes to %s", r.URL)
			}
			if path, ours := strings.CutPrefix(r.URL.Path, "/hb/DEFAULT/controller/v1/door1/"); r.Method == http.MethodPost &&
				(!ours || strings.Count(path, "/") != 2 || !strings.HasSuffix(path, "/feedback")) {
				t.Errorf("feedback goes to %s", r.URL)
			}
		}
		if (phase == ota.Trying || phase == ota.Probation) && slices.Contains(o.did, "cancel") {
			t.Error("what is on trial is given up")
		}
		if a.order != nil && (a.order.ID == "" || !strings.HasPrefix(a.order.Version, "v")) {
			t.Errorf("ordered: %+v", a.order)
		}
	})
}
