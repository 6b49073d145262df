package update

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/control"
	"sidetone/ota"
	"sidetone/provisioning/config"
	"sidetone/provisioning/identity"
)

// A device whose config names a hawkBit logs in there with its token, and says what it is.
func TestHawkBitOfTheConfig(t *testing.T) {
	type request struct{ path, auth, board string }
	asked := make(chan request, 16)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Data map[string]string `json:"data"`
		}
		_ = json.NewDecoder(r.Body).Decode(&in)
		select {
		case asked <- request{r.URL.Path, r.Header.Get("Authorization"), in.Data["board"]}:
		default:
		}
		_, _ = w.Write([]byte(`{"config":{"polling":{"sleep":"00:10:00"}},"_links":{"configData":{"href":"http://x/T/controller/v1/door1/configData"}}}`))
	}))
	defer server.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	u := config.Default().Update
	u.URL, u.HawkBit = server.URL, config.HawkBit{URL: server.URL, Tenant: "T", TokenFile: token, Gateway: true}
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	c := Config{Secrets: identity.NewSecretFiles(log), Update: u, Board: "sim", Device: "door1", Version: "v1.0.0", StateDir: t.TempDir(), Now: time.Now,
		Log: slog.New(slog.DiscardHandler), Tell: func(control.Update) {}}
	a, err := newOrders(u, c, server.Client())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := a.Client.Token(); err != nil || got != "secret" || !strings.Contains(said.String(), "every user of this machine may read") || strings.Contains(said.String(), "secret\n") {
		t.Errorf("a token that others can read: %v; %s", err, &said)
	}
	if err := os.Chmod(token, 0o600); err != nil {
		t.Fatal(err)
	}
	a.Attributes = map[string]string{"board": "sim"}
	ctx, end := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { a.Run(ctx) })
	a.Tell(ota.State{})
	defer running.Wait()
	defer end()
	for _, want := range []request{{"/T/controller/v1/door1", "GatewayToken secret", ""}, {"/T/controller/v1/door1/configData", "GatewayToken secret", "sim"}} {
		select {
		case got := <-asked:
			if got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("it was not asked for %s", want.path)
		}
	}
	u.HawkBit.URL = ""
	if a, err := newOrders(u, c, nil); a != nil || err != nil {
		t.Errorf("%v, %v", a, err)
	}
}
