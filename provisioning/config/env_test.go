package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// cleanEnv removes the variables that would override what a test writes.
func cleanEnv(t *testing.T) {
	t.Helper()
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, envPrefix) {
			t.Setenv(name, value) // so that it comes back
			os.Unsetenv(name)
		}
	}
}

func TestEnvironmentOverridesTheFile(t *testing.T) {
	path := write(t, credentials+"auto_answer = false\n")
	t.Chdir(t.TempDir())
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"SIDETONE_LINE_AUTO_ANSWER":  "true",
		"SIDETONE_LINE_RING_TIMEOUT": "5s",
		"SIDETONE_LINE_TOKEN_FILE":   "other.jwt",
		"SIDETONE_AUDIO_CAPTURE":     "wav:x.wav",
		"SIDETONE_AUDIO_BITRATE":     "24000",
		"SIDETONE_DEVICE_STATE_DIR":  "/s",
		"SIDETONE_CI":                "1", // no section of ours
	} {
		t.Setenv(name, value)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Line.AutoAnswer = true
	want.Line.RingTimeout = Duration(5 * time.Second)
	want.Line.TokenFile = filepath.Join(wd, "other.jwt")
	want.Audio.Capture = "wav:" + filepath.Join(wd, "x.wav")
	want.Audio.Bitrate = 24000
	want.Device.StateDir = "/s"
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestProblemsOfTheEnvironmentNameTheVariable(t *testing.T) {
	path := write(t, credentials)
	for name, value := range map[string]string{
		"SIDETONE_LINE_AUTO_ANSER":   "true",
		"SIDETONE_LINE_AUTO_ANSWER":  "yes",
		"SIDETONE_LINE_RING_TIMEOUT": "soon",
		"SIDETONE_AUDIO_BITRATE":     "1",
		"SIDETONE_AUDIO_COMPLEXITY":  "high",
		"SIDETONE_BUTTONS_0_NAME":    "x",
		"SIDETONE_ICE_SERVERS":       "x",
		"HTTPS_PROXY":                "http://user:100%secret@proxy:8080",
		"http_proxy":                 "proxy:8080",
	} {
		t.Setenv(name, value)
	}
	want := []string{
		`HTTPS_PROXY: that is no proxy; want http://USER:PASSWORD@HOST:PORT, with a % in the password as %25`,
		`SIDETONE_AUDIO_BITRATE: audio.bitrate must be from 6000 to 510000 bit/s, not 1`,
		`SIDETONE_AUDIO_COMPLEXITY: audio.complexity: "high" is not a whole number`,
		`SIDETONE_BUTTONS_0_NAME: unknown variable; buttons is a list, which only the file can hold`,
		`SIDETONE_ICE_SERVERS: unknown variable; ice.servers is a list, which only the file can hold`,
		`SIDETONE_LINE_AUTO_ANSER: unknown variable; did you mean SIDETONE_LINE_AUTO_ANSWER?`,
		`SIDETONE_LINE_AUTO_ANSWER: line.auto_answer: "yes" is not true or false`,
		`SIDETONE_LINE_RING_TIMEOUT: line.ring_timeout: "soon" is no duration; write it with its units, as "45s" or "1m30s"`,
	}
	if got := refused(t, path); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
