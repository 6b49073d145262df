package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"sidetone/cmd/sidetone-lab/internal/web"
	"sidetone/provisioning/broker/mqtt"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// stream follows the page's events.
func stream(t *testing.T, l *Lab) <-chan web.State {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", l.Info().Web+"api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, l)
	c.Timeout = 0
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	states, done := make(chan web.State, 100), make(chan struct{})
	go func() {
		defer close(done)
		defer resp.Body.Close()
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			var s web.State
			if err := json.Unmarshal([]byte(data), &s); err != nil {
				t.Error(err)
			}
			states <- s
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return states
}

// await gives the first state in which door1 is as wanted.
func await(t *testing.T, states <-chan web.State, what string, want func(web.Device, web.State) bool) {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case s := <-states:
			for _, d := range s.Devices {
				if d.Name == "door1" && want(d, s) {
					return
				}
			}
		case <-limit:
			t.Fatalf("door1 is never seen %s", what)
		}
	}
}

func publish(t *testing.T, c paho.Client, what, payload string, retain bool) {
	t.Helper()
	tok := c.Publish("sidetone/v1/lab/door1/up/"+what, 1, retain, payload)
	if !tok.WaitTimeout(patience) || tok.Error() != nil {
		t.Fatalf("publishing %s: %v", what, tok.Error())
	}
}

func TestPageFollowsADevice(t *testing.T) {
	l := start(t, t.TempDir())
	states := stream(t, l)
	await(t, states, "before it came", func(d web.Device, _ web.State) bool { return d.Status == "" && d.Enrolled && len(d.Buttons) == 1 })
	door1, err := mqttClient(t, l, l.Info().MQTTS, "door1", readSecret(mqttPasswordFile(l.deviceDir("door1"))))
	if err != nil {
		t.Fatal(err)
	}
	publish(t, door1, "birth", `{"firmware":"1.2.3","board":"sim"}`, true)
	publish(t, door1, "status", "online", true)
	await(t, states, "online", func(d web.Device, _ web.State) bool { return d.Status == "online" && d.Firmware == "1.2.3" })
	publish(t, door1, "state/update", `{"installed_version":"v1.0.0","latest_version":"v1.1.0","phase":"downloading","update_percentage":40,"in_progress":true}`, true)
	await(t, states, "updating", func(d web.Device, _ web.State) bool {
		return d.Update.Phase == "downloading" && d.Update.Latest == "v1.1.0" && *d.Update.Percentage == 40
	})
	publish(t, door1, "state/call", `{"call_id":"c1","state":"active","direction":"outbound","destination":"concierge","active":"2026-03-01T12:00:00Z"}`, true)
	await(t, states, "in a call", func(d web.Device, _ web.State) bool {
		return d.Call != nil && d.Call.State == "active" && d.Call.Peer == "concierge" && d.Call.Active.Year() == 2026
	})
	publish(t, door1, "state/call", `{"call_id":"c1","state":"destroy","direction":"outbound","destination":"concierge","cause":"NORMAL_CLEARING"}`, true)
	await(t, states, "after the call", func(d web.Device, _ web.State) bool {
		return d.Call == nil && d.Last != nil && d.Last.Cause == "NORMAL_CLEARING"
	})
	live := func(callID string, packets, lost, samples, concealed, delay string) {
		publish(t, door1, "stats/live", `{"call_id":"`+callID+`","ts":"2026-03-01T12:00:01Z","rtt":0.08,"mos":4.1,"inboundAudio":{"packetsReceived":`+packets+
			`,"packetsLost":`+lost+`,"totalSamplesReceived":`+samples+`,"concealedSamples":`+concealed+`,"jitterBufferDelay":`+delay+`,"jitterBufferTargetDelay":`+delay+`,"jitterBufferEmittedCount":`+samples+`}}`, false)
	}
	live("c1", "50", "0", "48000", "0", "1920")   // 40 ms
	live("c1", "95", "5", "96000", "960", "4800") // then 60 ms, a tenth lost, 2 % concealed
	await(t, states, "with two points", func(d web.Device, _ web.State) bool {
		if len(d.Live) != 2 {
			return false
		}
		for what, c := range map[string]struct{ got, want float64 }{
			"buffer": {*d.Live[0].Buffer, 40}, "loss": {*d.Live[0].Loss, 0}, "later buffer": {*d.Live[1].Buffer, 60}, "target": {*d.Live[1].Target, 60},
			"later loss": {*d.Live[1].Loss, 10}, "concealed": {*d.Live[1].Concealed, 2}, "RTT": {*d.Live[1].RTT, 80}, "MOS": {*d.Live[1].MOS, 4.1},
		} {
			if math.Abs(c.got-c.want) > 1e-9 {
				t.Errorf("%s is drawn at %v, want %v", what, c.got, c.want)
			}
		}
		return true
	})
	live("c2", "10", "0", "9600", "0", "0")
	await(t, states, "with the next call's points alone", func(d web.Device, _ web.State) bool { return len(d.Live) == 1 })
	body := `{"call_id":"c1","summary":{"callId":"c1","destinationNumber":"concierge","durationSeconds":10},"quality":{"mos":4.4}}`
	publish(t, door1, "stats/call", body, false)
	publish(t, door1, "stats/call", body, false) // at least once means that it may come twice
	publish(t, door1, "status", "offline", true)
	await(t, states, "offline", func(d web.Device, s web.State) bool {
		return d.Status == "offline" && len(s.Reports) == 1 && s.Reports[0].Device == "door1" && *s.Reports[0].MOS == 4.4
	})

	token, err := l.Token("door1")
	if err != nil {
		t.Fatal(err)
	}
	conn, f := login(t, l, l.Info().WS, token.Token)
	if f.Error != nil {
		t.Fatal(f.Error)
	}
	await(t, states, "registered", func(d web.Device, _ web.State) bool { return d.Registered && d.Remote != "" })
	_ = conn.CloseNow()
	await(t, states, "unregistered", func(d web.Device, _ web.State) bool { return !d.Registered })
}

// pressed asks the page's API for a press as a browser does.
func pressed(t *testing.T, l *Lab, body string, headers map[string]string) (int, web.Reply) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", l.Info().Web+"api/press", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	for k, v := range headers {
		req.Header.Set(k, v)
		if k == "Host" {
			req.Host = v
		}
	}
	resp, err := client(t, l).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var r web.Reply
	_ = json.NewDecoder(resp.Body).Decode(&r) // a refusal by the guard is text
	return resp.StatusCode, r
}

func TestPressGoesToTheDeviceAndItsReplyBack(t *testing.T) {
	l := start(t, t.TempDir())
	const press = `{"device":"door1","button":"call"}`
	if status, r := pressed(t, l, press, nil); status != http.StatusBadRequest || !strings.Contains(r.Error, "not online") {
		t.Errorf("offline: %d %+v", status, r)
	}
	door1, err := mqttClient(t, l, l.Info().MQTTS, "door1", readSecret(mqttPasswordFile(l.deviceDir("door1"))))
	if err != nil {
		t.Fatal(err)
	}
	commands := make(chan paho.Message, 10)
	if tok := door1.Subscribe("sidetone/v1/lab/door1/down/#", 1, func(_ paho.Client, m paho.Message) { commands <- m }); !tok.WaitTimeout(patience) || tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	publish(t, door1, "status", "online", true)
	// The broker acknowledges before the page has heard.
	online := func() bool {
		l.feed.mu.Lock()
		defer l.feed.mu.Unlock()
		d := l.feed.devices["door1"]
		return d != nil && d.status == "online"
	}
	for end := time.Now().Add(patience); !online(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the page does not hear that door1 is online")
		}
	}

	for _, reply := range []string{`{"ok":true}`, `{"ok":false,"code":1,"error":"this device has no button \"call\""}`} {
		go func() {
			var in struct {
				ID   string
				Exp  int64
				By   string
				Args struct{ Button string }
			}
			m := <-commands
			if err := json.Unmarshal(m.Payload(), &in); err != nil || m.Topic() != "sidetone/v1/lab/door1/down/cmd/press" || m.Retained() {
				t.Errorf("%s %s, retained %t: %v", m.Topic(), m.Payload(), m.Retained(), err)
			}
			if left := time.Until(time.Unix(in.Exp, 0)); in.ID == "" || in.By != "lab page" || in.Args.Button != "call" || left <= 0 || left > pressExpiry {
				t.Errorf("command %s", m.Payload())
			}
			door1.Publish("sidetone/v1/lab/door1/up/reply/"+in.ID, 1, false, reply)
		}()
		var want web.Reply
		if err := json.Unmarshal([]byte(reply), &want); err != nil {
			t.Fatal(err)
		}
		if status, got := pressed(t, l, press, nil); status != http.StatusOK || got != want {
			t.Errorf("%d %+v, want %+v", status, got, want)
		}
	}
	if len(l.feed.replies) != 0 {
		t.Errorf("replies still awaited: %v", l.feed.replies)
	}

	for name, c := range map[string]struct {
		body    string
		headers map[string]string
		status  int
	}{
		"another site's script":      {press, map[string]string{"Sec-Fetch-Site": "cross-site"}, http.StatusForbidden},
		"a neighbour's script":       {press, map[string]string{"Sec-Fetch-Site": "same-site"}, http.StatusForbidden},
		"an older browser elsewhere": {press, map[string]string{"Sec-Fetch-Site": "", "Origin": "http://evil.example"}, http.StatusForbidden},
		"a name that points at us":   {press, map[string]string{"Host": "evil.example"}, http.StatusMisdirectedRequest},
		"a form":                     {"device=door1", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, http.StatusUnsupportedMediaType},
		"no JSON":                    {"{", nil, http.StatusBadRequest},
		"no such device":             {`{"device":"door9","button":"call"}`, nil, http.StatusBadRequest},
		"a topic for a device":       {`{"device":"door1/up","button":"call"}`, nil, http.StatusBadRequest},
	} {
		if status, _ := pressed(t, l, c.body, c.headers); status != c.status {
			t.Errorf("%s: %d, want %d", name, status, c.status)
		}
	}
	select {
	case m := <-commands:
		t.Errorf("one of those came through: %s", m.Payload())
	default:
	}
}

func TestPageIsServedWithItsHeaders(t *testing.T) {
	l := start(t, t.TempDir())
	for path, kind := range map[string]string{"": "text/html", "app.js": "text/javascript", "style.css": "text/css", "icon.svg": "image/svg+xml", "api/state": "application/json"} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", l.Info().Web+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client(t, l).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), kind) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
}

// TestFeedTakesAnything that a device may publish.
func TestFeedTakesAnything(t *testing.T) {
	f := newFeed(nil)
	for _, topic := range []string{
		"", "sidetone", "sidetone/v1/lab/door1/up", "sidetone/v1/lab/door1/up/", "sidetone/v1/lab/door1/up/state/call",
		"sidetone/v1/lab/door1/up/stats/call", "sidetone/v1/lab/door1/up/birth", "sidetone/v1/lab/door1/up/state/line",
		"sidetone/v1/lab/door1/up/reply/x", "sidetone/v1/lab/door1/up/stats/live", "sidetone/v1/lab/door1/up/status",
	} {
		for _, payload := range []string{"", "null", "{}", "[]", "17", `"x"`, "{", `{"call_id":7}`, `{"call_id":"c","state":7}`, `{"stats":[null,{}]}`} {
			f.message(mqtt.Message{Topic: topic, Payload: []byte(payload)})
		}
	}
	for n := range 2 * maxReports {
		f.message(mqtt.Message{Topic: "sidetone/v1/lab/door1/up/stats/call", Payload: []byte(`{"summary":{"callId":"` + strings.Repeat("x", n) + `"}}`)})
	}
	if len(f.reports) != maxReports || len(f.reports[0].CallID) != 2*maxReports-1 {
		t.Errorf("%d reports, the first %q", len(f.reports), f.reports[0].CallID)
	}
}
