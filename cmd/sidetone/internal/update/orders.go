package update

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

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
		Token: func() (string, error) { return secret("update.hawkbit.token_file", h.TokenFile) },
	}, disk.Record{Path: filepath.Join(c.StateDir, "update", "hawkbit.json")})
	a.Log = c.Log.With("part", "hawkbit")
	return a, nil
}

// secret reads a file that nobody else may read.
func secret(key, path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("%s: others can read %s (mode %04o): chmod 600 it", key, path, mode)
	}
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}
