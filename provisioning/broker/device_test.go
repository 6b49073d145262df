package broker

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDeviceToken(t *testing.T) {
	f := newFixture(t)
	door1, err := f.Enroll("door1")
	if err != nil {
		t.Fatal(err)
	}
	door2, err := f.Enroll("door2")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path, key string
		status          int
	}{
		{"good", "/v1/devices/door1/token", door1.TokenKey, 200},
		{"no secret", "/v1/devices/door1/token", "", 401},
		{"wrong secret", "/v1/devices/door1/token", door1.TokenKey + "x", 401},
		{"another's secret", "/v1/devices/door1/token", door2.TokenKey, 401},
		{"its MQTT password", "/v1/devices/door1/token", door1.MQTTPassword, 401},
		{"the API key", "/v1/devices/door1/token", f.APIKey(), 401},
		{"no such device", "/v1/devices/door9/token", door1.TokenKey, 401},
		{"no such device, no secret", "/v1/devices/door9/token", "", 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			if status, answer := f.do(t, "POST", c.path, c.key, ""); status != c.status {
				t.Errorf("%d %s", status, answer)
			}
		})
	}

	_, answer := f.do(t, "POST", "/v1/devices/door1/token", door1.TokenKey, "")
	var got struct {
		Token      string    `json:"token"`
		ExpiresAt  time.Time `json:"expires_at"`
		ICEServers []struct {
			URLs       []string `json:"urls"`
			Username   string   `json:"username"`
			Credential string   `json:"credential"`
		} `json:"iceServers"`
		ICEServersExpires time.Time `json:"iceServers_expires_at"`
	}
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		t.Fatal(err)
	}
	if name, _, err := f.Authenticate(got.Token, "", ""); name != "door1" || err != nil {
		t.Errorf("token: %s, %v", name, err)
	}
	if !got.ExpiresAt.Equal(noon.Add(MaxTokenLife)) || !got.ICEServersExpires.Equal(noon.Add(24*time.Hour)) {
		t.Errorf("expires %v, %v", got.ExpiresAt, got.ICEServersExpires)
	}
	if len(got.ICEServers) != 1 || got.ICEServers[0].Username != "u:door1" || got.ICEServers[0].Credential == "" {
		t.Errorf("iceServers %+v", got.ICEServers)
	}
}

func TestDeviceIsRevokedWithItsCredential(t *testing.T) {
	f := newFixture(t)
	secrets, err := f.Enroll("door1")
	if err != nil {
		t.Fatal(err)
	}
	c, ok := f.newest("door1")
	if !ok {
		t.Fatal("no credential was made")
	}
	f.do(t, "DELETE", "/v2/telephony_credentials/"+c.ID, f.APIKey(), "")
	if status, answer := f.do(t, "POST", "/v1/devices/door1/token", secrets.TokenKey, ""); status != 403 {
		t.Errorf("%d %s", status, answer)
	}
	f.make(t, `{"name":"door1"}`)
	if status, answer := f.do(t, "POST", "/v1/devices/door1/token", secrets.TokenKey, ""); status != 200 {
		t.Errorf("after a new credential: %d %s", status, answer)
	}
	if r := f.Requests("door1"); r.Granted != 1 || !slices.Equal(r.Refused, []time.Time{noon}) {
		t.Errorf("requests %+v", r)
	}
}

func TestDeviceAskingInALoopIsSlowedDown(t *testing.T) {
	f := newFixture(t)
	door1, _ := f.Enroll("door1")
	door2, _ := f.Enroll("door2")
	ask := func(name, key string) int {
		status, _ := f.do(t, "POST", "/v1/devices/"+name+"/token", key, "")
		return status
	}
	status, n := 0, 0
	for ; n < 1000 && status != http.StatusTooManyRequests; n++ {
		status = ask("door1", door1.TokenKey)
	}
	if n < 10 || n == 1000 {
		t.Errorf("refused after %d", n)
	}
	if got := ask("door2", door2.TokenKey); got != 200 {
		t.Errorf("door2 got %d", got)
	}
	f.clock.pass(time.Minute)
	if got := ask("door1", door1.TokenKey); got != 200 {
		t.Errorf("a minute later: %d", got)
	}
}

func TestEnroll(t *testing.T) {
	f := newFixture(t)
	seen := map[string]bool{}
	for range 100 {
		s, err := f.Enroll("door1")
		if err != nil {
			t.Fatal(err)
		}
		if seen[s.TokenKey] || seen[s.MQTTPassword] {
			t.Fatal("a secret came twice")
		}
		seen[s.TokenKey], seen[s.MQTTPassword] = true, true
		if kept, _ := f.Keep("door1", s); !kept || !f.CheckMQTT("door1", s.MQTTPassword) {
			t.Fatal("fresh secrets do not work")
		}
	}
	if kept, _ := f.Keep("door1", DeviceSecrets{}); kept || f.CheckMQTT("door1", "") || f.CheckMQTT("nobody", "") {
		t.Error("no secret works")
	}
	for _, bad := range []string{"", "Door", "a/b", "a+b", "#", strings.Repeat("a", 65)} {
		if _, err := f.Enroll(bad); err == nil {
			t.Errorf("%q was enrolled", bad)
		}
	}
	if got := strings.Join(f.Devices(), " "); got != "door1" || !f.IsDevice("door1") || f.IsDevice("door2") {
		t.Errorf("devices %s", got)
	}
}
