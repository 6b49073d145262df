package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sidetone/audio/audiotest"
)

// deviceStatus is what the tests read of `sidetone status --json`.
type deviceStatus struct {
	Line      lineStatus   `json:"line"`
	Calls     []deviceCall `json:"calls"`
	Indicator struct {
		Name string `json:"name"`
	} `json:"indicator"`
}

type deviceCall struct {
	State       string `json:"state"`
	RemoteRings bool   `json:"remote_rings"`
}

func (l *lab) status(t *testing.T, device string) (s deviceStatus) {
	t.Helper()
	r := run(t, 20*time.Second, nil, "sidetone", "status", "--config", l.Devices[device], "--json")
	if err := json.Unmarshal([]byte(r.out), &s); err != nil || r.code != 0 {
		t.Fatalf("status of %s: exit %d, %v\n%s%s", device, r.code, err, r.out, r.err)
	}
	return s
}

// silent tells that neither light nor sound speak of a call.
func (s deviceStatus) silent() bool {
	return !slices.Contains([]string{"ringing", "talking"}, s.Indicator.Name) &&
		!slices.ContainsFunc(s.Calls, func(c deviceCall) bool { return c.RemoteRings || c.State != "hangup" })
}

// keptReports are the reports that a device has on its disk.
func (l *lab) keptReports(t *testing.T, device string) (all []report) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(l.dir, "devices", device, "state", "reports", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var r report
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// TestGatewayRestarts kills the gateway's process in mid-call and starts it anew: it has forgotten the call.
func TestGatewayRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := startLabIn(t, dir, "127.0.0.1:0")
	start(t, "sidetone", "run", "--config", l.Devices["door1"])
	l.waitRegistered(t, "door1")
	call := startTalk(t, "--config", l.Devices["door1"], "tone")
	active := call.await(t, "active", isState("active"))
	if s := l.status(t, "door1"); s.Indicator.Name != "talking" {
		t.Errorf("in the call: %+v", s)
	}
	l.proc.kill()
	killed := time.Now()
	l = startLabIn(t, dir, "127.0.0.1:0")
	lost := call.await(t, "48501", func(e event) bool { return e.Code == 48501 })
	hangup := call.await(t, "hangup", isState("hangup"))
	t.Logf("the call ended %s after the kill", time.Since(killed).Round(time.Millisecond))
	if s := l.status(t, "door1"); !s.silent() {
		t.Errorf("after the call: %+v", s)
	}
	if lost.Event != "call_error" || lost.TMs > hangup.TMs+1000 || hangup.CallID != active.CallID {
		t.Errorf("%+v, %+v", lost, hangup)
	}
	<-call.ended
	if got := states(call.all()); slices.Contains(got, "recovering") || got[len(got)-1] != "destroy" {
		t.Errorf("states %v", got)
	}
	if s := oneReport(t, call.all()).Summary; s.Cause != "NORMAL_TEMPORARY_FAILURE" || s.CauseCode != 41 {
		t.Errorf("%+v", s)
	}
	l.waitRegistered(t, "door1")
	if n := len(l.keptReports(t, "door1")); n != 1 {
		t.Errorf("%d reports on the disk", n)
	}
	// What the device had when the line was lost goes out as a part of its own; the end comes once.
	eventually(t, 90*time.Second, "the new gateway has the report", func() bool {
		parts := l.tookOf(t, "door1", active.CallID)
		return len(parts) > 0 && parts[len(parts)-1].Final
	})
	if parts := l.tookOf(t, "door1", active.CallID); len(parts) != 2 || parts[0].Final || *parts[0].Segment != 0 || *parts[1].Segment != 1 {
		t.Errorf("the new gateway took %+v", parts)
	}
	eventually(t, 20*time.Second, "the device is idle", func() bool { return l.status(t, "door1").Indicator.Name == "idle" })
}

// TestGatewayRestartsWhileRinging does so while it rings at both ends.
func TestGatewayRestartsWhileRinging(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := startLabIn(t, dir, "127.0.0.1:0")
	for _, d := range []string{"door1", "door2"} {
		startEnv(t, []string{"SIDETONE_LINE_AUTO_ANSWER=false"}, "sidetone", "run", "--config", l.Devices[d])
		l.waitRegistered(t, d)
	}
	call := startTalk(t, "--config", l.Devices["door1"], "door2")
	eventually(t, 20*time.Second, "it rings at both ends", func() bool {
		here, there := l.status(t, "door1"), l.status(t, "door2")
		return here.Indicator.Name == "ringing" && len(here.Calls) == 1 && here.Calls[0].RemoteRings && there.Indicator.Name == "ringing"
	})
	l.proc.kill()
	killed := time.Now()
	call.await(t, "hangup", isState("hangup")) // while there is no gateway at all
	t.Logf("the call ended %s after the kill", time.Since(killed).Round(time.Millisecond))
	for _, d := range []string{"door1", "door2"} {
		eventually(t, slack, d+" falls silent", func() bool { return l.status(t, d).silent() })
	}
	<-call.ended
	if s := oneReport(t, call.all()).Summary; s.Cause != "NORMAL_TEMPORARY_FAILURE" || s.CauseCode != 41 {
		t.Errorf("%+v", s)
	}
	l = startLabIn(t, dir, "127.0.0.1:0")
	for _, d := range []string{"door1", "door2"} {
		l.waitRegistered(t, d)
		eventually(t, 20*time.Second, d+" is idle", func() bool { return l.status(t, d).Indicator.Name == "idle" })
	}
	for _, d := range []string{"door1", "door2"} {
		reports := l.keptReports(t, d)
		if len(reports) != 1 || reports[0].Summary.CauseCode != 41 || reports[0].Summary.Cause != "NORMAL_TEMPORARY_FAILURE" {
			t.Errorf("%s keeps %+v", d, reports)
		}
	}
}

// noticed is when a connection that swallows everything is left at the latest.
const noticed = 29 * time.Second

// TestHalfDead makes the socket swallow all frames in mid-call.
func TestHalfDead(t *testing.T) {
	t.Parallel()
	halfDead(t, startLab(t))
}

func halfDead(t *testing.T, l *lab) {
	t.Helper()
	heard := filepath.Join(t.TempDir(), "heard.wav")
	call := startTalk(t, "--config", l.Devices["door1"], "--out", heard, "tone")
	active := call.await(t, "active", isState("active"))
	if out, code := l.tool(t, "fault", "gateway", "--half-dead"); code != 0 {
		t.Fatal(out)
	}
	dead := time.Now()
	down := call.await(t, "the line is down", func(e event) bool { return e.Line != nil && e.Line.State == "down" })
	after := down.Line.Since.Sub(dead)
	if after > noticed+slack {
		t.Errorf("noticed after %s", after)
	}
	call.await(t, "active again", func(e event) bool { return e.State == "active" && e.PrevState == "recovering" })
	back := time.Since(down.Line.RetryAt)
	if step := down.Line.RetryAt.Sub(down.Line.Since); step > 1250*time.Millisecond || back > slack {
		t.Errorf("the next try was %s later, and the call back %s after that", step, back)
	}
	first := call.await(t, "sound by the new media", func(e event) bool { return e.Name == "first_packet_received" && e.GapMs > 0 })
	t.Logf("noticed after %s, the call back %s after the next try; gap %d ms", after.Round(time.Millisecond), back.Round(time.Millisecond), first.GapMs)
	time.Sleep(time.Second)
	if r := call.hangUp(t); r.Summary.CallID != active.CallID || r.Summary.CauseCode != 16 {
		t.Errorf("%+v", r.Summary)
	}
	pcm, _, err := audiotest.ReadWAV(heard)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range gaps(pcm, 1000) {
		if g.at > time.Second && g.length > time.Second {
			t.Errorf("a gap of %s", g)
		}
	}
}
