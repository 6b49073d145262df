package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"
)

// maxBody bounds a request, in bytes.
const maxBody = 64 << 10

// Serve answers on l until ctx ends, then ends the requests under way and removes the socket.
func Serve(ctx context.Context, l net.Listener, path string, d Device, log *slog.Logger) error {
	srv := &http.Server{
		Handler:           handler(d),
		ReadHeaderTimeout: 5 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		if srv.Shutdown(stop) != nil {
			srv.Close()
		}
	}()
	err := srv.Serve(l)
	if ctx.Err() == nil {
		return err
	}
	<-done
	os.Remove(path)
	return nil
}

func handler(d Device) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) { answer(w, d.Status(r.Context())) })
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) {
		tell := stream(w)
		if err := d.Watch(r.Context(), tell); err != nil && r.Context().Err() == nil {
			tell(Event{Event: "error", Message: err.Error()})
		}
	})
	for _, c := range commands {
		mux.HandleFunc("POST /v1/"+c.name, func(w http.ResponseWriter, r *http.Request) {
			request, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
			if err != nil {
				refuse(w, http.StatusBadRequest, err)
				return
			}
			result, err := c.run(r.Context(), d, request)
			switch {
			case errors.Is(err, ErrRequest):
				refuse(w, http.StatusBadRequest, err)
			case err != nil:
				refuse(w, http.StatusConflict, err)
			case result == nil:
				w.WriteHeader(http.StatusNoContent)
			default:
				answer(w, result)
			}
		})
	}
	mux.HandleFunc("POST /v1/call", func(w http.ResponseWriter, r *http.Request) {
		var q CallRequest
		if err := decode(http.MaxBytesReader(w, r.Body, maxBody), &q); err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		tell := stream(w)
		err := d.Call(r.Context(), q, func(e Event) { _ = tell(e) })
		var refused *RefusedError
		switch {
		case errors.As(err, &refused):
			tell(Event{Event: "error", Message: err.Error(), Line: &refused.Status})
		case err != nil:
			tell(Event{Event: "error", Message: err.Error()})
		}
	})
	return mux
}

// stream gives what sends events as they come: a line of JSON each, flushed. The first flush says that all is well.
func stream(w http.ResponseWriter) func(Event) error {
	w.Header().Set("Content-Type", "application/x-ndjson")
	out, enc := http.NewResponseController(w), json.NewEncoder(w)
	_ = out.Flush()
	return func(e Event) error {
		if err := enc.Encode(e); err != nil {
			return err
		}
		return out.Flush()
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}
