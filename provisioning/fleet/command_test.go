package fleet

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestCommands(t *testing.T) {
	withBrokers(t, func(t *testing.T, b broker) {
		o := observe(t, b)
		soon := time.Now().Add(time.Minute)
		// Left by a mistake, before the device comes.
		o.publish("down/cmd/door.open", fmt.Sprintf(`{"id":"old","exp":%d}`, soon.Unix()), true)
		o.until(0, "it", func(h heard) bool { return h.topic == "down/cmd/door.open" }) // it is stored, and told to all who are there
		d := agent(t, config(b.address())).run()
		d.eventually("the retained command is dropped", func() bool { return strings.Contains(d.log.String(), "it is retained") })

		for _, payload := range []string{
			`not JSON`,
			`[]`,
			``,
			`{"id":"e1","exp":1}`,
			`{"id":"e2","exp":"2020-01-01T00:00:00Z"}`,
			`{"id":"e3"}`,
			`{"id":"e4","exp":null}`,
			`{"id":"e5","exp":"soon"}`,
			`{"id":"e6","exp":1e300}`,
			`{"id":"e7","exp":{}}`,
			fmt.Sprintf(`{"exp":%d}`, soon.Unix()),
			fmt.Sprintf(`{"id":"a/b","exp":%d}`, soon.Unix()),
			fmt.Sprintf(`{"id":"e8","exp":%d,"args":%q}`, soon.Unix(), strings.Repeat("x", maxCommand)),
			fmt.Sprintf(`{"id":"dial-1","exp":%d,"by":"ops","args":{"destination":"echo"}}`, soon.Unix()),
			fmt.Sprintf(`{"id":"dial-1","exp":%d,"by":"ops","args":{"destination":"echo"}}`, soon.Unix()),
		} {
			o.publish("down/cmd/dial", payload, false)
		}
		o.publish("down/cmd/door.open", fmt.Sprintf(`{"id":"open-1","exp":%q,"args":null}`, soon.Format(time.RFC3339)), false)
		for _, want := range []Command{
			{Name: "dial", ID: "dial-1", By: "ops", Args: json.RawMessage(`{"destination":"echo"}`)},
			{Name: "door.open", ID: "open-1"},
		} {
			select {
			case c := <-d.Commands():
				if c.Name != want.Name || c.ID != want.ID || c.By != want.By || string(c.Args) != string(want.Args) || c.Exp.Unix() != soon.Unix() {
					t.Errorf("got %+v, want %+v", c, want)
				}
			case <-time.After(patience):
				t.Fatal("no command")
			}
		}
		if n := strings.Count(d.log.String(), "command dropped"); n != 15 {
			t.Errorf("%d drops were logged, want 15:\n%s", n, d.log)
		}
		d.Reply("dial-1", Reply{OK: true, Result: map[string]string{"call_id": "c1"}})
		d.Reply("open-1", Reply{Code: 404, Error: "no door"})
		n := o.says(0, "up/reply/dial-1", `{"ok":true,"result":{"call_id":"c1"}}`)
		o.says(n, "up/reply/open-1", `{"ok":false,"code":404,"error":"no door"}`)

		// Nobody takes them: the rest is told so.
		for i := range cap(d.commands) + 1 {
			o.publish("down/cmd/mute", fmt.Sprintf(`{"id":"m%d","exp":%d}`, i, soon.Unix()), false)
		}
		h, _ := o.until(0, "busy", func(h heard) bool { return h.topic == fmt.Sprintf("up/reply/m%d", cap(d.commands)) })
		if !strings.Contains(h.payload, `"ok":false,"code":503`) {
			t.Error(h)
		}
		d.stop()
	})
}

// A command that is given while the device reconnects reaches it, as the broker keeps its session.
func TestCommandWaitsForTheDevice(t *testing.T) {
	withBrokers(t, func(t *testing.T, b broker) {
		o := observe(t, b)
		p := newProxy(t, b.address())
		d := agent(t, config(p.address())).run()
		n := o.says(0, "up/status", "online")
		p.setRefuse(true)
		p.cut()
		n = o.says(n, "up/status", "offline")
		o.publish("down/cmd/hangup", fmt.Sprintf(`{"id":"h","exp":%d}`, time.Now().Add(time.Minute).Unix()), false)
		p.setRefuse(false)
		select {
		case c := <-d.Commands():
			if c.ID != "h" {
				t.Errorf("%+v", c)
			}
		case <-time.After(patience):
			t.Fatalf("no command\n%s", d.log)
		}
		// The will that waited in the session is older than this connection.
		o.says(n, "up/status", "online")
		late := observe(t, b)
		late.says(0, "up/status", "online")
		d.stop()
	})
}

func FuzzCommand(f *testing.F) {
	f.Add("dial", []byte(`{"id":"a","exp":2000000000,"by":"x","args":{}}`), false)
	f.Add("dial", []byte(`{"id":"a","exp":"2030-01-01T00:00:00Z"}`), true)
	f.Add("x/+", []byte(`{"id":"a","exp":-1e308}`), false)
	f.Add("", []byte(`null`), false)
	now := time.Unix(1700000000, 0)
	f.Fuzz(func(t *testing.T, name string, payload []byte, retained bool) {
		var g gate
		c, err := g.pass(name, payload, retained, now)
		if err != nil {
			return
		}
		if retained || !c.Exp.After(now) || strings.ContainsAny(c.ID, "/+#\x00") || c.ID == "" || !commandName.MatchString(c.Name) {
			t.Errorf("passed %+v", c)
		}
		if _, err := g.pass(name, payload, false, now); err == nil {
			t.Error("passed twice")
		}
	})
}

func TestGateForgetsTheOldestOnly(t *testing.T) {
	var g gate
	now := time.Now()
	say := func(i int) error {
		_, err := g.pass("x", fmt.Appendf(nil, `{"id":"%d","exp":%d}`, i, now.Unix()+60), false, now)
		return err
	}
	for i := range remembered + 1 {
		if err := say(i); err != nil {
			t.Fatal(err)
		}
	}
	if say(1) == nil || say(remembered) == nil || len(g.seen) != remembered {
		t.Error("it forgets too early")
	}
	if say(0) != nil {
		t.Error("it never forgets")
	}
}
