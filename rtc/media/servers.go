package media

import (
	"log/slog"
	"net"
	"slices"
	"strconv"

	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"
)

// serverPlan is what is made of the configured ICE servers: what pion is given, and what we know of it.
type serverPlan struct {
	servers              []webrtc.ICEServer
	wantSrflx, wantRelay bool
	tls                  map[string]bool // host:port of TURN servers that are reached by TLS over TCP
	relays               []relayURL
}

// relayURL is one way to a TURN server.
type relayURL struct {
	protocol string // as in RTCIceCandidateStats.relayProtocol: udp, tcp, tls, dtls
	url      string
}

// planServers drops what cannot be used, each with a line in the log. One bad server must not spoil the others: pion
// gives up all relays when one has no user or password.
func planServers(in []ICEServer, policy string, log *slog.Logger) serverPlan {
	p := serverPlan{tls: map[string]bool{}}
	type one struct {
		uri    *stun.URI
		url    string
		server ICEServer
	}
	var all []one
	for _, s := range in {
		for _, u := range s.URLs {
			uri, err := stun.ParseURI(u)
			if err != nil {
				log.Warn("ICE server left out: not a stun:, turn: or turns: URL", "url", u, "err", err)
				continue
			}
			turn := uri.Scheme == stun.SchemeTypeTURN || uri.Scheme == stun.SchemeTypeTURNS
			switch {
			case turn && (s.Username == "" || s.Credential == ""):
				log.Warn("TURN server left out: it has no username or no credential", "url", u)
				continue
			case !turn && policy == PolicyRelay:
				continue // a STUN server is of no use to a relayed path
			}
			if turn && uri.Scheme == stun.SchemeTypeTURNS && uri.Proto != stun.ProtoTypeUDP {
				p.tls[hostPort(uri)] = true
			}
			all = append(all, one{uri, u, s})
		}
	}
	for _, o := range all {
		protocol := relayProtocol(o.uri)
		if protocol == "tcp" && p.tls[hostPort(o.uri)] {
			// The dialer is told an address only: were both allowed, turns: might go out in clear.
			log.Warn("TURN server left out: the same address is also given as turns:", "url", o.url)
			continue
		}
		if protocol == "" {
			p.wantSrflx = true
		} else {
			p.wantRelay = true
			p.relays = append(p.relays, relayURL{protocol, o.url})
		}
		p.servers = append(p.servers, webrtc.ICEServer{
			URLs: []string{o.url}, Username: o.server.Username, Credential: o.server.Credential,
		})
	}
	return p
}

// renewed are the plan's servers with the users and passwords that fresh has for them.
func (p serverPlan) renewed(fresh []ICEServer) []webrtc.ICEServer {
	servers := slices.Clone(p.servers)
	for i, have := range servers { // of one URL each
		for _, s := range fresh {
			if have.Username != "" && s.Username != "" && s.Credential != "" && slices.Contains(s.URLs, have.URLs[0]) {
				servers[i].Username, servers[i].Credential = s.Username, s.Credential
			}
		}
	}
	return servers
}

// has tells whether there is a TURN server to be reached by that protocol.
func (p serverPlan) has(protocol string) bool {
	return slices.ContainsFunc(p.relays, func(r relayURL) bool { return r.protocol == protocol })
}

// urlOf names the TURN URL behind a relay protocol where there is only one; pion does not say.
func (p serverPlan) urlOf(protocol string) string {
	url := ""
	for _, r := range p.relays {
		if r.protocol != protocol {
			continue
		}
		if url != "" {
			return ""
		}
		url = r.url
	}
	return url
}

func hostPort(u *stun.URI) string { return net.JoinHostPort(u.Host, strconv.Itoa(u.Port)) }

// relayProtocol is how a TURN server is reached; empty for STUN.
func relayProtocol(u *stun.URI) string {
	switch {
	case u.Scheme == stun.SchemeTypeTURN && u.Proto == stun.ProtoTypeTCP:
		return "tcp"
	case u.Scheme == stun.SchemeTypeTURN:
		return "udp"
	case u.Scheme == stun.SchemeTypeTURNS && u.Proto == stun.ProtoTypeUDP:
		return "dtls"
	case u.Scheme == stun.SchemeTypeTURNS:
		return "tls"
	}
	return ""
}

// TelnyxServers are the platform's public STUN and TURN servers, in its SDKs' order. Their user and password are public.
func TelnyxServers() []ICEServer {
	const user, password = "testuser", "testpassword"
	return []ICEServer{
		{URLs: []string{"stun:stun.telnyx.com:3478"}},
		{URLs: []string{"stun:stun.l.google.com:19302"}},
		{URLs: []string{"turn:turn.telnyx.com:3478?transport=udp"}, Username: user, Credential: password},
		{URLs: []string{"turn:turn.telnyx.com:3478?transport=tcp"}, Username: user, Credential: password},
		{URLs: []string{"turns:turn.telnyx.com:443"}, Username: user, Credential: password},
		{URLs: []string{"turns:turn2.telnyx.com:443"}, Username: user, Credential: password},
	}
}
