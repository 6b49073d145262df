package verto

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Dialect is what differs between the platforms that speak Verto.
type Dialect struct {
	Name            string // "telnyx" or "freeswitch", as in the config
	Prefix          string // of every method name but login
	HasGatewayState bool   // registration is polled by gatewayState
	HasTrickle      bool   // candidate and endOfCandidates exist
	HasTransfer     bool   // modify transfer and modify replace exist
	// ClientSessID: the client makes up the session's id and puts it into every message.
	ClientSessID bool
	// HeaderVariables: custom headers go out as user variables (verto_dvar_* over there), and come in as verto_h_*.
	HeaderVariables bool
}

// The dialects spoken.
var (
	Telnyx     = Dialect{Name: "telnyx", Prefix: "telnyx_rtc.", HasGatewayState: true, HasTrickle: true}
	FreeSWITCH = Dialect{Name: "freeswitch", Prefix: "verto.", HasTransfer: true, ClientSessID: true, HeaderVariables: true}
)

// Method gives the wire name of a method.
func (d Dialect) Method(name string) string {
	switch name {
	case Login, AnonymousLogin, AIConversation:
		return name
	}
	return d.Prefix + name
}

// newSessID makes up a session's id where that is the client's business; elsewhere it is "" until the platform gives one.
func (d Dialect) newSessID() string {
	if !d.ClientSessID {
		return ""
	}
	return uuid.NewString()
}

// outgoing brings params into the dialect's form, or says that the dialect has no such thing.
func (d Dialect) outgoing(method string, p *ClientCallParams) error {
	switch {
	case (method == Candidate || method == EndOfCandidates) && !d.HasTrickle:
		return fmt.Errorf("%s has no trickle ICE: %w", d.Name, errors.ErrUnsupported)
	case method == Modify && (p.Action == "transfer" || p.Action == "replace") && !d.HasTransfer:
		return fmt.Errorf("%s has no %s: %w", d.Name, p.Action, errors.ErrUnsupported)
	}
	if !d.HasTrickle {
		p.Trickle = false
	}
	if d.HeaderVariables && len(p.Dialog.CustomHeaders) > 0 {
		variables := maps.Clone(p.Dialog.UserVariables)
		if variables == nil {
			variables = map[string]any{}
		}
		for _, h := range p.Dialog.CustomHeaders {
			variables[h.Name] = h.Value
		}
		p.Dialog.UserVariables, p.Dialog.CustomHeaders = variables, nil
	}
	return nil
}

// headerParam begins the names of params that carry a custom header of the caller.
const headerParam = "verto_h_"

// incoming gathers what the dialect spreads, and takes away what it says wrongly. raw are the params that p was read
// from. Telnyx is FreeSWITCH inside, so its shapes are met in both dialects.
func (d Dialect) incoming(method string, p *ServerCallParams, raw json.RawMessage) {
	if headers := headerParams(raw); len(headers) > 0 {
		if p.Dialog == nil {
			p.Dialog = &DialogParams{CallID: p.CallID}
		}
		p.Dialog.CustomHeaders = append(p.Dialog.CustomHeaders, headers...)
	}
	if method == Invite || method == Attach {
		// FreeSWITCH names us by the id of our session, and the direction as its own leg has it. So of a call that we made
		// and that it offers anew the direction is inbound, and the caller is us.
		if d.ClientSessID {
			if method == Attach && p.DisplayDirection == "inbound" {
				p.CallerIDName, p.CallerIDNumber = "", ""
			}
			p.CalleeIDName, p.CalleeIDNumber, p.DisplayDirection = "", "", ""
		}
	}
}

// headerParams finds custom headers among params.
func headerParams(raw json.RawMessage) []Header {
	var params map[string]json.RawMessage
	if !strings.Contains(string(raw), headerParam) || json.Unmarshal(raw, &params) != nil {
		return nil
	}
	var headers []Header
	for _, key := range slices.Sorted(maps.Keys(params)) {
		name, ok := strings.CutPrefix(key, headerParam)
		var value string
		if !ok || name == "" || json.Unmarshal(params[key], &value) != nil {
			continue
		}
		if !strings.HasPrefix(strings.ToUpper(name), "X-") {
			name = "X-" + name
		}
		headers = append(headers, Header{Name: name, Value: value})
	}
	return headers
}

// failed tells whether an answer without an error means a failure all the same.
func (d Dialect) failed(method string, p *ClientCallParams, r CallResult) error {
	if d.ClientSessID && method == Info && p.DTMF != "" && r.Message != "SENT" {
		return &Error{Code: CodeSessionError, Message: "the platform knows no such call"}
	}
	return nil
}
