package update

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/control"
	"sidetone/ota"
	"sidetone/provisioning/config"

	"golang.org/x/mod/semver"
)

func TestVersion(t *testing.T) {
	for text, want := range map[string]string{"v1.2.3": "v1.2.3", "1.2.3": "v1.2.3", "v1.2.3-4-gabc": "v1.2.3-4-gabc", "dev": "", "": "", "1a2b3c4": ""} {
		got, err := version(text)
		if err == nil != (want != "") || err == nil && got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func TestImageVersion(t *testing.T) {
	for text, want := range map[string]string{
		"ID=sidetone\nIMAGE_VERSION=\"1.2.3\"\n": "1.2.3", "IMAGE_VERSION=v2\n": "v2", "ID=debian\n": "v9", "IMAGE_VERSION=\n": "v9",
	} {
		if got := imageVersion(text, "v9"); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

// FuzzImageVersion reads an os-release: what comes out is a version that stands there, or that of the program, or is refused.
func FuzzImageVersion(f *testing.F) {
	f.Add("ID=sidetone\nIMAGE_VERSION=\"1.2.3\"\n")
	f.Add("IMAGE_VERSION='v2'\r\nIMAGE_VERSION=3")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := version(imageVersion(text, "v9.0.0"))
		if err == nil && got != "v9.0.0" && !strings.Contains(text, strings.TrimPrefix(got, "v")) {
			t.Errorf("%q in %q", got, text)
		}
		if err == nil && !semver.IsValid(got) {
			t.Errorf("%q is taken for a version", got)
		}
	})
}

// A server that sends devices where nothing is encrypted is not followed, and gets no token there.
func TestRedirects(t *testing.T) {
	heard := make(chan string, 10)
	plain := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { heard <- r.Header.Get("Authorization") }))
	defer plain.Close()
	to := plain.URL
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metadata/here" {
			_, _ = w.Write([]byte("it is"))
			return
		}
		http.Redirect(w, r, to, http.StatusFound)
	}))
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := newSource(config.Update{URL: server.URL, CAFile: ca}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Client.CloseIdleConnections()
	if _, err := source.Metadata(t.Context(), "there", 100); err == nil || !strings.Contains(err.Error(), "nothing is encrypted") {
		t.Error(err)
	}
	req, _ := http.NewRequest(http.MethodGet, server.URL, nil)
	req.Header.Set("Authorization", "TargetToken secret")
	if res, err := source.Client.Do(req); err == nil {
		res.Body.Close()
		t.Error("followed")
	}
	if len(heard) > 0 {
		t.Errorf("asked in clear, with %q", <-heard)
	}
	to = server.URL + "/metadata/here"
	if b, err := source.Metadata(t.Context(), "there", 100); err != nil || string(b) != "it is" {
		t.Errorf("%s, %v", b, err)
	}
	to = server.URL + "/round"
	if _, err := source.Metadata(t.Context(), "there", 100); err == nil || !strings.Contains(err.Error(), "in a circle") {
		t.Error(err)
	}
}

// What is told of the machine's states: each change once.
func TestStatus(t *testing.T) {
	var told []control.Update
	s := &status{version: "v1.0.0", tell: func(u control.Update) { told = append(told, u) }}
	r := ota.Release{Version: "v1.1.0", Size: 200, Summary: "better"}
	last := func(st ota.State) control.Update {
		s.state(st)
		s.state(st) // nothing new
		return told[len(told)-1]
	}
	if u := last(ota.State{Phase: ota.Idle}); u.LatestVersion != "v1.0.0" || u.UpdatePercentage != nil || u.InProgress {
		t.Errorf("%+v", u)
	}
	if u := last(ota.State{Phase: ota.Downloading, Release: r, Offset: 50}); u.LatestVersion != "v1.1.0" || *u.UpdatePercentage != 25 || !u.InProgress || u.ReleaseSummary != "better" {
		t.Errorf("%+v", u)
	}
	if u := last(ota.State{Phase: ota.Waiting, Release: r, Offset: 200, Reason: "in a call"}); u.InProgress || u.UpdatePercentage != nil || u.String() != "v1.0.0, waiting v1.1.0: in a call" {
		t.Errorf("%+v", u)
	}
	condemned := map[string]ota.Verdict{"v1.1.0": {Reason: "no sound"}}
	if u := last(ota.State{Phase: ota.RolledBack, Release: r, Reason: "no sound", Condemned: condemned}); !u.NotAgain || u.LatestVersion != "v1.1.0" {
		t.Errorf("%+v", u)
	}
	// An older release than what runs, put there by hand, is no news.
	r.Version = "v0.9.0"
	if u := last(ota.State{Phase: ota.Idle, Release: r, Condemned: condemned}); u.NotAgain || u.LatestVersion != "v1.0.0" {
		t.Errorf("%+v", u)
	}
	if len(told) != 5 {
		t.Errorf("told %d times", len(told))
	}
}
