package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// TestHealthGoesToTheFleet has devices miss their sound cards in calls, and then be content without: the lab's broker and mosquitto
// hear of both, and keep the last for who comes later.
func TestHealthGoesToTheFleet(t *testing.T) {
	t.Parallel()
	l := startLab(t)
	missing := func(device string, env ...string) {
		startEnv(t, append(env, "SIDETONE_AUDIO_CAPTURE=card:Nowhere", "SIDETONE_AUDIO_PLAYBACK=card:Nowhere"),
			"sidetone", "run", "--config", l.Devices[device])
	}
	missing("door1")
	path, err := exec.LookPath("mosquitto")
	var address string
	if err == nil {
		address = mosquitto(t, path)
		missing("door2", "SIDETONE_MQTT_URL=mqtt://"+address)
	}
	t.Run("lab", func(t *testing.T) {
		t.Parallel()
		l.healthOf(t, "door1", func() *watch { return l.subscribe(t, "door1") })
	})
	t.Run("mosquitto", func(t *testing.T) {
		t.Parallel()
		if err != nil {
			t.Skip("no mosquitto here: buildroot/setup.sh test installs it")
		}
		l.healthOf(t, "door2", func() *watch {
			return subscribe(t, "door2", mqtt.NewClientOptions().AddBroker("tcp://"+address))
		})
	})
}

// healthOf follows the health of a device that misses its card.
func (l *lab) healthOf(t *testing.T, device string, follow func() *watch) {
	const topic = "up/state/health"
	w := follow()
	l.waitRegistered(t, device)
	do(t, l.Devices[device], "dial", "tone")
	last := func() (c condition, missing bool) {
		all := w.all(topic)
		if len(all) == 0 {
			return c, false
		}
		c, missing = conditions(t, all[len(all)-1].payload)["no_card"]
		return c, missing
	}
	eventually(t, time.Minute, "the card is missing", func() bool { _, missing := last(); return missing })
	if c, _ := last(); c.Severity != "error" || c.Message == "" || c.Action == "" {
		t.Errorf("%+v", c)
	}
	do(t, l.Devices[device], "device", "--capture", "null", "--playback", "null")
	eventually(t, time.Minute, "no card is needed", func() bool { _, missing := last(); return !missing })
	late := follow()
	late.await(t, topic, func(payload []byte) bool { _, missing := conditions(t, payload)["no_card"]; return !missing })
	if m := late.all(topic)[0]; !m.retained {
		t.Errorf("the broker has not kept %s", m.payload)
	}
}

type condition struct{ Code, Severity, Message, Action string }

// conditions are what is wrong, by their codes.
func conditions(t *testing.T, payload []byte) map[string]condition {
	t.Helper()
	var health struct{ Conditions []condition }
	if err := json.Unmarshal(payload, &health); err != nil || health.Conditions == nil {
		t.Fatalf("%v: %s", err, payload)
	}
	all := map[string]condition{}
	for _, c := range health.Conditions {
		all[c.Code] = c
	}
	return all
}

// mosquitto runs one on loopback, where everybody may do all.
func mosquitto(t *testing.T, path string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	config := filepath.Join(t.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\npersistence false\n", port)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	start(t, path, "-c", config)
	eventually(t, 30*time.Second, "mosquitto listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return address
}
