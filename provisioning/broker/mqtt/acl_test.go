package mqtt

import "testing"

func TestAccessList(t *testing.T) {
	for _, c := range []struct {
		name, topic        string
		publish, subscribe bool
	}{
		{"its own status", "sidetone/v1/lab/door1/up/status", true, true},
		{"its own call report", "sidetone/v1/lab/door1/up/stats/call", true, false},
		{"its own reply", "sidetone/v1/lab/door1/up/reply/7", true, false},
		{"a command to it", "sidetone/v1/lab/door1/down/cmd/press", false, true},
		{"all commands to it", "sidetone/v1/lab/door1/down/#", false, true},
		{"one level of commands", "sidetone/v1/lab/door1/down/cmd/+", false, true},
		{"down in any fleet", "sidetone/v1/+/door1/down/#", false, true},
		{"everybody's commands", "sidetone/v1/lab/_all/down/#", false, true},
		{"another's status", "sidetone/v1/lab/door2/up/status", false, false},
		{"another's commands", "sidetone/v1/lab/door2/down/#", false, false},
		{"everything", "#", false, false},
		{"everything of ours", "sidetone/v1/lab/#", false, false},
		{"any device", "sidetone/v1/lab/+/down/#", false, false},
		{"any direction", "sidetone/v1/lab/door1/+/status", false, false},
		{"everything of its own", "sidetone/v1/lab/door1/#", false, false},
		{"the broker's figures", "$SYS/#", false, false},
		{"a shared subscription", "$share/g/sidetone/v1/lab/door1/down/#", false, false},
		{"no topic", "", false, false},
		{"only up", "sidetone/v1/lab/door1/up", true, false},
		{"a name that begins alike", "sidetone/v1/lab/door11/up/status", false, false},
		{"a wildcard to publish to", "sidetone/v1/lab/door1/up/+", false, false},
		{"another root", "homeassistant/device/sidetone_door1/config", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := mayPublish("door1", c.topic); got != c.publish {
				t.Errorf("door1 may publish to %q: %t", c.topic, got)
			}
			if got := maySubscribe("door1", c.topic); got != c.subscribe {
				t.Errorf("door1 may subscribe to %q: %t", c.topic, got)
			}
		})
	}
}

func TestClientIDs(t *testing.T) {
	isUser := func(name string) bool { return name == "door1" || name == "door1-b" || name == "door2" }
	for _, c := range []struct {
		user, id string
		want     bool
	}{
		{"door1", "door1", true},
		{"door1", "door1-call-4711", true},
		{"door1", "door1.call", true},
		{"door1", "door1-b", false},
		{"door1", "door1-b-call", false},
		{"door1-b", "door1-b-call", true},
		{"door1", "door2", false},
		{"door1", "door2-call", false},
		{"door1", "door11", true}, // nobody's
		{"door1", "", true},       // the broker makes one up
		{"door1", "mosq-4711", true},
	} {
		if got := mayTake(c.user, c.id, isUser); got != c.want {
			t.Errorf("%s may be client %q: %t", c.user, c.id, got)
		}
	}
}
