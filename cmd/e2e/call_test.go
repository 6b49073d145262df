package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sidetone/audio/audiotest"
)

const speech = "../../audio/audiotest/testdata/speech.wav"

// callFor is long enough for all of the speech.
const callFor = "10s"

// tries is how often what a call sounded like may be wrong: a shared machine that stops for a third of a second makes a hole
// that no buffer fills. What is wrong in the programs is wrong each time.
func tries(t *testing.T, call func() error) {
	t.Helper()
	const most = 3
	for try := 1; ; try++ {
		err := call()
		if err == nil {
			return
		}
		if try == most {
			t.Fatal(err)
		}
		t.Logf("try %d: %v", try, err)
	}
}

// TestEcho says a sentence to the echo by each way that media can take, and must hear it again.
func TestEcho(t *testing.T) { everyWay(t, startLab(t)) }

func everyWay(t *testing.T, l *lab) {
	t.Helper()
	said, _, err := audiotest.ReadWAV(speech)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, url, protocol string }{
		{"direct", "", ""}, {"turn-udp", "transport=udp", "udp"}, {"turn-tcp", "transport=tcp", "tcp"}, {"turns", "turns:", "tls"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			config, args := l.Devices["door1"], []string(nil)
			if c.url != "" {
				config, args = l.withOnly(t, "door1", c.url), []string{"--relay"}
			}
			wholeEcho(t, said, "sidetone", config, c.protocol, args)
		})
	}
}

// wholeEcho holds that the echo gives back to the program all that was said, over a relay by that protocol, or none.
func wholeEcho(t *testing.T, said []int16, program, config, protocol string, args []string) {
	t.Helper()
	tries(t, func() error {
		report, heard := echo(t, program, speech, config, args)
		if relay := report.Path.Local.CandidateType == "relay"; relay != (protocol != "") || report.Path.RelayProtocol != protocol {
			t.Errorf("path %+v", report.Path)
		}
		cmp := audiotest.CompareMoved(said, heard)
		err := cmp.Err()
		if report.Quality.MOS < 4 {
			err = errors.Join(err, fmt.Errorf("MOS %.2f", report.Quality.MOS))
		}
		t.Logf("%v, MOS %.2f", cmp, report.Quality.MOS)
		return err
	})
}

// echo has the program say a file to the echo, and holds what no busy machine excuses.
func echo(t *testing.T, program, in, config string, args []string) (*report, []int16) {
	t.Helper()
	heardFile := filepath.Join(t.TempDir(), "heard.wav")
	args = append([]string{"call", "--config", config, "--in", in, "--out", heardFile, "--for", callFor, "--json"}, args...)
	r := run(t, 60*time.Second, nil, program, append(args, "echo")...)
	if r.code != 0 {
		t.Fatalf("exit %d\n%s\n%s", r.code, r.out, r.err)
	}
	all := events(t, r.out)
	if got := states(all); !slices.Contains(got, "active") || !slices.IsSorted(order(got)) || got[len(got)-1] != "destroy" {
		t.Errorf("states %v", got)
	}
	report := reportOf(t, all)
	if report.Summary.Cause != "NORMAL_CLEARING" || report.Summary.CauseCode != 16 {
		t.Errorf("cause %s %d", report.Summary.Cause, report.Summary.CauseCode)
	}
	if d := report.Summary.DurationSeconds; math.Abs(d-10) > 1 {
		t.Errorf("%.2f s of call", d)
	}
	heard, rate, err := audiotest.ReadWAV(heardFile)
	if err != nil || rate != 48000 {
		t.Fatalf("heard.wav at %d Hz: %v", rate, err)
	}
	if d := float64(len(heard))/48000 - report.Summary.DurationSeconds; math.Abs(d) > 1 {
		t.Errorf("heard.wav is %.2f s longer than the call", d)
	}
	t.Logf("active after %d ms", activeAfter(all))
	return report, heard
}

// TestRelayOnly holds that a forced relay hides every other way from the far side, and that TURN carried the sound.
func TestRelayOnly(t *testing.T) {
	l := startLab(t)
	for _, c := range []struct{ device, url, transport string }{
		{"door1", "transport=udp", "udp"}, {"door2", "transport=tcp", "tcp"}, {"kiosk1", "turns:", "tls"},
	} {
		r := run(t, 30*time.Second, nil, "sidetone", "call", "--config", l.withOnly(t, c.device, c.url),
			"--out", filepath.Join(t.TempDir(), "heard.wav"), "--relay", "--for", "2s", "--json", "tone")
		if r.code != 0 {
			t.Fatalf("%s: exit %d\n%s\n%s", c.device, r.code, r.out, r.err)
		}
		stats := l.stats(t)[c.device]
		for transport, bytes := range stats.TURN {
			used := bytes.Sent > 1000 && bytes.Received > 1000
			if used != (transport == c.transport) {
				t.Errorf("%s over %s: TURN bytes %+v", c.device, transport, bytes)
			}
		}
		if len(stats.Candidates) == 0 {
			t.Errorf("%s: the gateway saw no candidate", c.device)
		}
		for _, candidate := range stats.Candidates {
			if candidate.Type != "relay" {
				t.Errorf("%s: the gateway saw %+v", c.device, candidate)
			}
		}
	}
}

// TestDoorToDoor calls from one device to another that answers by itself; each must hear the other's tone.
func TestDoorToDoor(t *testing.T) {
	l := startLab(t)
	dir := t.TempDir()
	tone := func(name string, hz float64) string {
		file := filepath.Join(dir, name)
		pcm := make([]int16, 48000*8)
		for i := range pcm {
			pcm[i] = int16(8000 * math.Sin(2*math.Pi*hz*float64(i)/48000))
		}
		if err := audiotest.WriteWAV(file, pcm, 48000); err != nil {
			t.Fatal(err)
		}
		return file
	}
	heard1, heard2 := filepath.Join(dir, "heard1.wav"), filepath.Join(dir, "heard2.wav")
	door2 := startEnv(t, []string{
		"SIDETONE_LINE_AUTO_ANSWER=true",
		"SIDETONE_AUDIO_CAPTURE=wav:" + tone("door2.wav", 1200), "SIDETONE_AUDIO_PLAYBACK=wav:" + heard2,
	}, "sidetone", "run", "--config", l.Devices["door2"])
	l.waitRegistered(t, "door2")
	watch := l.subscribe(t, "door2")
	r := run(t, 40*time.Second, nil, "sidetone", "call", "--config", l.Devices["door1"],
		"--in", tone("door1.wav", 700), "--out", heard1, "--for", "5s", "--json", "door2")
	if r.code != 0 {
		t.Fatalf("exit %d\n%s\n%s", r.code, r.out, r.err)
	}
	mine := reportOf(t, events(t, r.out))
	var theirs report
	if err := json.Unmarshal(watch.await(t, "up/stats/call", nil), &theirs); err != nil {
		t.Fatal(err)
	}
	if mine.Summary.Direction != "outbound" || theirs.Summary.Direction != "inbound" {
		t.Errorf("directions %s, %s", mine.Summary.Direction, theirs.Summary.Direction)
	}
	if mine.Summary.Cause != theirs.Summary.Cause || math.Abs(mine.Summary.DurationSeconds-theirs.Summary.DurationSeconds) > 1 {
		t.Errorf("the two reports differ: %+v, %+v", mine.Summary, theirs.Summary)
	}
	if mine.Summary.SessionID == "" || mine.Summary.SessionID != theirs.Summary.SessionID {
		t.Errorf("not one session: %q, %q", mine.Summary.SessionID, theirs.Summary.SessionID)
	}
	door2.end(t)
	for file, hz := range map[string]float64{heard1: 1200, heard2: 700} {
		pcm, _, err := audiotest.ReadWAV(file)
		if err != nil {
			t.Fatal(err)
		}
		if !audiotest.HasTone(pcm, hz) {
			t.Errorf("%s lacks the %.0f Hz of the other side: %v", filepath.Base(file), hz, audiotest.Tones(pcm))
		}
	}
}

// TestNobodyThere calls where nobody is.
func TestNobodyThere(t *testing.T) {
	l := startLab(t)
	r := run(t, 30*time.Second, nil, "sidetone", "call", "--config", l.Devices["door1"], "--out", filepath.Join(t.TempDir(), "x.wav"), "--json", "nobody")
	if r.code != 1 {
		t.Errorf("exit %d\n%s", r.code, r.out)
	}
	s := reportOf(t, events(t, r.out)).Summary
	if s.Cause != "UNALLOCATED_NUMBER" || s.CauseCode != 1 || s.SIPCode != 404 && s.SIPCode != 480 {
		t.Errorf("%+v", s)
	}
}

// TestRing has the lab call a device.
func TestRing(t *testing.T) {
	l := startLab(t)
	if out, code := l.tool(t, "ring", "door2", "--from", "tone"); code != 1 {
		t.Errorf("ring of an absent device: exit %d, %s", code, out)
	}
	start(t, "sidetone", "run", "--config", l.Devices["door2"])
	l.waitRegistered(t, "door2")
	watch := l.subscribe(t, "door2")
	out, code := l.tool(t, "ring", "door2", "--from", "tone")
	if code != 0 || strings.TrimSpace(out) == "" {
		t.Fatalf("exit %d, %q", code, out)
	}
	watch.await(t, "up/state/call", func(b []byte) bool { return strings.Contains(string(b), `"state":"active"`) })
}

// activeAfter is the time from the press to active, in ms.
func activeAfter(all []event) int64 {
	for _, e := range all {
		if e.State == "active" {
			return e.TMs
		}
	}
	return -1
}

// order gives the numbers of the states, which only ever grow in a call without hold.
func order(names []string) (n []int) {
	all := []string{"new", "requesting", "trying", "recovering", "ringing", "answering", "early", "active", "held", "hangup", "destroy"}
	for _, s := range names {
		n = append(n, slices.Index(all, s))
	}
	return n
}

// withOnly writes a copy of a device's config that knows only that TURN server of the lab whose URL contains part.
func (l *lab) withOnly(t *testing.T, device, part string) string {
	t.Helper()
	i := slices.IndexFunc(l.TURN, func(url string) bool {
		return strings.Contains(url, part) && (part == "turns:" || !strings.HasPrefix(url, "turns:"))
	})
	if i < 0 {
		t.Fatalf("no TURN server %q among %q", part, l.TURN)
	}
	return l.withTURN(t, device, strconv.Itoa(i), l.TURN[i], l.TURNUser, l.TURNPassword)
}

// withTURN writes a copy of a device's config, called by what is different, that knows only the TURN server at url.
func (l *lab) withTURN(t *testing.T, device, different, url, user, password string) string {
	t.Helper()
	config, err := os.ReadFile(l.Devices[device])
	if err != nil {
		t.Fatal(err)
	}
	stem := strings.TrimSuffix(l.Devices[device], ".toml") + "-" + different
	if err := os.WriteFile(stem+".turn", []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	config = fmt.Appendf(config, "\n[[ice.servers]]\nurls = [%q]\nusername = %q\ncredential_file = %q\n", url, user, stem+".turn")
	if err := os.WriteFile(stem+".toml", config, 0o600); err != nil {
		t.Fatal(err)
	}
	return stem + ".toml"
}
