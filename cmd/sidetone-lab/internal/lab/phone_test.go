package lab

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"sidetone/cmd/sidetone-lab/internal/web"
)

func TestPhoneGetsALogin(t *testing.T) {
	l := start(t, t.TempDir())
	ask := func(body string, headers map[string]string) (int, web.PhoneLogin) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "POST", l.Info().Web+"api/phone", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
		for k, v := range headers {
			req.Header.Set(k, v)
		}
		resp, err := client(t, l).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var p web.PhoneLogin
		_ = json.NewDecoder(resp.Body).Decode(&p) // a refusal may be text
		return resp.StatusCode, p
	}
	status, p := ask(`{"name":"browser1"}`, nil)
	if status != http.StatusOK || p.Name != "browser1" || p.ExpiresAt.IsZero() || len(p.ICEServers) != 1 || len(p.ICEServers[0].URLs) != 3 {
		t.Errorf("%d %+v", status, p)
	}
	conn, f := login(t, l, l.Info().WS, p.Token)
	if f.Error != nil {
		t.Error(f.Error)
	}
	_ = conn.CloseNow()
	for name, c := range map[string]struct {
		body    string
		headers map[string]string
		status  int
	}{
		"another site's script": {`{"name":"browser1"}`, map[string]string{"Sec-Fetch-Site": "cross-site"}, http.StatusForbidden},
		"a form":                {`name=browser1`, map[string]string{"Content-Type": "text/plain"}, http.StatusUnsupportedMediaType},
		"no JSON":               {`{`, nil, http.StatusBadRequest},
		"no name":               {`{}`, nil, http.StatusBadRequest},
		"a device's name":       {`{"name":"door1"}`, nil, http.StatusBadRequest},
		"a strange name":        {`{"name":"../x"}`, nil, http.StatusBadRequest},
	} {
		if status, p := ask(c.body, c.headers); status != c.status || p.Token != "" {
			t.Errorf("%s: %d, want %d", name, status, c.status)
		}
	}
}

func TestPhonePage(t *testing.T) {
	l := start(t, t.TempDir())
	for path, want := range map[string]string{"phone/": "text/html", "phone/phone.js": "text/javascript"} {
		resp, err := client(t, l).Get(l.Info().Web + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), want) || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", path, resp.StatusCode, resp.Header)
		}
		if csp := resp.Header.Values("Content-Security-Policy"); len(csp) != 1 || !strings.Contains(csp[0], " ws://127.0.0.1:") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
}
