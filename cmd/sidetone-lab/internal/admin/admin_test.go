package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a lab that knows one client.
type fake struct{ fault Fault }

func (f *fake) Token(name string) (Token, error) {
	return Token{Token: "token of " + name, ExpiresAt: time.Unix(1, 0).UTC()}, nil
}

func (f *fake) Ring(_ context.Context, name, from string) (string, error) {
	if name != "door1" {
		return "", errors.New(name + " is not registered")
	}
	return "call from " + from, nil
}

func (f *fake) Transfer(_ context.Context, callID, to string) error {
	if callID != "c" {
		return errors.New("no such call")
	}
	return nil
}

func (f *fake) Stats() Stats               { return Stats{Clients: map[string]Client{"door1": {}}} }
func (f *fake) Faults() []Fault            { return []Fault{f.fault} }
func (f *fake) SetFault(fault Fault) error { f.fault = fault; return nil }

func serve(t *testing.T) (dir string, s *Server) {
	t.Helper()
	dir = t.TempDir()
	s, err := Serve(dir, "http://127.0.0.1:1/", &fake{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return dir, s
}

func TestAsking(t *testing.T) {
	dir, _ := serve(t)
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if got, err := r.Token(ctx, "door1"); got.Token != "token of door1" || !got.ExpiresAt.Equal(time.Unix(1, 0)) || err != nil {
		t.Errorf("token %+v, %v", got, err)
	}
	if got, err := r.Ring(ctx, "door1", "tone"); got != "call from tone" || err != nil {
		t.Errorf("ring %s, %v", got, err)
	}
	if _, err := r.Ring(ctx, "door2", "tone"); err == nil || err.Error() != "door2 is not registered" {
		t.Errorf("ring of nobody: %v", err)
	}
	if err := r.Transfer(ctx, "c", "echo"); err != nil {
		t.Errorf("transfer: %v", err)
	}
	if err := r.Transfer(ctx, "d", "echo"); err == nil || err.Error() != "no such call" {
		t.Errorf("transfer of no call: %v", err)
	}
	if got, err := r.Stats(ctx); len(got.Clients) != 1 || err != nil {
		t.Errorf("stats %+v, %v", got, err)
	}
	if got, err := r.SetFault(ctx, Fault{Name: "turn-tcp", Blackhole: true}); len(got) != 1 || !got[0].Blackhole || err != nil {
		t.Errorf("fault %+v, %v", got, err)
	}
	if got, err := r.Faults(ctx); len(got) != 1 || got[0].Name != "turn-tcp" || err != nil {
		t.Errorf("faults %+v, %v", got, err)
	}
}

func TestOnlyTheOwnerMayAsk(t *testing.T) {
	dir, _ := serve(t)
	info, err := os.Stat(filepath.Join(dir, stateFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	st, err := read(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"", "Bearer ", "Bearer wrong", st.Secret} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", st.URL+"/stats", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", secret)
		c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("with %q: %d", secret, resp.StatusCode)
		}
	}
}

// TestNoLab: whether the lab ended well or was killed, the sub-command says how to start one.
func TestNoLab(t *testing.T) {
	dir, s := serve(t)
	st, err := read(dir)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "sidetone-lab up") {
		t.Errorf("after its end: %v", err)
	}
	if err := write(dir, st); err != nil { // as a killed one leaves it
		t.Fatal(err)
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Stats(t.Context()); err == nil || !strings.Contains(err.Error(), "sidetone-lab up") {
		t.Errorf("after it was killed: %v", err)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	unlock, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); !errors.Is(err, ErrRunning) {
		t.Errorf("a second lock: %v", err)
	}
	unlock()
	unlock, err = Lock(dir)
	if err != nil {
		t.Fatalf("after unlock: %v", err)
	}
	unlock()
}
