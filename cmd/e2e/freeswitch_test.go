package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/audio/audiotest"
)

// startFreeSWITCH brings up a lab whose devices use its freeswitch personality: they log in as user@domain with a password.
func startFreeSWITCH(t testing.TB) *lab {
	t.Helper()
	l := startLab(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.TokenAPI+"/v2/telephony_credentials?page[size]=100", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+l.APIKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	var list struct {
		Data []struct {
			Name     string `json:"name"`
			User     string `json:"sip_username"`
			Password string `json:"sip_password"`
		} `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	for _, c := range list.Data {
		if l.Devices[c.Name] != "" {
			l.Devices[c.Name] = l.withLogin(t, c.Name, c.User+"@lab.example", c.Password)
		}
	}
	return l
}

var (
	lineURL   = regexp.MustCompile(`(?m)^(url = 'wss://[^']*)/'$`)
	lineToken = regexp.MustCompile(`(?m)^token_(url|key_file) = .*\n`)
)

// withLogin writes a device's config for the freeswitch personality, and gives its path.
func (l *lab) withLogin(t testing.TB, device, user, password string) string {
	t.Helper()
	b, err := os.ReadFile(l.Devices[device])
	if err != nil {
		t.Fatal(err)
	}
	stem := filepath.Join(l.dir, device+"-freeswitch")
	text := lineToken.ReplaceAllString(string(b), "")
	text = lineURL.ReplaceAllString(text, fmt.Sprintf("$1/verto'\ndialect = 'freeswitch'\nlogin = '%s'\npassword_file = '%s.password'", user, stem))
	if !strings.Contains(text, "dialect") || strings.Contains(text, "token_url") {
		t.Fatalf("not a config of the lab's:\n%s", text)
	}
	if err := os.WriteFile(stem+".password", []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stem+".toml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return stem + ".toml"
}

// runDevice runs a device that says a tone, and gives the file of what it hears.
func (l *lab) runDevice(t *testing.T, device string, hz float64, env ...string) (p *process, heard string) {
	t.Helper()
	dir := t.TempDir()
	heard = filepath.Join(dir, "heard.wav")
	p = startEnv(t, append(env, "SIDETONE_AUDIO_CAPTURE=wav:"+toneFile(t, dir, hz), "SIDETONE_AUDIO_PLAYBACK=wav:"+heard),
		"sidetone", "run", "--config", l.Devices[device])
	l.waitRegistered(t, device)
	return p, heard
}

// TestFreeSWITCHEcho says a sentence to the echo by each way that media can take, and must hear it again.
func TestFreeSWITCHEcho(t *testing.T) { everyWay(t, startFreeSWITCH(t)) }

// TestFreeSWITCHPCMU calls one that has PCMU alone.
func TestFreeSWITCHPCMU(t *testing.T) {
	l := startFreeSWITCH(t)
	heard := filepath.Join(t.TempDir(), "heard.wav")
	r := run(t, 40*time.Second, nil, "sidetone", "call", "--config", l.Devices["door1"], "--out", heard, "--for", "4s", "--json", "pcmu")
	if r.code != 0 {
		t.Fatalf("exit %d\n%s\n%s", r.code, r.out, r.err)
	}
	if codec := reportOf(t, events(t, r.out)).codec(); codec != "audio/PCMU" {
		t.Errorf("the codec was %q", codec)
	}
	hears(t, heard, 1000)
}

// codec is what came in at the end of the call.
func (r *report) codec() (mime string) {
	for _, s := range r.Stats {
		if m := s.Audio.Inbound.Codec.MimeType; m != "" {
			mime = m
		}
	}
	return mime
}

// TestFreeSWITCHInbound is called by destinations with its odd offers: without telephone-event, or of PCMU alone.
func TestFreeSWITCHInbound(t *testing.T) {
	for _, c := range []struct {
		from, codec string
		hz          float64
	}{{"tone", "audio/opus", 1000}, {"echo", "audio/opus", 700}, {"pcmu", "audio/PCMU", 1000}} {
		t.Run(c.from, func(t *testing.T) {
			t.Parallel()
			l := startFreeSWITCH(t)
			device, heard := l.runDevice(t, "door2", 700)
			watch := l.subscribe(t, "door2")
			if out, code := l.tool(t, "ring", "door2", "--from", c.from); code != 0 {
				t.Fatal(out)
			}
			state := watch.await(t, "up/state/call", has(`"state":"active"`))
			// Its own session's id and the direction of the platform's leg are nobody's business.
			if !has(`"direction":"inbound"`)(state) || !has(c.from)(state) {
				t.Errorf("state %s", state)
			}
			time.Sleep(4 * time.Second)
			do(t, l.Devices["door2"], "hangup")
			var r report
			if err := json.Unmarshal(watch.await(t, "up/stats/call", nil), &r); err != nil {
				t.Fatal(err)
			}
			if r.Summary.Direction != "inbound" || r.Summary.CauseCode != 16 || r.codec() != c.codec {
				t.Errorf("codec %q, %+v", r.codec(), r.Summary)
			}
			device.end(t)
			hears(t, heard, c.hz)
		})
	}
}

// TestFreeSWITCHDoorToDoor calls from device to device. Each of them would hear silence if the other marked each packet.
func TestFreeSWITCHDoorToDoor(t *testing.T) {
	l := startFreeSWITCH(t)
	door2, heard2 := l.runDevice(t, "door2", 1200)
	heard1 := filepath.Join(t.TempDir(), "heard1.wav")
	call := startTalk(t, "--config", l.Devices["door1"], "--in", toneFile(t, t.TempDir(), 700), "--out", heard1, "door2")
	call.await(t, "active", isState("active"))
	time.Sleep(5 * time.Second)
	if r := call.hangUp(t); r.Summary.CauseCode != 16 {
		t.Errorf("%+v", r.Summary)
	}
	door2.end(t)
	hears(t, heard1, 1200)
	hears(t, heard2, 700)
}

// TestFreeSWITCHNobody calls where nobody is: CALL CREATED, and then a bye.
func TestFreeSWITCHNobody(t *testing.T) {
	l := startFreeSWITCH(t)
	for _, c := range []struct {
		destination, cause string
		code               int
	}{{"nobody", "NO_ROUTE_DESTINATION", 3}, {"kiosk1", "USER_NOT_REGISTERED", 806}} {
		r := run(t, 30*time.Second, nil, "sidetone", "call", "--config", l.Devices["door1"], "--out", filepath.Join(t.TempDir(), "x.wav"), "--json", c.destination)
		s := reportOf(t, events(t, r.out)).Summary
		if r.code != 1 || s.Cause != c.cause || s.CauseCode != c.code {
			t.Errorf("%s: exit %d, %+v", c.destination, r.code, s)
		}
	}
}

// TestFreeSWITCHHold stops the sound both ways, without SDP, and brings it back.
func TestFreeSWITCHHold(t *testing.T) {
	l := startFreeSWITCH(t)
	device, heard := l.runDevice(t, "door1", 700)
	call := startTalk(t, "--config", l.Devices["door1"], "tone")
	const phase = 3 * time.Second
	call.await(t, "active", isState("active"))
	time.Sleep(phase)
	do(t, l.Devices["door1"], "hold")
	held := call.await(t, "held", isState("held"))
	time.Sleep(phase)
	do(t, l.Devices["door1"], "unhold")
	again := call.await(t, "active again", func(e event) bool { return e.State == "active" && e.PrevState == "held" })
	time.Sleep(phase)
	call.hangUp(t)
	device.end(t)
	pcm, _, err := audiotest.ReadWAV(heard)
	if err != nil {
		t.Fatal(err)
	}
	var silence gap
	for _, g := range gaps(pcm, 1000) {
		silence = longer(silence, g)
	}
	want := time.Duration(again.TMs-held.TMs) * time.Millisecond
	if d := silence.length - want; d < -want/2 || d > want/2 {
		t.Fatalf("held for %v, the longest silence is %v", want, silence)
	}
	for name, part := range map[string][]int16{
		"before": pcm[:silence.at*48000/time.Second], "after": pcm[(silence.at+silence.length)*48000/time.Second:],
	} {
		if samples(len(part)) < phase/2 || !audiotest.HasTone(part, 1000) {
			t.Errorf("%s the hold: %v of sound with %v", name, samples(len(part)), audiotest.Tones(part))
		}
	}
}

// TestFreeSWITCHRestart takes the path of a relayed call away until the device asks for a new one, by an ICE restart that
// is answered with the old name, password and port.
func TestFreeSWITCHRestart(t *testing.T) {
	l := startFreeSWITCH(t)
	heard := filepath.Join(t.TempDir(), "heard.wav")
	call := startTalk(t, "--config", l.withOnly(t, "door1", "transport=udp"), "--relay", "--out", heard, "tone")
	active := call.await(t, "active", isState("active"))
	time.Sleep(2 * time.Second)
	before := len(l.stats(t)["door1"].Candidates)
	if out, code := l.tool(t, "fault", "turn-udp", "--blackhole"); code != 0 {
		t.Fatal(out)
	}
	const mediaRecoveryRequired = 36004
	call.await(t, "the wish for new media", func(e event) bool { return e.Code == mediaRecoveryRequired })
	if out, code := l.tool(t, "fault", "turn-udp", "--restore"); code != 0 {
		t.Fatal(out)
	}
	eventually(t, 30*time.Second, "the gateway is offered a new candidate", func() bool { return len(l.stats(t)["door1"].Candidates) > before })
	time.Sleep(5 * time.Second)
	r := call.hangUp(t)
	if r.Summary.CallID != active.CallID || r.Summary.CauseCode != 16 {
		t.Errorf("%+v", r.Summary)
	}
	restarted := false
	for _, mark := range r.Timeline {
		restarted = restarted || mark.Event == "ice_restart"
	}
	if !restarted {
		t.Errorf("no ICE restart in %+v", r.Timeline)
	}
	if got := states(call.all()); slices.Contains(got, "recovering") {
		t.Errorf("the line was not lost: states %v", got)
	}
	pcm, _, err := audiotest.ReadWAV(heard)
	if err != nil {
		t.Fatal(err)
	}
	last := pcm[max(0, len(pcm)-3*48000):]
	if !audiotest.HasTone(last, 1000) {
		t.Errorf("at the end there is %v", audiotest.Tones(last))
	}
	for _, g := range gaps(pcm, 1000) {
		if g.length > time.Second {
			t.Logf("the path was gone: a gap of %s", g)
		}
	}
}

// TestFreeSWITCHReconnect cuts the socket in mid-call: the call is given back by attach, to a destination's and, on both
// sides at once, to another device's.
func TestFreeSWITCHReconnect(t *testing.T) {
	t.Parallel()
	reconnects(t, startFreeSWITCH)
}

// TestFreeSWITCHHalfDead comes back on a second socket with the sessid of the first, which the platform still holds: that
// one is punted, and the call goes over to the second by attach.
func TestFreeSWITCHHalfDead(t *testing.T) {
	t.Parallel()
	halfDead(t, startFreeSWITCH(t))
}

// TestFreeSWITCHDigits sends a digit both ways that there are, with and without telephone-event; the concierge answers it.
func TestFreeSWITCHDigits(t *testing.T) {
	for _, how := range []string{"info", "rfc4733"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			l := startFreeSWITCH(t)
			device, heard := l.runDevice(t, "door1", 700, "SIDETONE_LINE_DTMF="+how)
			watch := l.subscribe(t, "door1")
			call := startTalk(t, "--config", l.Devices["door1"], "concierge")
			call.await(t, "active", isState("active"))
			do(t, l.Devices["door1"], "dtmf", "5")
			// The answer comes by the line, and by RFC 4733, which was offered.
			eventually(t, 20*time.Second, "two digits", func() bool {
				n := 0
				for _, e := range call.all() {
					if e.Digit == "5" {
						n++
					}
				}
				return n == 2
			})
			call.hangUp(t)

			// It calls without telephone-event.
			if out, code := l.tool(t, "ring", "door1", "--from", "concierge"); code != 0 {
				t.Fatal(out)
			}
			watch.await(t, "up/state/call", has(`"state":"ringing"`, `"direction":"inbound"`))
			do(t, l.Devices["door1"], "answer")
			watch.await(t, "up/state/call", has(`"state":"active"`, `"direction":"inbound"`))
			do(t, l.Devices["door1"], "dtmf", "9")
			watch.await(t, "up/event/dtmf", has(`"digit":"9"`))
			time.Sleep(2 * time.Second) // it is also said
			do(t, l.Devices["door1"], "hangup")
			device.end(t)
			if pcm, _, err := audiotest.ReadWAV(heard); err != nil || !strings.Contains(audiotest.Digits(pcm), "9") {
				t.Errorf("without telephone-event the concierge says its digits aloud; heard %q, %v", audiotest.Digits(pcm), err)
			}
		})
	}
}

// TestFreeSWITCHTransfer hands the far side on; the one who did it is hung up.
func TestFreeSWITCHTransfer(t *testing.T) {
	l := startFreeSWITCH(t)
	door1, _ := l.runDevice(t, "door1", 700)
	door2, heard := l.runDevice(t, "door2", 1200)
	call := startTalk(t, "--config", l.Devices["door1"], "door2")
	call.await(t, "active", isState("active"))
	time.Sleep(2 * time.Second)
	do(t, l.Devices["door1"], "transfer", "tone")
	<-call.ended
	if r := oneReport(t, call.all()); r.Summary.CauseCode != 16 {
		t.Errorf("%+v", r.Summary)
	}
	time.Sleep(3 * time.Second)
	door1.end(t)
	door2.end(t)
	pcm, _, err := audiotest.ReadWAV(heard)
	if err != nil {
		t.Fatal(err)
	}
	if last := pcm[max(0, len(pcm)-2*48000):]; !audiotest.HasTone(last, 1000) || audiotest.HasTone(last, 700) {
		t.Errorf("after the transfer door2 hears %v", audiotest.Tones(last))
	}
	hears(t, heard, 700)
}
