package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// took is one part of a report as the gateway took it.
type took struct {
	CallID  string `json:"call_id"`
	File    string `json:"file"`
	Segment *int   `json:"segment"`
	Final   bool   `json:"final"`
}

// tookOf gives the parts of a call's report that the gateway took, in the order of arrival.
func (l *lab) tookOf(t *testing.T, device, callID string) (all []took) {
	t.Helper()
	for _, b := range l.stats(t)[device].Reports {
		var r took
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatal(err)
		}
		if r.CallID == callID {
			all = append(all, r)
		}
	}
	return all
}

// waiting are the files of reports that a device keeps until the platform takes them.
func (l *lab) waiting(t *testing.T, device string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(l.dir, "devices", device, "state", "outbox", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestReportInParts makes a call whose report is sent in parts, while the platform takes none; the device is started anew,
// the platform takes reports again, and gets all parts, once and in order.
func TestReportInParts(t *testing.T) {
	l := startLab(t)
	env := []string{"SIDETONE_REPORT_FLUSH_INTERVAL=2s", "SIDETONE_REPORT_INTERVAL=1s", "SIDETONE_REPORT_DEBUG=line", "SIDETONE_MQTT_STATS_LIVE=true"}
	watch := l.subscribe(t, "door1")
	device := startEnv(t, env, "sidetone", "run", "--config", l.Devices["door1"])
	l.waitRegistered(t, "door1")
	if out, code := l.tool(t, "fault", "gateway", "--no-reports"); code != 0 {
		t.Fatal(out)
	}
	r := run(t, 60*time.Second, nil, "sidetone", "call", "--config", l.Devices["door1"], "--for", "7s", "--json", "tone")
	all := events(t, r.out)
	whole := reportOf(t, all)
	id := whole.Summary.CallID
	frames := 0
	for _, e := range all {
		if e.Event == "stats" {
			frames++
		}
	}
	if r.code != 0 || frames < 3 {
		t.Errorf("exit %d, %d stats events\n%s", r.code, frames, r.err)
	}
	watch.await(t, "up/stats/live", func(b []byte) bool {
		return strings.Contains(string(b), id) && strings.Contains(string(b), `"quality"`)
	})
	device.end(t)
	if n := len(l.tookOf(t, "door1", id)); n != 0 {
		t.Fatalf("%d parts were taken by a gateway that takes none", n)
	}
	if n := len(l.waiting(t, "door1")); n < 3 {
		t.Fatalf("%d parts of a call of 7 s, one each 2 s, wait for the gateway", n)
	}

	startEnv(t, env, "sidetone", "run", "--config", l.Devices["door1"])
	l.waitRegistered(t, "door1")
	if out, code := l.tool(t, "fault", "gateway", "--restore"); code != 0 {
		t.Fatal(out)
	}
	var parts []took
	eventually(t, 90*time.Second, "the last part is taken", func() bool {
		parts = l.tookOf(t, "door1", id)
		return len(parts) > 0 && parts[len(parts)-1].Final
	})
	if len(parts) < 3 {
		t.Fatalf("%d parts of a call of 7 s, one each 2 s", len(parts))
	}
	var end string
	seconds := 0
	for i, p := range parts {
		var body struct {
			Summary struct {
				State string `json:"state"`
			} `json:"summary"`
			Segment     *int            `json:"segment"`
			FlushReason json.RawMessage `json:"flushReason"`
			Stats       []struct {
				Start     string `json:"intervalStartUtc"`
				End       string `json:"intervalEndUtc"`
				Transport struct {
					SRTPCipher string `json:"srtpCipher"`
				} `json:"transport"`
			} `json:"stats"`
			Logs []json.RawMessage `json:"logs"`
		}
		b, err := os.ReadFile(p.File)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &body); err != nil {
			t.Fatal(err)
		}
		last := i == len(parts)-1
		if body.Segment == nil || *body.Segment != i || (body.FlushReason == nil) != last || (body.Summary.State == "destroy") != last {
			t.Errorf("part %d of %d: segment %v, reason %s, state %s", i, len(parts), body.Segment, body.FlushReason, body.Summary.State)
		}
		for _, s := range body.Stats {
			if end != "" && s.Start != end {
				t.Errorf("part %d: an interval begins at %s, the one before ended at %s", i, s.Start, end)
			}
			end = s.End
			seconds++
			if !strings.HasPrefix(s.Transport.SRTPCipher, "SRTP_") {
				t.Errorf("SRTP cipher %q", s.Transport.SRTPCipher)
			}
		}
		for what, secret := range map[string]string{"API key": l.APIKey, "TURN password": l.TURNPassword, "MQTT password": l.MQTTAdmin.Password} {
			if strings.Contains(string(b), secret) {
				t.Errorf("the %s is in part %d", what, i)
			}
		}
	}
	t.Logf("%d parts, %d intervals, %d stats events", len(parts), seconds, frames)
	eventually(t, 20*time.Second, "nothing waits for the gateway", func() bool { return len(l.waiting(t, "door1")) == 0 })

	out, code := l.tool(t, "report", id, "--json")
	var merged struct {
		Parts, Missing, Intervals int
		MOS                       float64 `json:"mos"`
	}
	if err := json.Unmarshal([]byte(out), &merged); err != nil || code != 0 || merged.Parts != len(parts) || merged.Missing != 0 || merged.Intervals != seconds || merged.MOS < 3.5 {
		t.Errorf("sidetone-lab report: exit %d, %+v, %v\n%s", code, merged, err, out)
	}
	var s struct {
		Clients map[string]struct {
			DebugReports int `json:"debug_reports"`
		} `json:"clients"`
	}
	out, _ = l.tool(t, "stats", "--json")
	if err := json.Unmarshal([]byte(out), &s); err != nil || s.Clients["door1"].DebugReports < 5 {
		t.Errorf("%d debug frames, %v", s.Clients["door1"].DebugReports, err)
	}
}
