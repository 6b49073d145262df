package admin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"
)

// Lab is what the sub-commands ask of.
type Lab interface {
	Token(name string) (Token, error)
	Ring(ctx context.Context, name, from string) (callID string, err error)
	Transfer(ctx context.Context, callID, to string) error
	Stats() Stats
	Faults() []Fault
	SetFault(Fault) error
}

// Server serves the sub-commands.
type Server struct {
	dir  string
	http *http.Server
	done chan struct{}
}

// Serve begins to serve the sub-commands of a lab on dir, whose page is at web, until Close.
func Serve(dir, web string, lab Lab, logger *slog.Logger) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for sub-commands: %w", err)
	}
	st := state{PID: os.Getpid(), URL: "http://" + l.Addr().String(), Secret: rand.Text(), Web: web}
	if err := write(dir, st); err != nil {
		_ = l.Close()
		return nil, err
	}
	s := &Server{
		dir: dir, done: make(chan struct{}),
		http: &http.Server{
			Handler: authorized(st.Secret, routes(lab)), ReadHeaderTimeout: 5 * time.Second,
			ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		},
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(l)
	}()
	return s, nil
}

// Close stops serving at once.
func (s *Server) Close() {
	_ = s.http.Close()
	<-s.done
	remove(s.dir)
}

// authorized lets in who knows the secret.
func authorized(secret string, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte("Bearer " + secret))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		have := sha256.Sum256([]byte(r.Header.Get("Authorization")))
		if subtle.ConstantTimeCompare(have[:], want[:]) != 1 {
			http.Error(w, "the secret is wrong", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func routes(lab Lab) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		var in Ring
		if read := decode(w, r, &in); !read {
			return
		}
		t, err := lab.Token(in.Name)
		answer(w, t, err)
	})
	mux.HandleFunc("POST /ring", func(w http.ResponseWriter, r *http.Request) {
		var in Ring
		if read := decode(w, r, &in); !read {
			return
		}
		id, err := lab.Ring(r.Context(), in.Name, in.From)
		answer(w, Call{id}, err)
	})
	mux.HandleFunc("POST /transfer", func(w http.ResponseWriter, r *http.Request) {
		var in Transfer
		if read := decode(w, r, &in); !read {
			return
		}
		answer(w, struct{}{}, lab.Transfer(r.Context(), in.CallID, in.To))
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { answer(w, lab.Stats(), nil) })
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { answer(w, lab.Faults(), nil) })
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		var in Fault
		if read := decode(w, r, &in); !read {
			return
		}
		err := lab.SetFault(in)
		answer(w, lab.Faults(), err)
	})
	return mux
}

func decode(w http.ResponseWriter, r *http.Request, v any) bool {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return err == nil
}

// answer writes v, or the error as text for a person.
func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
