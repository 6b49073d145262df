package update

import (
	"os"
	"path/filepath"
	"testing"

	"sidetone/cmd/sidetone/internal/control"
	"sidetone/ota"
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
		path := filepath.Join(t.TempDir(), "os-release")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := imageVersion(path, "v9"); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
	if got := imageVersion("/nonexistent", "v9"); got != "v9" {
		t.Error(got)
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
