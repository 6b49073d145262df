package web

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// get asks for a path and gives the answer with its body.
func get(t *testing.T, h http.Handler, path string) (*http.Response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1:8700"+path, nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body)
}

func TestPage(t *testing.T) {
	h := New(t.TempDir())
	for path, kind := range map[string]string{"/": "text/html", "/phone.js": "text/javascript", "/phone.css": "text/css"} {
		r, body := get(t, h, path)
		if r.StatusCode != http.StatusOK || !strings.HasPrefix(r.Header.Get("Content-Type"), kind) || body == "" {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.Header.Get("Content-Type"))
		}
		csp := r.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "connect-src 'self' ws://127.0.0.1:8700 wss://127.0.0.1:8700;") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
}

func TestSDK(t *testing.T) {
	modules := t.TempDir()
	h := New(modules)
	if r, _ := get(t, h, "/sdk.mjs"); r.StatusCode != http.StatusNotFound {
		t.Errorf("without an SDK: %d", r.StatusCode)
	}
	file := filepath.Join(modules, "@telnyx", "webrtc", "lib", "bundle.mjs")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("export {};"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r, body := get(t, h, "/sdk.mjs"); r.StatusCode != http.StatusOK || body != "export {};" || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/javascript") {
		t.Errorf("%d %s %q", r.StatusCode, r.Header.Get("Content-Type"), body)
	}
	if r, _ := get(t, h, "/@telnyx/webrtc/lib/bundle.mjs"); r.StatusCode != http.StatusNotFound {
		t.Errorf("the folder itself is served: %d", r.StatusCode)
	}
}

func TestModules(t *testing.T) {
	if m := Modules(); !strings.HasSuffix(filepath.ToSlash(m), "/rtc/gateway/web/node_modules") {
		t.Errorf("%q", m)
	}
}
