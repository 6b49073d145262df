package update

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"

	"sidetone/ota/disk"
	"sidetone/ota/hawkbit"
	"sidetone/provisioning/config"
)

// newOrders makes what asks a hawkBit server for orders, or nil where there is none.
func newOrders(u config.Update, c Config, client *http.Client) (*hawkbit.Agent, error) {
	h := u.HawkBit
	if h.URL == "" {
		return nil, nil
	}
	base, err := url.Parse(h.URL)
	if err != nil {
		return nil, fmt.Errorf("update.hawkbit.url: %w", err)
	}
	auth := hawkbit.TargetToken
	if h.Gateway {
		auth = hawkbit.GatewayToken
	}
	a := hawkbit.New(nil, &hawkbit.Client{
		URL: base, Tenant: h.Tenant, Controller: cmp.Or(h.Controller, c.Device), Auth: auth, HTTP: client,
		Token: func() (string, error) {
			token, err := c.Secrets.Read("update.hawkbit.token_file", h.TokenFile, "write the target's token there, or the gateway's")
			return token.Reveal(), err
		},
	}, disk.Record{Path: filepath.Join(c.StateDir, "update", "hawkbit.json")})
	a.Log = c.Log.With("part", "hawkbit")
	return a, nil
}
