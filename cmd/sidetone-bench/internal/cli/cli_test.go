package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"
)

// do runs a command that must succeed and gives what it prints.
func do(t *testing.T, args ...string) []byte {
	t.Helper()
	var out, err bytes.Buffer
	if code := Main(args, &out, &err); code != exitOK {
		t.Fatalf("%s: exit code %d: %s", strings.Join(args, " "), code, err.String())
	}
	return out.Bytes()
}

// files makes a schedule and speech of 10 s.
func files(t *testing.T, kind string) (trace, speech string) {
	t.Helper()
	trace, speech = filepath.Join(t.TempDir(), "t.csv"), filepath.Join(t.TempDir(), "in.wav")
	do(t, "trace", "--kind", kind, "--seed", "3", "--seconds", "10", "--out", trace)
	if err := audiotest.WriteWAV(speech, audiotest.Speech(1, 10*time.Second), audio.SampleRate); err != nil {
		t.Fatal(err)
	}
	return trace, speech
}

func TestPlayWritesWhatWasHeard(t *testing.T) {
	trace, speech := files(t, "wifi")
	dir := t.TempDir()
	heard, log, plot := filepath.Join(dir, "heard.wav"), filepath.Join(dir, "log.csv"), filepath.Join(dir, "run.svg")
	out := do(t, "play", "--codec", "pcm", "--fec", "off", "--trace", trace, "--in", speech, "--out", heard, "--log", log, "--plot", plot, "--json")
	var r map[string]any
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	buffer, _ := r["buffer_delay_ms"].(map[string]any)
	for _, key := range []string{"mean", "p95"} {
		if v, ok := buffer[key].(float64); !ok || v <= 0 {
			t.Errorf("buffer_delay_ms.%s is %v", key, buffer[key])
		}
	}
	for _, key := range []string{"delay_over_fastest_ms", "concealed_share", "stretched_share", "fec_recovered_share", "quality", "conversational", "cpu_ms_per_s"} {
		if _, ok := r[key].(float64); !ok {
			t.Errorf("%s is %v", key, r[key])
		}
	}
	// The file begins when the first packet is sent: the delay stands in it.
	in, _, _ := audiotest.ReadWAV(speech)
	pcm, rate, err := audiotest.ReadWAV(heard)
	if err != nil || rate != audio.SampleRate {
		t.Fatal(rate, err)
	}
	delay := audiotest.CompareQuality(in, pcm).Delay.Seconds()*1000 - 30 // the fastest packet's
	if want := r["delay_over_fastest_ms"].(float64); delay < want-15 || delay > want+15 {
		t.Errorf("what is heard is %.1f ms later than the fastest packet, said is %.1f", delay, want)
	}
	for path, word := range map[string]string{log: "at_us,decision,seq", plot: "<svg"} {
		b, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(b, []byte(word)) || len(b) < 1000 {
			t.Errorf("%s: %d bytes, %v", path, len(b), err)
		}
	}
}

// The same packets give the same decisions and the same sound on every machine.
func TestSameOnEveryMachine(t *testing.T) {
	machines := []struct {
		env, emulator []string
	}{
		{[]string{"GOARCH=amd64"}, nil},
		{[]string{"GOARCH=386"}, nil},
		{[]string{"GOARCH=arm64"}, []string{"qemu-aarch64-static", "qemu-aarch64"}},
		{[]string{"GOARCH=arm", "GOARM=7"}, []string{"qemu-arm-static", "qemu-arm"}},
	}
	host, err := exec.Command("go", "env", "GOHOSTARCH").Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(host)) != "amd64" {
		t.Skip("the machines are emulated on amd64 only")
	}
	type hashes struct {
		Decisions string `json:"decisions_sha256"`
		PCM       string `json:"pcm_sha256"`
	}
	want := make(map[string]hashes) // by kind
	for _, m := range machines {
		name := strings.Join(m.env, " ")
		command := []string{filepath.Join(t.TempDir(), "bench")}
		build := exec.Command("go", "build", "-o", command[0], "sidetone/cmd/sidetone-bench")
		build.Env = append(append(os.Environ(), "CGO_ENABLED=0"), m.env...)
		if m.emulator != nil {
			path := ""
			for _, e := range m.emulator {
				if p, err := exec.LookPath(e); err == nil {
					path = p
				}
			}
			if path == "" {
				t.Logf("%s is left out: there is no %s; install qemu-user-static", name, m.emulator[0])
				continue
			}
			command = append([]string{path}, command...)
		}
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		for _, kind := range audiotest.Networks {
			trace, speech := files(t, kind)
			args := append(command[1:len(command):len(command)], "play", "--codec", "pcm", "--fec", "off", "--unscored", "--json", "--trace", trace, "--in", speech)
			out, err := exec.Command(command[0], args...).Output()
			if err != nil {
				t.Fatalf("%s, %s: %v", name, kind, err)
			}
			var got hashes
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			if _, ok := want[kind]; !ok {
				want[kind] = got
			}
			if got != want[kind] || got.PCM == "" || got.Decisions == "" {
				t.Errorf("%s, %s: %v, on %s %v", name, kind, got, machines[0].env[0], want[kind])
			}
		}
	}
}

func TestWrongWords(t *testing.T) {
	trace, speech := files(t, "clean")
	for _, tt := range []struct {
		code int
		args []string
	}{
		{exitUsage, nil},
		{exitUsage, []string{"sing"}},
		{exitUsage, []string{"play", "--trace", trace}},
		{exitUsage, []string{"play", "--trace", trace, "--in", speech, "more"}},
		{exitUsage, []string{"play", "--loud"}},
		{exitFailed, []string{"play", "--trace", speech, "--in", speech}},
		{exitFailed, []string{"play", "--trace", trace, "--in", trace}},
		{exitFailed, []string{"play", "--trace", trace, "--in", speech, "--codec", "mp3"}},
		{exitFailed, []string{"trace", "--kind", "good", "--out", filepath.Join(t.TempDir(), "t.csv")}},
		{exitUsage, []string{"echo", "--far", speech}},
		{exitFailed, []string{"echo", "--far", speech, "--mic", speech, "--canceller", "none such"}},
		{exitFailed, []string{"room", "--rt60", "99", "--far", "a", "--near", "b", "--mic", "c"}},
		{exitOK, []string{"help"}},
		{exitOK, []string{"play", "-h"}},
	} {
		var out, err bytes.Buffer
		if code := Main(tt.args, &out, &err); code != tt.code || code != exitOK && err.Len() == 0 {
			t.Errorf("%q: exit code %d, want %d; said %q", tt.args, code, tt.code, err.String())
		}
	}
}
