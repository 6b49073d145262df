package e2e_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/audio/audiotest"

	"github.com/google/uuid"
)

// has makes a test for all of these words.
func has(words ...string) func([]byte) bool {
	return func(b []byte) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(string(b), w) })
	}
}

// with gives the device's config with more at its end.
func (l *lab) with(t *testing.T, device, more string) string {
	t.Helper()
	b, err := os.ReadFile(l.Devices[device])
	if err != nil {
		t.Fatal(err)
	}
	// Beside the original, since its paths are relative to it.
	f, err := os.CreateTemp(l.dir, device+"-*.toml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(append(b, "\n"+more...)); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// do runs a sub-command that must succeed, and gives what it prints.
func do(t *testing.T, config, command string, words ...string) string {
	t.Helper()
	r := run(t, 15*time.Second, nil, "sidetone", append([]string{command, "--config", config}, words...)...)
	if r.code != 0 {
		t.Fatalf("%s %v: exit %d: %s", command, words, r.code, r.err)
	}
	return r.out
}

// command has the fleet tell the device to do something, and gives its reply.
func (w *watch) command(t *testing.T, name, args string) []byte {
	t.Helper()
	id := uuid.NewString()
	body := fmt.Sprintf(`{"id":%q,"exp":%d,"by":"test","args":%s}`, id, time.Now().Add(time.Minute).Unix(), args)
	if tok := w.client.Publish("sidetone/v1/lab/"+w.device+"/down/cmd/"+name, 1, false, body); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("publish %s: %v", name, tok.Error())
	}
	return w.await(t, "up/reply/"+id, nil)
}

// TestAssistant is a kiosk without credentials that talks to an assistant: by sound, and in writing from the command line
// and from the fleet.
func TestAssistant(t *testing.T) {
	l := startLab(t)
	config := l.with(t, "kiosk1", "[assistant]\ntarget_id = 'concierge'\n[[assistant.params]]\nname = 'language'\nvalue = 'de'\n")
	fleet := l.subscribe(t, "kiosk1")
	start(t, "sidetone", "run", "--config", config)
	fleet.await(t, "up/state/line", has(`"registered"`))
	if l.stats(t)["kiosk1"].Registered {
		t.Error("it logged in with its own credentials")
	}
	local := start(t, "sidetone", "watch", "--config", config)
	both := func(words ...string) {
		t.Helper()
		fleet.await(t, "up/event/assistant", has(words...))
		for line := ""; !has(append(words, `"event":"assistant"`)...)([]byte(line)); {
			line = local.line(t, 20*time.Second)
		}
	}
	// The watch is there once it has told anything.
	for said := false; !said; {
		do(t, config, "say", "are you there?")
		select {
		case <-local.lines:
			said = true
		case <-time.After(time.Second):
		}
	}
	do(t, config, "say", "open sesame")
	both("open sesame", `"role":"assistant"`)
	do(t, config, "tool-result", "tool-1", `{"open":true}`)
	both("tool-1 gave")
	for name, args := range map[string]string{"say": `{"text":"from the fleet"}`, "tool-result": `{"tool_call_id":"tool-2","output":"x"}`} {
		if reply := fleet.command(t, name, args); !has(`"ok":true`)(reply) {
			t.Errorf("%s: %s", name, reply)
		}
	}
	fleet.await(t, "up/event/assistant", has("from the fleet"))
	fleet.await(t, "up/event/assistant", has("tool-2 gave x"))
	r := run(t, 30*time.Second, nil, "sidetone", "call", "--config", config, "--for", "2s", "--json", "anybody")
	if r.code != 0 {
		t.Fatalf("exit %d\n%s%s", r.code, r.out, r.err)
	}
	if got := states(events(t, r.out)); !slices.Contains(got, "active") {
		t.Errorf("states %v", got)
	}
}

// TestDialling calls from the fleet, and from the command line, with all that a call may carry; the called device sees it.
func TestDialling(t *testing.T) {
	l := startLab(t)
	config := l.with(t, "door1", "[[line.headers]]\nname = 'X-Site'\nvalue = 'config'\n[[line.headers]]\nname = 'X-Door'\nvalue = 'left'\n")
	fleet, callee := l.subscribe(t, "door1"), l.subscribe(t, "door2")
	start(t, "sidetone", "run", "--config", config)
	start(t, "sidetone", "run", "--config", l.Devices["door2"])
	l.waitRegistered(t, "door1")
	l.waitRegistered(t, "door2")
	reply := fleet.command(t, "dial", `{"destination":"door2","caller_name":"Gate","caller_number":"+15550123",`+
		`"headers":[{"name":"X-Site","value":"lobby"}],"client_state":"visitor 7","muted":true,"codecs":["pcmu"]}`)
	var r struct {
		OK     bool
		Result struct {
			CallID string `json:"call_id"`
		}
	}
	if err := json.Unmarshal(reply, &r); err != nil || !r.OK || r.Result.CallID == "" {
		t.Fatalf("dial: %s", reply)
	}
	fleet.await(t, "up/state/call", has(r.Result.CallID, `"state":"active"`, `"muted":true`))
	callee.await(t, "up/state/call", has(`"state":"active"`, `"remote_name":"Gate"`, `"remote_number":"+15550123"`,
		`{"name":"X-Site","value":"lobby"}`, `{"name":"X-Door","value":"left"}`))
	time.Sleep(1500 * time.Millisecond) // for a sample of the codec
	if reply := fleet.command(t, "hangup", `{"call_id":"`+r.Result.CallID+`"}`); !has(`"ok":true`)(reply) {
		t.Errorf("hangup: %s", reply)
	}
	fleet.await(t, "up/stats/call", has(r.Result.CallID, "audio/PCMU", "NORMAL_CLEARING"))

	for args, want := range map[string]string{
		`{"destination":"0 1"}`:   "cannot be dialled",
		`{"destination":"+0123"}`: "no phone number",
		`{"destination":"door2","headers":[{"name":"Via","value":"x"}]}`: "must begin with X-",
		`{"destination":"door2","codecs":["mp3"]}`:                       "not known",
		`{"destination":"door2","colour":"red"}`:                         "colour",
	} {
		if reply := fleet.command(t, "dial", args); !has(`"ok":false`, want)(reply) {
			t.Errorf("dial %s: %s", args, reply)
		}
	}
	if reply := fleet.command(t, "dial", `{"destination":""}`); !has("44002")(reply) {
		t.Errorf("no destination: %s", reply)
	}

	id := strings.TrimSpace(do(t, config, "dial", "--header", "X-Site=yard", "--codec", "pcma", "--client-state", "s", "door2"))
	if err := json.Unmarshal([]byte(id), &r.Result); err != nil {
		t.Fatalf("dial printed %s: %v", id, err)
	}
	callee.await(t, "up/state/call", has(`"state":"active"`, `{"name":"X-Site","value":"yard"}`))
	do(t, config, "hangup", "--call", r.Result.CallID)
	fleet.await(t, "up/state/call", has(r.Result.CallID, `"state":"destroy"`))
}

// TestButtonTimers holds that nobody's answer, and an opened door, end what a button began.
func TestButtonTimers(t *testing.T) {
	l := startLab(t)
	config := l.with(t, "door1", "[[buttons]]\nname = 'nobody'\ntarget = 'door2'\nno_answer = '1s'\n[[buttons]]\nname = 'house'\ntarget = 'tone'\nafter_door = '1s'\n")
	// The other door only rings.
	fleet := l.subscribe(t, "door1")
	start(t, "sidetone", "run", "--config", config)
	startEnv(t, []string{"SIDETONE_LINE_AUTO_ANSWER=false"}, "sidetone", "run", "--config", l.Devices["door2"])
	l.waitRegistered(t, "door1")
	l.waitRegistered(t, "door2")
	do(t, config, "press", "nobody")
	fleet.await(t, "up/state/call", has(`"destination":"door2"`, `"state":"destroy"`, "USER_BUSY"))
	do(t, config, "press", "house")
	fleet.await(t, "up/state/call", has(`"destination":"tone"`, `"state":"active"`))
	if reply := fleet.command(t, "door-opened", `{}`); !has(`"ok":true`)(reply) {
		t.Errorf("%s", reply)
	}
	fleet.await(t, "up/event/door", has("open"))
	fleet.await(t, "up/state/call", has(`"destination":"tone"`, `"state":"destroy"`, "NORMAL_CLEARING"))
}

// TestDevice changes the microphone in mid-call: the far side, an echo, hears the other one in the same call, and what is
// heard here is recorded on. A device that does not open changes nothing.
func TestDevice(t *testing.T) {
	l := startLab(t)
	dir := t.TempDir()
	tone := func(name string, hz float64) string {
		pcm := make([]int16, 48000*30)
		for i := range pcm {
			pcm[i] = int16(8000 * math.Sin(2*math.Pi*hz*float64(i)/48000))
		}
		file := filepath.Join(dir, name)
		if err := audiotest.WriteWAV(file, pcm, 48000); err != nil {
			t.Fatal(err)
		}
		return "wav:" + file
	}
	low, high, heard := tone("low.wav", 500), tone("high.wav", 900), filepath.Join(dir, "heard.wav")
	config := l.Devices["door1"]
	fleet := l.subscribe(t, "door1")
	startEnv(t, []string{"SIDETONE_AUDIO_CAPTURE=" + low, "SIDETONE_AUDIO_PLAYBACK=wav:" + heard}, "sidetone", "run", "--config", config)
	l.waitRegistered(t, "door1")
	do(t, config, "dial", "echo")
	fleet.await(t, "up/state/call", has(`"state":"active"`))
	time.Sleep(2500 * time.Millisecond)
	do(t, config, "device", "--capture", high)
	if out := do(t, config, "status"); !strings.Contains(out, "high.wav") {
		t.Errorf("status: %s", out)
	}
	for device, why := range map[string]string{"wav:" + filepath.Join(dir, "none.wav"): "none.wav", "card:None": "do not go together"} {
		r := run(t, 15*time.Second, nil, "sidetone", "device", "--config", config, "--capture", device)
		if r.code != 1 || !strings.Contains(r.err, why) {
			t.Errorf("%s: exit %d, %s", device, r.code, r.err)
		}
	}
	if reply := fleet.command(t, "device", `{"playback":"wav:/tmp/x.wav"}`); !has(`"ok":false`, "may not choose files")(reply) {
		t.Errorf("the fleet chose a file: %s", reply)
	}
	time.Sleep(2500 * time.Millisecond)
	do(t, config, "hangup")
	fleet.await(t, "up/state/call", has(`"state":"destroy"`, "NORMAL_CLEARING"))
	eventually(t, 10*time.Second, "the recording is complete", func() bool {
		pcm, _, err := audiotest.ReadWAV(heard)
		return err == nil && len(pcm) > 4*48000
	})
	pcm, _, err := audiotest.ReadWAV(heard)
	if err != nil {
		t.Fatal(err)
	}
	first, last := pcm[48000:2*48000], pcm[len(pcm)-3*48000/2:len(pcm)-48000/2]
	if !audiotest.HasTone(first, 500) || audiotest.HasTone(first, 900) || !audiotest.HasTone(last, 900) || audiotest.HasTone(last, 500) {
		t.Errorf("%.1f s heard: at first %v, at last %v", float64(len(pcm))/48000, audiotest.Tones(first), audiotest.Tones(last))
	}
}
