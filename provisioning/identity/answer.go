package identity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// maxAnswer is the largest answer read from a broker or a program, in bytes.
const maxAnswer = 256 << 10

// answer is what a broker says.
type answer struct {
	Token             Secret       `json:"token"`
	ExpiresAt         time.Time    `json:"expires_at"`
	ICEServers        []wireServer `json:"iceServers"`
	ICEServersExpires time.Time    `json:"iceServers_expires_at"`
}

// wireServer is RTCIceServer, whose urls may be one string.
type wireServer struct {
	URLs       oneOrMore `json:"urls"`
	Username   string    `json:"username"`
	Credential Secret    `json:"credential"`
}

type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(b, []byte(`"`)) {
		*o = make([]string, 1)
		return json.Unmarshal(b, &(*o)[0])
	}
	return json.Unmarshal(b, (*[]string)(o))
}

// readAnswer understands a broker's answer.
func readAnswer(body []byte) (grant, error) {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		// Not shown whole: it may hold half a token.
		return grant{}, fmt.Errorf("is not the JSON that it should be: %w", err)
	}
	if a.Token.IsZero() || strings.ContainsAny(a.Token.Reveal(), " \r\n") {
		return grant{}, fmt.Errorf("has no token")
	}
	g := grant{Credentials: Credentials{Token: a.Token}, expires: a.ExpiresAt, serversExpire: a.ICEServersExpires}
	for _, s := range a.ICEServers {
		if len(s.URLs) > 0 {
			g.ICEServers = append(g.ICEServers, ICEServer{URLs: s.URLs, Username: s.Username, Credential: s.Credential})
		}
	}
	return g, nil
}
