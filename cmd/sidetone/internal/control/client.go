package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// hangupGrace bounds the wait for a call's report after its end was asked for.
const hangupGrace = 3 * time.Second

// Client drives a running daemon through its control socket.
type Client struct {
	path string
	http http.Client
}

// NewClient makes a client of the socket at path; nothing is opened yet.
func NewClient(path string) *Client {
	return &Client{path: path, http: http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, path) },
	}}}
}

// Status asks for the device's whole state.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	resp, err := c.do(ctx, http.MethodGet, "/v1/status", nil)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// Do has the device do one of Commands. The answer, if any, is decoded into result, which may be nil.
func (c *Client) Do(ctx context.Context, command string, request, result any) error {
	resp, err := c.do(ctx, http.MethodPost, "/v1/"+command, request)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if result == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(result)
}

// Watch hands each event to each until ctx ends, or the daemon.
func (c *Client) Watch(ctx context.Context, each func(Event)) error {
	resp, err := c.do(ctx, http.MethodGet, "/v1/events", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for d := json.NewDecoder(resp.Body); ; {
		var e Event
		switch err := d.Decode(&e); {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("the daemon on %s ended: %w", c.path, err)
		}
		each(e)
	}
}

// Call places a call through the daemon; it ends with the call. When ctx ends it hangs up and stays for the report.
// Its error is a *RefusedError while the platform refuses the login.
func (c *Client) Call(ctx context.Context, r CallRequest, each func(Event)) error {
	stream, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	resp, err := c.do(stream, http.MethodPost, "/v1/call", r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	callID := make(chan string, 1)
	ended := make(chan struct{})
	var follower sync.WaitGroup
	defer follower.Wait()
	defer close(ended)
	follower.Go(func() {
		var id string
		select {
		case id = <-callID:
		case <-ended:
			return
		}
		select {
		case <-ctx.Done():
		case <-ended:
			return
		}
		hangup, done := context.WithTimeout(stream, hangupGrace)
		defer done()
		c.Do(hangup, string(Hangup), CallIDRequest{CallID: id}, nil)
		select {
		case <-hangup.Done(): // the report does not come
			cancel()
		case <-ended:
		}
	})
	for d := json.NewDecoder(resp.Body); ; {
		var e Event
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("the daemon on %s ended in mid-call: %w", c.path, err)
		}
		if e.Event == "error" {
			if e.Line != nil {
				return &RefusedError{*e.Line}
			}
			return errors.New(e.Message)
		}
		if e.CallID != "" {
			select {
			case callID <- e.CallID:
			default:
			}
		}
		each(e)
	}
}

func (c *Client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://sidetone"+path, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("no sidetone answers on %s; start it with `sidetone run` (%w)", c.path, errors.Unwrap(err))
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		var e struct {
			Error string `json:"error"`
		}
		if json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(&e) == nil && e.Error != "" {
			return nil, errors.New(e.Error)
		}
		return nil, fmt.Errorf("control socket %s: %s", c.path, resp.Status)
	}
	return resp, nil
}
