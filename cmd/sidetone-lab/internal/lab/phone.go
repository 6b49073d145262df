package lab

import (
	"fmt"

	"sidetone/cmd/sidetone-lab/internal/web"
	"sidetone/provisioning/broker"
)

// Phone implements web.Lab. The devices' own names are refused: a page that took one would get its calls.
func (l *Lab) Phone(name string) (web.PhoneLogin, error) {
	switch {
	case !broker.ValidDeviceName(name):
		return web.PhoneLogin{}, fmt.Errorf("%w: %q is no name for a phone: use a-z, digits and hyphens", web.ErrBadRequest, name)
	case l.tokens.IsDevice(name):
		return web.PhoneLogin{}, fmt.Errorf("%w: %s is the name of a device", web.ErrBadRequest, name)
	}
	token, expires, err := l.tokens.Token(name)
	if err != nil {
		return web.PhoneLogin{}, err
	}
	login := web.PhoneLogin{Name: name, Token: token, ExpiresAt: expires}
	servers, _ := l.iceServers(name)
	for _, s := range servers {
		login.ICEServers = append(login.ICEServers, web.ICEServer{URLs: s.URLs, Username: s.Username, Credential: s.Credential})
	}
	return login, nil
}
