package gateway

import "strings"

// candidateLines are the candidates of an SDP, as candidate:… (RFC 8839, section 5.1).
func candidateLines(sdp string) []string {
	var out []string
	for line := range strings.Lines(sdp) {
		if c, ok := strings.CutPrefix(strings.TrimSpace(line), "a="); ok && strings.HasPrefix(c, "candidate:") {
			out = append(out, c)
		}
	}
	return out
}

// maxCandidateLine is far more than a candidate needs.
const maxCandidateLine = 512

// candidateType reads the type of a candidate: host, srflx, prflx or relay; empty when it is none.
func candidateType(line string) string {
	if len(line) > maxCandidateLine || !strings.HasPrefix(line, "candidate:") {
		return ""
	}
	fields := strings.Fields(line)
	for i := 6; i+1 < len(fields); i++ {
		if fields[i] == "typ" {
			switch t := fields[i+1]; t {
			case "host", "srflx", "prflx", "relay":
				return t
			}
		}
	}
	return ""
}
