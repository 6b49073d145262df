package appliance

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/cmd/sidetone/internal/control"
	"sidetone/provisioning/broker"
	"sidetone/provisioning/config"
	"sidetone/provisioning/identity"
	"sidetone/rtc/verto"
)

// inMemory brings requests to a handler without a socket.
type inMemory struct{ http.Handler }

func (h inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

// account is a platform with a token broker, and a device that has only its own secret there.
type account struct {
	*exchange
	*station
	tokens *broker.Service
}

func newAccount(t *testing.T, life time.Duration) *account {
	t.Helper()
	a := &account{exchange: newExchange(t)}
	var err error
	if a.tokens, err = broker.New(broker.Config{Dir: t.TempDir(), TokenLife: life}); err != nil {
		t.Fatal(err)
	}
	secrets, err := a.tokens.Enroll("door1")
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "token.key")
	if err := os.WriteFile(key, []byte(secrets.TokenKey), 0o600); err != nil {
		t.Fatal(err)
	}
	a.admit = func(p verto.LoginParams) error {
		_, _, err := a.tokens.Authenticate(p.Token, p.User, p.Password)
		return err
	}
	a.station = newDoorOf(t, func(ap *Appliance) identity.Source {
		s, err := identity.New(identity.Config{
			Line:     config.Line{TokenURL: "https://broker.example/v1/devices/door1/token", TokenKeyFile: key},
			StateDir: t.TempDir(), Transport: inMemory{a.tokens}, Warn: ap.warn,
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}, func(c *verto.Config) { c.Dial = a.exchange.dial })
	synctest.Wait()
	if s := a.Appliance.line.Status(); s.State != verto.Registered {
		t.Fatalf("the line is %s", s)
	}
	return a
}

func (a *account) end() {
	a.station.end()
	a.exchange.cut()
	a.exchange.wg.Wait()
}

// ask uses the credentials API.
func (a *account) ask(t *testing.T, method, path, body string) []byte {
	t.Helper()
	r := httptest.NewRequest(method, "/v2/telephony_credentials"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+a.tokens.APIKey())
	w := httptest.NewRecorder()
	a.tokens.ServeHTTP(w, r)
	if w.Code >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w.Body.Bytes()
}

// credential gives the id of the device's one credential.
func (a *account) credential(t *testing.T) string {
	t.Helper()
	var list struct{ Data []broker.Credential }
	if err := json.Unmarshal(a.ask(t, "GET", "", ""), &list); err != nil || len(list.Data) != 1 {
		t.Fatalf("credentials %+v, %v", list, err)
	}
	return list.Data[0].ID
}

// heard gives what was told on the control socket.
func (a *account) heard(right func(control.Event) bool) (all []control.Event) {
	synctest.Wait()
	a.station.mu.Lock()
	defer a.station.mu.Unlock()
	for _, e := range a.station.told {
		if right(e) {
			all = append(all, e)
		}
	}
	return all
}

func warned(code int) func(control.Event) bool {
	return func(e control.Event) bool { return e.Event == "warning" && e.Code == code }
}

// TestTokensOfAMinute: a call of an hour is not disturbed by the login being renewed each minute.
func TestTokensOfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t, time.Minute)
		defer a.end()
		a.ring()
		synctest.Wait()
		if err := a.Answer(t.Context(), "", nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if calls := a.live(t); len(calls) != 1 || calls[0].State.String() != "active" {
			t.Errorf("calls %+v", calls)
		}
		a.with(func() {
			if a.dials != 1 || len(a.conns) != 1 {
				t.Errorf("%d connections, %d are there", a.dials, len(a.conns))
			}
			// Each at 75 to 85 % of a minute.
			if n := len(a.logins); n < 60*60/51 || n > 60*60/45+1 {
				t.Errorf("%d logins", n)
			}
			for i, l := range a.logins {
				if l.err != nil || l.on != a.logins[0].on {
					t.Errorf("login %d: %+v", i, l)
				}
			}
			if granted := a.tokens.Requests("door1").Granted; granted != len(a.logins) {
				t.Errorf("%d tokens for %d logins", granted, len(a.logins))
			}
		})
		var course []string
		for _, e := range a.heard(func(e control.Event) bool { return e.Event == "state" }) {
			course = append(course, e.State)
		}
		if want := []string{"new", "ringing", "answering", "active"}; !slices.Equal(course, want) {
			t.Errorf("states of the call %v", course)
		}
		if lines := a.heard(func(e control.Event) bool { return e.Line != nil && e.Line.State == verto.Registered }); len(lines) != 1 {
			t.Errorf("registered %d times", len(lines))
		}
		if w := a.heard(func(e control.Event) bool { return e.Event == "warning" && e.CallID == "" }); len(w) != 0 {
			t.Errorf("warnings %+v", w)
		}
	})
}

// TestRevokedForAnHour: 46001 once, one state, one lamp, and nobody is asked more often than once a minute. With a new
// credential it comes back by itself.
func TestRevokedForAnHour(t *testing.T) {
	for what, revoke := range map[string]func(*account){
		"sockets are closed": func(a *account) { a.exchange.cut() },
		"at a renewal":       func(a *account) {},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAccount(t, 24*time.Hour)
				defer a.end()
				time.Sleep(10 * time.Minute)
				a.ask(t, "DELETE", "/"+a.credential(t), "")
				revoke(a)
				if what == "at a renewal" { // which is refused, and the line lives until the token ends; then nobody lets it in
					time.Sleep(24 * time.Hour)
					if n := len(a.heard(warned(verto.CodeTokenExpiring))); n != 1 {
						t.Errorf("34001 was told %d times", n)
					}
					a.exchange.cut()
				}
				began := time.Now()
				time.Sleep(30 * time.Second)
				refused := func(when string) {
					t.Helper()
					synctest.Wait()
					a.station.mu.Lock()
					defer a.station.mu.Unlock()
					if s := a.Appliance.line.Status(); s.State != verto.Refused || s.Code != verto.CodeLoginFailed || a.lamp != "refused" {
						t.Errorf("%s: the line is %s, the lamp %s", when, s, a.lamp)
					}
				}
				for n := range 60 {
					refused(time.Duration(n).String())
					time.Sleep(time.Minute)
				}
				refused("after an hour")
				if n := len(a.heard(warned(verto.CodeLoginFailed))); n != 1 {
					t.Errorf("46001 was told %d times", n)
				}
				var course []verto.LineState
				for _, e := range a.heard(func(e control.Event) bool { return e.Line != nil && !e.Line.Since.Before(began) }) {
					course = append(course, e.Line.State)
				}
				if i := slices.Index(course, verto.Refused); i < 0 || i != len(course)-1 {
					t.Errorf("the line went through %v", course)
				}
				var atGateway []time.Time
				a.with(func() {
					for _, l := range a.logins {
						if l.err != nil {
							atGateway = append(atGateway, l.at)
						}
					}
				})
				atBroker := a.tokens.Requests("door1").Refused
				for where, times := range map[string][]time.Time{"gateway": atGateway, "broker": atBroker} {
					for i := 1; i < len(times); i++ {
						if d := times[i].Sub(times[i-1]); d < time.Minute {
							t.Errorf("the %s was asked again after %s", where, d)
						}
					}
				}
				if len(atBroker) < 2 { // it goes on
					t.Errorf("%d requests for a token", len(atBroker))
				}
				t.Logf("%d logins and %d requests for a token were refused", len(atGateway), len(atBroker))

				a.ask(t, "POST", "", `{"name":"door1"}`)
				time.Sleep(40 * time.Minute) // the longest pause is half an hour, and a quarter
				synctest.Wait()
				a.station.mu.Lock()
				defer a.station.mu.Unlock()
				if s := a.Appliance.line.Status(); s.State != verto.Registered || a.lamp != "idle" || len(a.Appliance.line.Conditions()) != 0 {
					t.Errorf("after a new credential: the line is %s, the lamp %s", s, a.lamp)
				}
			})
		})
	}
}
