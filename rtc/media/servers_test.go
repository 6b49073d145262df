package media

import (
	"slices"
	"testing"
)

// The platform's servers, in its order: each call asks them all.
func TestTelnyxServers(t *testing.T) {
	var urls []string
	for _, s := range TelnyxServers() {
		urls = append(urls, s.URLs...)
		if turn := s.URLs[0][:4] == "turn"; turn != (s.Username == "testuser" && s.Credential == "testpassword") {
			t.Errorf("%s by %q", s.URLs, s.Username)
		}
	}
	if want := []string{
		"stun:stun.telnyx.com:3478", "stun:stun.l.google.com:19302", "turn:turn.telnyx.com:3478?transport=udp",
		"turn:turn.telnyx.com:3478?transport=tcp", "turns:turn.telnyx.com:443", "turns:turn2.telnyx.com:443",
	}; !slices.Equal(urls, want) {
		t.Errorf("%q, want %q", urls, want)
	}
}
