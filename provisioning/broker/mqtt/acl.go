package mqtt

import "strings"

// mayPublish tells whether a device may publish to that topic: only upwards, below its own name.
func mayPublish(device, topic string) bool {
	return !strings.ContainsAny(topic, "+#") && covers("sidetone/v1/+/"+device+"/up/#", topic)
}

// maySubscribe tells whether a device may subscribe to that filter: what goes down to it and to everybody, and its own
// status, which it watches to correct a late will. Every topic that the filter can match must be allowed, so a
// wildcard stands only where the rule has one too.
func maySubscribe(device, filter string) bool {
	for _, rule := range []string{
		"sidetone/v1/+/" + device + "/down/#",
		"sidetone/v1/+/_all/down/#",
		"sidetone/v1/+/" + device + "/up/status",
	} {
		if covers(rule, filter) {
			return true
		}
	}
	return false
}

// covers tells whether rule matches everything that filter matches (MQTT 3.1.1, section 4.7); a topic without
// wildcards is a filter that matches itself.
func covers(rule, filter string) bool {
	want, have := strings.Split(rule, "/"), strings.Split(filter, "/")
	for i, level := range want {
		switch {
		case level == "#":
			return true
		case i >= len(have) || have[i] == "#":
			return false
		case level != "+" && level != have[i]:
			return false
		}
	}
	return len(want) == len(have)
}

// mayTake tells whether a user may connect with that client id: any but one that is, or begins with, another user's
// name. Whoever connects with the id of another takes over its session (MQTT 3.1.1, section 3.1.4).
func mayTake(user, id string, isUser func(string) bool) bool {
	owner := "" // the longest name that the id begins with
	for i := range len(id) + 1 {
		if i == len(id) || strings.ContainsRune("-_.:/", rune(id[i])) {
			if isUser(id[:i]) {
				owner = id[:i]
			}
		}
	}
	return owner == "" || owner == user
}
