package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/audio/audiotest"
)

// TestTokenRefresh makes a call in which the token runs out several times: its renewals are heard by nobody. The full
// measure, 5 minutes with tokens of one, is in the long suite.
func TestTokenRefresh(t *testing.T) {
	t.Parallel()
	life, length := 20*time.Second, 40*time.Second
	if os.Getenv("SIDETONE_LONG") != "" {
		life, length = time.Minute, 5*time.Minute
	}
	l := (*namespace)(nil).startLab(t, t.TempDir(), "--listen", "127.0.0.1:0", "--token-life", life.String())
	tries(t, func() error { return refreshes(t, l, life, length) })
}

// refreshes makes one call, and holds what no busy machine excuses; its error is about the sound.
func refreshes(t *testing.T, l *lab, life, length time.Duration) error {
	t.Helper()
	stalls := watchStalls(t)
	dir := t.TempDir()
	heard := filepath.Join(dir, "heard.wav")
	before := l.stats(t)["door1"].Tokens.Granted
	call := startTalk(t, "--config", l.Devices["door1"], "--in", toneOf(t, dir, 700, length+10*time.Second), "--out", heard, "echo")
	call.await(t, "active", isState("active"))
	first := l.stats(t)["door1"].Sessions
	time.Sleep(length)
	all := l.allStats(t)
	last := all.Clients["door1"]
	report := call.hangUp(t)

	if len(first) != 1 || len(last.Sessions) != 1 || first[0].VoiceSDKID != last.Sessions[0].VoiceSDKID || first[0].Remote != last.Sessions[0].Remote {
		t.Fatalf("there were other sockets: first %+v, then %+v", first, last.Sessions)
	}
	// A token is replaced at 75 % of its life at the earliest, and at 85 % at the latest.
	renewals := last.Sessions[0].Logins - 1
	most, least := int((length+slack)/(life*75/100)), int(length/(life*85/100+slack))
	if renewals < least || renewals > most {
		t.Errorf("%d renewals of the login in %s, want %d to %d", renewals, length, least, most)
	}
	if granted := last.Tokens.Granted - before; granted != renewals+1 && granted != renewals+2 { // one may be on its way
		t.Errorf("%d tokens for %d logins", granted, renewals+1)
	}
	if n := len(all.RefusedLogins) + len(last.Tokens.Refused); n != 0 {
		t.Errorf("%d refusals", n)
	}
	if got := states(call.all()); !slices.Equal(withoutSetup(got), []string{"requesting", "active", "hangup", "destroy"}) {
		t.Errorf("states %v", got)
	}
	for _, e := range call.all() {
		if e.Event == "line" && e.Line != nil && e.TMs > 0 || e.Code == 34001 {
			t.Errorf("in mid-call: %+v", e)
		}
	}
	if report.Summary.CauseCode != 16 {
		t.Errorf("report %+v", report.Summary)
	}
	pcm, _, err := audiotest.ReadWAV(heard)
	if err != nil {
		t.Fatal(err)
	}
	end := samples(len(pcm)) - 300*time.Millisecond
	if end < length*9/10 { // a busy machine records less
		t.Errorf("%s was heard of %s", end, length)
	}
	var longest gap
	for _, g := range gaps(pcm, 700) {
		at := report.Summary.ActiveTimestamp.Add(g.at)
		switch {
		case g.at < 700*time.Millisecond || g.at+g.length > end: // when it may not sound
		case stalledIn(stalls(), at.Add(-time.Second), at.Add(g.length+time.Second)) > 0:
			t.Logf("a gap of %s while this machine stood still", g)
		default:
			longest = longer(longest, g)
		}
	}
	t.Logf("%s with tokens of %s: %d renewals on one socket, %.1f s heard, longest gap %s", length, life, renewals, samples(len(pcm)).Seconds(), longest)
	if longest.length > 150*time.Millisecond {
		return fmt.Errorf("a gap of %s", longest)
	}
	return nil
}

// TestRevoked deletes the credential of a device that is registered: it is told once, and it does not knock at the door
// more often than once a minute. The long suite waits for its next tries, and for its coming back.
func TestRevoked(t *testing.T) {
	t.Parallel()
	l := startLab(t)
	config := l.Devices["door1"]
	fleet := l.subscribe(t, "door1")
	start(t, "sidetone", "run", "--config", config)
	l.waitRegistered(t, "door1")
	watching := start(t, "sidetone", "watch", "--config", config)
	time.Sleep(time.Second) // it is there
	deleted := time.Now()
	l.api(t, "DELETE", "/"+l.credential(t, "door1"), "")
	refused := fleet.await(t, "up/state/line", has(`"refused"`, "46001"))
	var line lineStatus
	if err := json.Unmarshal(refused, &line); err != nil {
		t.Fatal(err)
	}
	t.Logf("refused %s after the deletion; next try %s later", line.Since.Sub(deleted).Round(time.Millisecond), line.RetryAt.Sub(line.Since).Round(time.Second))
	if pause := line.RetryAt.Sub(line.Since); pause < time.Minute {
		t.Errorf("the next try is %s later", pause)
	}
	if r := run(t, 10*time.Second, nil, "sidetone", "status", "--config", config, "--json"); !strings.Contains(r.out, `"refused"`) || !strings.Contains(r.out, "46001") {
		t.Errorf("status says %s", r.out)
	}

	long := os.Getenv("SIDETONE_LONG") != ""
	time.Sleep(15 * time.Second)
	if long { // the next try, which says nothing new
		eventually(t, 2*time.Minute, "another try", func() bool {
			all := l.allStats(t)
			return len(all.RefusedLogins)+len(all.Clients["door1"].Tokens.Refused) > 1
		})
	}
	all := l.allStats(t)
	for where, times := range map[string][]time.Time{"gateway": all.RefusedLogins, "token broker": all.Clients["door1"].Tokens.Refused} {
		t.Logf("refused by the %s: %v", where, times)
		for i := 1; i < len(times); i++ {
			if d := times[i].Sub(times[i-1]); d < time.Minute {
				t.Errorf("the %s was asked again after %s", where, d)
			}
		}
		if !long && len(times) > 1 {
			t.Errorf("the %s was asked %d times", where, len(times))
		}
	}
	if len(all.RefusedLogins)+len(all.Clients["door1"].Tokens.Refused) == 0 {
		t.Error("nobody was asked")
	}
	if long {
		l.api(t, "POST", "", `{"name":"door1"}`)
		eventually(t, 5*time.Minute, "the device comes back", func() bool { return l.stats(t)["door1"].Registered })
		fleet.await(t, "up/event/error", has("46001", `"cleared":true`))
	}

	var told int
	var course []string
	for len(watching.lines) > 0 {
		var e event
		if text := <-watching.lines; json.Unmarshal([]byte(text), &e) != nil {
			t.Fatalf("line %q", text)
		}
		if e.Event == "warning" && e.Code == 46001 {
			told++
		}
		if e.Line != nil && (len(course) == 0 || course[len(course)-1] != e.Line.State) {
			course = append(course, e.Line.State)
		}
	}
	if told != 1 {
		t.Errorf("46001 was told %d times on the control socket", told)
	}
	if n := len(slices.DeleteFunc(fleet.all("up/event/error"), func(m message) bool {
		return !has("46001")(m.payload) || has(`"cleared":true`)(m.payload)
	})); n != 1 {
		t.Errorf("46001 was told %d times by MQTT", n)
	}
	i := slices.Index(course, "refused")
	if i < 0 || !long && i != len(course)-1 || long && !slices.Equal(course[i:], []string{"refused", "registered"}) {
		t.Errorf("the line went through %v", course)
	}
}

// credential gives the id of a client's credential.
func (l *lab) credential(t *testing.T, name string) string {
	t.Helper()
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err := json.Unmarshal(l.api(t, "GET", "?filter[name]="+name, ""), &list); err != nil || len(list.Data) != 1 {
		t.Fatalf("credentials of %s: %+v, %v", name, list, err)
	}
	return list.Data[0].ID
}

// api asks the lab's token API.
func (l *lab) api(t *testing.T, method, path, body string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, l.TokenAPI+"/v2/telephony_credentials"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+l.APIKey)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s, %v", method, path, resp.Status, b, err)
	}
	return b
}
