package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Remote is a lab that runs on a directory, seen from a sub-command. Its methods say in their errors what the lab said.
type Remote struct {
	state state
	none  error // what to say when nobody answers
	http  http.Client
}

// Open finds the lab that runs on dir.
func Open(dir string) (*Remote, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	none := fmt.Errorf("no lab runs on %s; start one with: sidetone-lab up --dir %s", abs, dir)
	st, err := read(abs)
	if err != nil {
		return nil, none
	}
	return &Remote{state: st, none: none, http: http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}, nil
}

// Token gives a token for the client of that name, with a new credential when it has none.
func (r *Remote) Token(ctx context.Context, name string) (t Token, err error) {
	return t, r.do(ctx, "POST", "/token", Ring{Name: name}, &t)
}

// Ring makes destination from call the client of that name.
func (r *Remote) Ring(ctx context.Context, name, from string) (callID string, err error) {
	var c Call
	err = r.do(ctx, "POST", "/ring", Ring{Name: name, From: from}, &c)
	return c.CallID, err
}

// Transfer connects the client of a call to another client or a destination.
func (r *Remote) Transfer(ctx context.Context, callID, to string) error {
	return r.do(ctx, "POST", "/transfer", Transfer{CallID: callID, To: to}, &struct{}{})
}

// Stats tells what the lab knows of its clients.
func (r *Remote) Stats(ctx context.Context) (s Stats, err error) {
	return s, r.do(ctx, "GET", "/stats", nil, &s)
}

// Faults lists every fault, made or not.
func (r *Remote) Faults(ctx context.Context) (f []Fault, err error) {
	return f, r.do(ctx, "GET", "/faults", nil, &f)
}

// SetFault makes or mends a fault, and lists all.
func (r *Remote) SetFault(ctx context.Context, f Fault) (all []Fault, err error) {
	return all, r.do(ctx, "POST", "/faults", f, &all)
}

func (r *Remote) do(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, r.state.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+r.state.Secret)
	resp, err := r.http.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return r.none // its lab was killed, or it would have removed its file
	}
	if err != nil {
		return fmt.Errorf("the lab (process %d) does not answer: %w", r.state.PID, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("reading the lab's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(b)))
	}
	return json.Unmarshal(b, out)
}
