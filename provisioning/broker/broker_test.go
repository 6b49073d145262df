package broker

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that tests set.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fixture is a service on a fresh directory.
type fixture struct {
	*Service
	clock *clock
	dir   string

	mu      sync.Mutex
	names   map[string]string // of credentials made, by id
	revoked []string          // names
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{clock: &clock{t: noon}, dir: t.TempDir(), names: map[string]string{}}
	f.reopen(t)
	return f
}

func (f *fixture) reopen(t testing.TB) {
	t.Helper()
	var err error
	f.Service, err = New(Config{
		Dir: f.dir, Now: f.clock.now,
		Revoked: func(id string) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.revoked = append(f.revoked, f.names[id])
		},
		ICEServers: func(name string) ([]ICEServer, time.Time) {
			return []ICEServer{{URLs: []string{"turn:127.0.0.1:3478"}, Username: "u:" + name, Credential: "p"}}, f.clock.now().Add(24 * time.Hour)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) revokedNames() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.revoked, " ")
}

// do sends a request with that bearer token, and gives the status and the body.
func (f *fixture) do(t testing.TB, method, path, bearer, body string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(b)
}

// make creates a credential from a body, and gives its data.
func (f *fixture) make(t testing.TB, body string) view {
	t.Helper()
	status, answer := f.do(t, "POST", "/v2/telephony_credentials", f.APIKey(), body)
	if status != http.StatusCreated {
		t.Fatalf("create: %d %s", status, answer)
	}
	c := data(t, answer)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names[c.ID] = c.Name
	return c
}

func data(t testing.TB, answer string) view {
	t.Helper()
	var v struct{ Data view }
	if err := json.Unmarshal([]byte(answer), &v); err != nil {
		t.Fatalf("%v in %s", err, answer)
	}
	return v.Data
}

func (f *fixture) token(t testing.TB, id string) string {
	t.Helper()
	status, answer := f.do(t, "POST", "/v2/telephony_credentials/"+id+"/token", f.APIKey(), "")
	if status != http.StatusCreated {
		t.Fatalf("token: %d %s", status, answer)
	}
	return answer
}

func TestCredentialHasTelnyxShape(t *testing.T) {
	f := newFixture(t)
	_, answer := f.do(t, "POST", "/v2/telephony_credentials", f.APIKey(),
		`{"name":"door1","connection_id":"1234567890","expires_at":"2026-03-02T00:00:00","tag":"entrance"}`)
	var got struct{ Data map[string]any }
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"name": "door1", "resource_id": "connection:1234567890", "expires_at": "2026-03-02T00:00:00Z", "tag": "entrance",
		"expired": false, "status": "active", "record_type": "credential",
		"created_at": "2026-03-01T12:00:00Z", "updated_at": "2026-03-01T12:00:00Z",
	} {
		if got.Data[key] != want {
			t.Errorf("%s is %v, want %v", key, got.Data[key], want)
		}
	}
	for _, key := range []string{"id", "sip_username", "sip_password", "user_id"} {
		if s, _ := got.Data[key].(string); s == "" {
			t.Errorf("%s is missing", key)
		}
	}
}

func TestCredentialsAPI(t *testing.T) {
	f := newFixture(t)
	c := f.make(t, `{"name":"door1","tag":"a"}`)
	gone := f.make(t, `{"name":"gone"}`)
	f.do(t, "DELETE", "/v2/telephony_credentials/"+gone.ID, f.APIKey(), "")
	old := f.make(t, `{"name":"old","expires_at":"2026-02-01T00:00:00Z"}`)
	const root = "/v2/telephony_credentials"
	for _, tc := range []struct {
		name, method, path, key, body string
		status                        int
		want                          string // in the answer
	}{
		{"no key", "GET", root, "", "", 401, `"code":"10009"`},
		{"wrong key", "GET", root, f.APIKey() + "x", "", 401, "Authentication failed"},
		{"no key for what is not there", "GET", "/v2/nothing", "", "", 401, "errors"},
		{"what is not there", "GET", "/v2/nothing", f.APIKey(), "", 404, `"code":"10005"`},
		{"get", "GET", root + "/" + c.ID, f.APIKey(), "", 200, `"name":"door1"`},
		{"get unknown", "GET", root + "/no-such-id", f.APIKey(), "", 404, "Resource not found"},
		{"get deleted", "GET", root + "/" + gone.ID, f.APIKey(), "", 404, "errors"},
		{"token of deleted", "POST", root + "/" + gone.ID + "/token", f.APIKey(), "", 404, "errors"},
		{"get expired", "GET", root + "/" + old.ID, f.APIKey(), "", 200, `"status":"expired","expired":true`},
		{"token of expired", "POST", root + "/" + old.ID + "/token", f.APIKey(), "", 422, "expired"},
		{"patch expired", "PATCH", root + "/" + old.ID, f.APIKey(), `{"expires_at":"2030-01-01T00:00:00Z"}`, 422, "can't update credentials in expired status"},
		{"patch", "PATCH", root + "/" + c.ID, f.APIKey(), `{"tag":"b","expires_at":"2026-03-05T10:00:00+02:00"}`, 200, `"expires_at":"2026-03-05T08:00:00Z"`},
		{"patch keeps the rest", "GET", root + "/" + c.ID, f.APIKey(), "", 200, `"tag":"b"`},
		{"patch to never", "PATCH", root + "/" + c.ID, f.APIKey(), `{"expires_at":null}`, 200, `"expires_at":null`},
		{"patch away the name", "PATCH", root + "/" + c.ID, f.APIKey(), `{"name":""}`, 422, `"pointer":"/name"`},
		{"patch unknown", "PATCH", root + "/no-such-id", f.APIKey(), `{}`, 404, "errors"},
		{"bad time", "POST", root, f.APIKey(), `{"expires_at":"soon"}`, 422, "ISO 8601"},
		{"time as number", "POST", root, f.APIKey(), `{"expires_at":17}`, 422, `"pointer":"/expires_at"`},
		{"name as number", "POST", root, f.APIKey(), `{"name":17}`, 422, `"pointer":"/name"`},
		{"name with a line feed", "POST", root, f.APIKey(), `{"name":"a\nb"}`, 422, `"pointer":"/name"`},
		{"no JSON", "POST", root, f.APIKey(), `name=door1`, 422, "not a JSON object"},
		{"too long", "POST", root, f.APIKey(), `{"name":"` + strings.Repeat("x", maxBody) + `"}`, 422, "errors"},
		{"list", "GET", root, f.APIKey(), "", 200, `"meta":{"total_pages":1,"total_results":2,"page_number":1,"page_size":20}`},
		{"list by status", "GET", root + "?filter[status]=expired", f.APIKey(), "", 200, `"total_results":1`},
		{"list by tag", "GET", root + "?filter[tag]=b", f.APIKey(), "", 200, `"name":"door1"`},
		{"second page", "GET", root + "?page[size]=1&page[number]=2", f.APIKey(), "", 200, `"name":"old"`},
		{"page after the last", "GET", root + "?page[number]=9", f.APIKey(), "", 200, `"data":[]`},
		{"page that is none", "GET", root + "?page[number]=x", f.APIKey(), "", 422, "errors"},
		{"delete unknown", "DELETE", root + "/no-such-id", f.APIKey(), "", 404, "errors"},
		{"delete", "DELETE", root + "/" + c.ID, f.APIKey(), "", 200, `"status":"deleted"`},
		{"delete again", "DELETE", root + "/" + c.ID, f.APIKey(), "", 404, "errors"},
		{"no name at all", "POST", root, f.APIKey(), "", 201, `"name":"gencred`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, answer := f.do(t, tc.method, tc.path, tc.key, tc.body)
			if status != tc.status || !strings.Contains(answer, tc.want) {
				t.Errorf("%d %s\nwant %d with %s", status, answer, tc.status, tc.want)
			}
		})
	}
}

func TestStateSurvives(t *testing.T) {
	f := newFixture(t)
	c := f.make(t, `{"name":"door1"}`)
	token, key := f.token(t, c.ID), f.APIKey()
	secrets, err := f.Enroll("door1")
	if err != nil {
		t.Fatal(err)
	}
	f.reopen(t)
	if f.APIKey() != key {
		t.Error("the API key changed")
	}
	if name, _, err := f.Authenticate(token, "", ""); name != "door1" || err != nil {
		t.Errorf("token: %s, %v", name, err)
	}
	if kept, err := f.Keep("door1", secrets); !kept || err != nil {
		t.Errorf("device secrets: %t, %v", kept, err)
	}
	path := filepath.Join(f.dir, stateFile)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), secrets.TokenKey) || strings.Contains(string(b), secrets.MQTTPassword) {
		t.Error("a device secret is kept in clear")
	}
	if entries, _ := os.ReadDir(f.dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestUnreadableStateIsNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, stateFile)
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v does not name the file", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "{" {
		t.Errorf("it was overwritten: %s", b)
	}
}

// TestChangeThatCannotBeSavedIsRefused: what was answered is never less than what is on disk.
func TestChangeThatCannotBeSavedIsRefused(t *testing.T) {
	f := newFixture(t)
	c := f.make(t, `{"name":"door1"}`)
	token := f.token(t, c.ID)
	f.cfg.Dir = filepath.Join(f.dir, "gone")
	status, answer := f.do(t, "DELETE", "/v2/telephony_credentials/"+c.ID, f.APIKey(), "")
	if status != 500 || strings.Contains(answer, f.dir) {
		t.Errorf("%d %s", status, answer)
	}
	if _, _, err := f.Authenticate(token, "", ""); err != nil {
		t.Errorf("the credential is gone nevertheless: %v", err)
	}
	if f.revokedNames() != "" {
		t.Errorf("revoked %s", f.revokedNames())
	}
}

func TestRevokedIsCalled(t *testing.T) {
	f := newFixture(t)
	c := f.make(t, `{"name":"a"}`)
	f.do(t, "DELETE", "/v2/telephony_credentials/"+c.ID, f.APIKey(), "")
	c = f.make(t, `{"name":"b"}`)
	f.do(t, "PATCH", "/v2/telephony_credentials/"+c.ID, f.APIKey(), `{"name":"c"}`)
	f.do(t, "PATCH", "/v2/telephony_credentials/"+c.ID, f.APIKey(), `{"tag":"x"}`)
	f.do(t, "PATCH", "/v2/telephony_credentials/"+c.ID, f.APIKey(), `{"expires_at":"2026-02-01"}`)
	if got := f.revokedNames(); got != "a b b" { // deleted, renamed, expired
		t.Errorf("revoked %q", got)
	}
}

func TestRunTellsOfExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.cfg.Now = time.Now // the bubble's
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()
		in := func(d time.Duration) string { return time.Now().Add(d).Format(time.RFC3339) }
		f.make(t, `{"name":"later","expires_at":"`+in(3*time.Hour)+`"}`)
		f.make(t, `{"name":"soon","expires_at":"`+in(time.Minute)+`"}`)
		f.make(t, `{"name":"never"}`)
		for _, step := range []struct {
			after time.Duration
			want  string
		}{{59 * time.Second, ""}, {2 * time.Second, "soon"}, {time.Hour, "soon"}, {2 * time.Hour, "soon later"}, {24 * time.Hour, "soon later"}} {
			time.Sleep(step.after)
			synctest.Wait()
			if got := f.revokedNames(); got != step.want {
				t.Errorf("after %v more: revoked %q, want %q", step.after, got, step.want)
			}
		}
		cancel()
		<-done
	})
}
