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
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(d.Status(r.Context()))
	})
	mux.HandleFunc("POST /v1/press", post(func(r *http.Request, q PressRequest) error { return d.Press(r.Context(), q.Button) }))
	for _, a := range Acts {
		mux.HandleFunc("POST /v1/"+string(a.Act), post(func(r *http.Request, q CallIDRequest) error {
			return d.Do(r.Context(), a.Act, q.CallID)
		}))
	}
	mux.HandleFunc("POST /v1/transfer", post(func(r *http.Request, q TransferRequest) error {
		return d.Transfer(r.Context(), q.CallID, q.Destination)
	}))
	mux.HandleFunc("POST /v1/dtmf", post(func(r *http.Request, q DTMFRequest) error {
		return d.DTMF(r.Context(), q.CallID, q.Digits)
	}))
	mux.HandleFunc("POST /v1/call", func(w http.ResponseWriter, r *http.Request) {
		var q CallRequest
		if err := read(r, &q); err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		// Events go out as they come: a line of JSON each, flushed.
		w.Header().Set("Content-Type", "application/x-ndjson")
		out := http.NewResponseController(w)
		enc := json.NewEncoder(w)
		err := d.Call(r.Context(), q, func(e Event) {
			enc.Encode(e)
			out.Flush()
		})
		var refused *RefusedError
		switch {
		case errors.As(err, &refused):
			enc.Encode(Event{Event: "error", Message: err.Error(), Line: &refused.Status})
		case err != nil:
			enc.Encode(Event{Event: "error", Message: err.Error()})
		}
	})
	return mux
}

func post[Q any](do func(*http.Request, Q) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q Q
		if err := read(r, &q); err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		if err := do(r, q); err != nil {
			refuse(w, http.StatusConflict, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

func read(r *http.Request, q any) error {
	d := json.NewDecoder(io.LimitReader(r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(q); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func refuse(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}
