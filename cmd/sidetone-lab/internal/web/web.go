// Package web is the lab's page: the devices and their calls as they change, the last call reports, and a button to
// press for each device. Files are embedded; there is no build step and nothing is loaded from elsewhere.
//
//	GET  /            the page
//	GET  /api/state   State, once
//	GET  /api/events  State at each change, as Server-Sent Events
//	POST /api/press   {"device","button"} -> Reply
//	GET  /phone/      the softphone
//	POST /api/phone   {"name"} -> PhoneLogin
package web

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"sidetone/cmd/sidetone-lab/internal/report"
)

//go:embed static
var static embed.FS

// State is everything that the page shows.
type State struct {
	Devices []Device        `json:"devices"`
	Reports []report.Report `json:"reports"` // the newest first
}

// Update is how far new firmware has come on a device.
type Update struct {
	Phase      string `json:"phase"`
	Reason     string `json:"reason,omitempty"`
	Latest     string `json:"latest_version,omitempty"`
	Percentage *int   `json:"update_percentage,omitempty"`
}

// Device is one client of the lab. Times that are not known are absent.
type Device struct {
	Name       string    `json:"name"`
	Enrolled   bool      `json:"enrolled"`         // it may be pressed
	Status     string    `json:"status,omitempty"` // online or offline, by MQTT
	Registered bool      `json:"registered"`       // at the gateway
	Firmware   string    `json:"firmware,omitempty"`
	Board      string    `json:"board,omitempty"`
	Remote     string    `json:"remote,omitempty"` // address of its socket
	Line       string    `json:"line,omitempty"`   // state of its line, by itself
	Update     Update    `json:"update,omitzero"`  // of its firmware, by itself
	Call       *Call     `json:"call,omitempty"`   // the call there is
	Last       *Call     `json:"last,omitempty"`   // the call there was
	Live       []Point   `json:"live,omitempty"`   // of Call, else of Last; the oldest first
	Buttons    []string  `json:"buttons"`
	Since      time.Time `json:"since,omitzero"` // of Registered
}

// Point is what a device measured in one interval of a call. What is not known is absent.
type Point struct {
	Time      time.Time `json:"t"`
	Buffer    *float64  `json:"buffer,omitempty"`    // ms in the playout buffer
	Target    *float64  `json:"target,omitempty"`    // ms that the buffer aims at
	Loss      *float64  `json:"loss,omitempty"`      // percent of packets
	Concealed *float64  `json:"concealed,omitempty"` // percent of what was played
	RTT       *float64  `json:"rtt,omitempty"`       // ms
	MOS       *float64  `json:"mos,omitempty"`       // by Telnyx's formula, of the call so far
}

// Call is a call of a device.
type Call struct {
	ID        string    `json:"id"`
	State     string    `json:"state"`
	Direction string    `json:"direction,omitempty"`
	Peer      string    `json:"peer,omitempty"`
	Started   time.Time `json:"started,omitzero"`
	Active    time.Time `json:"active,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
	Cause     string    `json:"cause,omitempty"`
}

// Reply is what a device said to a press.
type Reply struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// Lab is what the page shows and drives.
type Lab interface {
	State() State
	// Watch gives a value after each change of State, until ctx ends; several changes make one.
	Watch(ctx context.Context) <-chan struct{}
	// Press presses a device's button and waits for its reply.
	Press(ctx context.Context, device, button string) (Reply, error)
	// Phone gives a login to the softphone of that name.
	Phone(name string) (PhoneLogin, error)
}

// ErrBadRequest is in errors of Press and Phone that the asker can cure.
var ErrBadRequest = errors.New("bad request")

// keepalive is how often an idle stream of events says something, so that both ends notice a dead connection.
const keepalive = 20 * time.Second

// New makes the page of a lab that is reached by hosts. A request for any other host is refused: it comes of a name
// that somebody pointed at us (DNS rebinding).
func New(lab Lab, hosts []string) http.Handler {
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // the directory is in the binary
	}
	p := page{lab: lab, hosts: hosts}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /api/state", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, lab.State()) })
	mux.HandleFunc("GET /api/events", p.events)
	mux.HandleFunc("POST /api/press", p.press)
	mux.Handle("GET /phone/", phone())
	mux.HandleFunc("POST /api/phone", p.phoneLogin)
	// Forms and scripts of other sites are told by Sec-Fetch-Site, or by Origin in older browsers.
	return p.guard(http.NewCrossOriginProtection().Handler(mux))
}

type page struct {
	lab   Lab
	hosts []string
}

// guard checks the host and sets the headers that keep a page to itself.
func (p *page) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !p.known(r.Host) {
			http.Error(w, "This lab is not reached by that name. Use one of: "+strings.Join(p.hosts, ", "), http.StatusMisdirectedRequest)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store") // the next lab on this port may be another
		next.ServeHTTP(w, r)
	})
}

// known tells whether a Host header names one of our hosts, with any port.
func (p *page) known(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	return slices.ContainsFunc(p.hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// events streams the state at each change, until the client goes or the lab ends.
func (p *page) events(w http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(w)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	changes := p.lab.Watch(r.Context())
	tick := time.NewTicker(keepalive)
	defer tick.Stop()
	for {
		b, err := json.Marshal(p.lab.State())
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", b); err != nil {
			return
		}
		if err := out.Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-changes:
		case <-tick.C:
		}
	}
}

func (p *page) press(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Device string `json:"device"`
		Button string `json:"button"`
	}
	if !readJSON(w, r, &in) {
		return
	}
	reply, err := p.lab.Press(r.Context(), in.Device, in.Button)
	switch {
	case errors.Is(err, ErrBadRequest):
		writeJSON(w, http.StatusBadRequest, Reply{Error: err.Error()})
	case err != nil:
		writeJSON(w, http.StatusGatewayTimeout, Reply{Error: err.Error()})
	default:
		writeJSON(w, http.StatusOK, reply)
	}
}

// readJSON reads a small body into in, or answers what is wrong with it and reports false.
func readJSON(w http.ResponseWriter, r *http.Request, in any) bool {
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); kind != "application/json" {
		writeJSON(w, http.StatusUnsupportedMediaType, Reply{Error: "send application/json"})
		return false
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(in); err != nil {
		writeJSON(w, http.StatusBadRequest, Reply{Error: "the body is not JSON: " + err.Error()})
		return false
	}
	return true
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
