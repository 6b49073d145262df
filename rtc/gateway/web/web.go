// Package web is a softphone in a web page: the published @telnyx/webrtc SDK, as it is, pointed at our gateway, so that
// a person can answer the door in a browser. The page is embedded; the SDK is served from where `make web` put it. The
// tests in test/ run that same page in Chromium.
package web

import (
	"embed"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
)

//go:embed page
var page embed.FS

// sdk is the SDK's bundle, as an ES module, below a folder of Node.js modules.
const sdk = "@telnyx/webrtc/lib/bundle.mjs"

// New serves the page on / and, at /sdk.mjs, the SDK from the folder modules (a node_modules). Without the SDK that
// answers 404, and the page says what to do.
//
// It sets the one header that depends on what the page does, Content-Security-Policy: everything comes from its own
// origin, to which WebSockets go as well. Other headers are the business of whoever mounts it.
func New(modules string) http.Handler {
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // the directory is in the binary
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /sdk.mjs", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		http.ServeFile(w, r, filepath.Join(modules, filepath.FromSlash(sdk)))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// 'self' does not cover ws: in every browser.
		sockets := "ws://" + r.Host + " wss://" + r.Host
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:; "+
			"connect-src 'self' "+sockets+"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		w.Header().Set("Permissions-Policy", "microphone=(self), camera=(), geolocation=()")
		mux.ServeHTTP(w, r)
	})
}

// Modules is where `make web` puts the SDK, seen from a program that `make build` put into bin/.
func Modules() string {
	program, err := os.Executable()
	if err == nil {
		program, err = filepath.EvalSymlinks(program)
	}
	if err != nil {
		return ""
	}
	return filepath.Join(filepath.Dir(program), "..", "rtc", "gateway", "web", "node_modules")
}
