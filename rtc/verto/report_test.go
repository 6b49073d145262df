package verto

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// roundTripper answers from memory, so that time can be virtual.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The pauses between tries are those of Telnyx's SDKs, whatever went wrong.
func TestUploadRetries(t *testing.T) {
	for name, c := range map[string]struct {
		answers []int // HTTP status; 0: no answer at all
		pauses  []time.Duration
		ok      bool
	}{
		"taken at once":          {[]int{200}, nil, true},
		"taken at the last try":  {[]int{503, 0, 404, 204}, []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second}, true},
		"never taken":            {[]int{500, 500, 500, 500}, []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second}, false},
		"sent elsewhere, no yes": {[]int{302, 200}, []time.Duration{500 * time.Millisecond}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var at []time.Time
				client := &http.Client{
					Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
						n := len(at)
						at = append(at, time.Now())
						if n >= len(c.answers) || c.answers[n] == 0 {
							return nil, errors.New("no route")
						}
						if r.Header.Get("x-call-id") != "c" || r.Header.Get("x-call-report-id") != "r" || r.Header["X-Voice-Sdk-Id"] != nil {
							t.Errorf("headers %v", r.Header)
						}
						return &http.Response{StatusCode: c.answers[n], Body: http.NoBody, Header: http.Header{"Location": {"http://elsewhere/"}}, Request: r}, nil
					}),
					CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
				}
				err := deliver(t.Context(), client, "http://platform/call_report", Upload{CallID: "c", ReportID: "r", Body: []byte("{}")}, slog.New(slog.DiscardHandler))
				var refused *UploadError
				if (err == nil) != c.ok || !c.ok && (!errors.As(err, &refused) || refused.StatusCode != 500 || !strings.Contains(err.Error(), "4 times")) {
					t.Errorf("error %v", err)
				}
				var pauses []time.Duration
				for i := 1; i < len(at); i++ {
					pauses = append(pauses, at[i].Sub(at[i-1]))
				}
				if len(pauses) != len(c.pauses) {
					t.Fatalf("pauses %v, want %v", pauses, c.pauses)
				}
				for i := range pauses {
					if pauses[i] != c.pauses[i] {
						t.Errorf("pauses %v, want %v", pauses, c.pauses)
					}
				}
			})
		})
	}
}
