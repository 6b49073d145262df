package web

import (
	"errors"
	"net/http"
	"time"

	softphone "sidetone/rtc/gateway/web"
)

// PhoneLogin is what the softphone needs to log in at the gateway.
type PhoneLogin struct {
	Name       string      `json:"name"`
	Token      string      `json:"token"`
	ExpiresAt  time.Time   `json:"expires_at"`
	ICEServers []ICEServer `json:"ice_servers"`
}

// ICEServer is one, as browsers want it (RTCIceServer).
type ICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

// phone serves the softphone below /phone/.
func phone() http.Handler { return http.StripPrefix("/phone", softphone.New(softphone.Modules())) }

// phoneLogin hands out the login of a name that no device has. Like a press, only our own pages may ask for it.
func (p *page) phoneLogin(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Name string `json:"name"`
	}
	if !readJSON(w, r, &in) {
		return
	}
	login, err := p.lab.Phone(in.Name)
	switch {
	case errors.Is(err, ErrBadRequest):
		writeJSON(w, http.StatusBadRequest, Reply{Error: err.Error()})
	case err != nil:
		writeJSON(w, http.StatusInternalServerError, Reply{Error: err.Error()})
	default:
		writeJSON(w, http.StatusOK, login)
	}
}
