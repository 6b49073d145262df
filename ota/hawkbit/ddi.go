// Package hawkbit takes update orders from an Eclipse hawkBit server, by its Direct Device Integration API (DDI, v1). The
// server only says when, and which version: what is installed is what our own signed metadata offers.
package hawkbit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Auth is the kind of a token.
type Auth string

// Kinds of tokens.
const (
	TargetToken  Auth = "TargetToken"  // of one device
	GatewayToken Auth = "GatewayToken" // of all devices of a tenant
)

// Client speaks DDI.
type Client struct {
	URL        *url.URL // https://host, with the path that hawkBit is below, if any
	Tenant     string   // DEFAULT on most servers
	Controller string   // the device's name there
	Auth       Auth
	Token      func() (string, error) // asked before each request
	HTTP       *http.Client
}

// base is what a controller is answered when it polls.
type base struct {
	Config struct {
		Polling struct {
			Sleep string `json:"sleep"` // HH:MM:SS
		} `json:"polling"`
	} `json:"config"`
	Links struct {
		Deployment link `json:"deploymentBase"`
		Cancel     link `json:"cancelAction"`
		ConfigData link `json:"configData"`
	} `json:"_links"`
}

type link struct {
	Href string `json:"href"`
}

// deployment is an order as the server has it.
type deployment struct {
	ID         string `json:"id"`
	Deployment struct {
		Download string `json:"download"` // skip, attempt or forced
		Update   string `json:"update"`   // the same; skip outside the server's maintenance window
		Chunks   []struct {
			Part    string `json:"part"`
			Version string `json:"version"`
		} `json:"chunks"`
	} `json:"deployment"`
}

// How an order is to be handled.
const (
	skip   = "skip"
	forced = "forced"
)

// version is what a deployment names: that of its part "os", or of its only part, as v1.2.3.
func (d deployment) version() (string, error) {
	of := ""
	for _, c := range d.Deployment.Chunks {
		if c.Part == "os" || len(d.Deployment.Chunks) == 1 {
			of = c.Version
		}
	}
	if of == "" {
		return "", fmt.Errorf("order %s names no version: it needs one module, or one of type os, with the version of our release", d.ID)
	}
	return "v" + strings.TrimPrefix(of, "v"), nil
}

// cancellation takes an order back.
type cancellation struct {
	ID     string `json:"id"`
	Cancel struct {
		StopID string `json:"stopId"` // of the order
	} `json:"cancelAction"`
}

// number checks what is to be a part of a path: the number of an action, as hawkBit gives them.
func number(id string) error {
	if _, err := strconv.ParseUint(id, 10, 64); err != nil {
		return fmt.Errorf("the server gives %q for the number of an action", id)
	}
	return nil
}

// Execution and result of feedback.
const (
	proceeding = "proceeding"
	closed     = "closed"
	rejected   = "rejected"

	success = "success"
	failure = "failure"
	none    = "none"
)

// feedback is what became of an order, so far.
type feedback struct {
	ID     string `json:"id"` // of the action; older servers want it
	Status struct {
		Execution string `json:"execution"`
		Result    struct {
			Finished string    `json:"finished"`
			Progress *progress `json:"progress,omitempty"`
		} `json:"result"`
		Details []string `json:"details"`
	} `json:"status"`
}

type progress struct {
	Count int `json:"cnt"`
	Of    int `json:"of"`
}

func newFeedback(execution, finished string, details ...string) (f feedback) {
	f.Status.Execution, f.Status.Result.Finished, f.Status.Details = execution, finished, details
	return f
}

// What is read of an answer at most, and the time between two polls.
const (
	maxAnswer  = 1 << 20
	patience   = time.Minute // for one answer
	leastSleep = time.Second
	mostSleep  = 24 * time.Hour
)

// sleep reads how long the server wants us to wait.
func (b base) sleep() (time.Duration, error) {
	var h, m, s int
	if n, err := fmt.Sscanf(b.Config.Polling.Sleep, "%d:%d:%d", &h, &m, &s); n != 3 || err != nil || h < 0 || m < 0 || s < 0 || h > 1000 || m > 59 || s > 59 {
		return 0, fmt.Errorf("the server wants us to sleep for %q, which is no HH:MM:SS", b.Config.Polling.Sleep)
	}
	d := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second
	return min(max(d, leastSleep), mostSleep), nil
}

func (c *Client) poll(ctx context.Context) (b base, err error) {
	return b, c.do(ctx, http.MethodGet, c.URL.JoinPath(c.Tenant, "controller", "v1", c.Controller), nil, &b)
}

// follow asks for what a link leads to.
func (c *Client) follow(ctx context.Context, l link, out any) error {
	u, err := c.resolve(l)
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodGet, u, nil, out)
}

// resolve keeps a link at our server, whatever name that has for itself: the token goes nowhere else.
func (c *Client) resolve(l link) (*url.URL, error) {
	u, err := url.Parse(l.Href)
	if err != nil {
		return nil, err
	}
	at := *c.URL
	at.Path, at.RawPath, at.RawQuery = u.Path, u.RawPath, u.RawQuery
	return &at, nil
}

// action is where an order or its cancellation is told of.
func (c *Client) action(kind, id string) *url.URL {
	return c.URL.JoinPath(c.Tenant, "controller", "v1", c.Controller, kind, id, "feedback")
}

// errGone says that the server has no such order any more.
var errGone = errors.New("the order is over")

func (c *Client) do(ctx context.Context, method string, at *url.URL, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	token, err := c.Token()
	if err != nil {
		return err
	}
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, at.String(), body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", string(c.Auth)+" "+token)
	req.Header.Set("Accept", "application/json") // hawkBit has HAL, too
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	switch {
	case err != nil:
		return err
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
		return fmt.Errorf("hawkBit does not take our %s for %s of %s: it says %s", c.Auth, c.Controller, c.Tenant, res.Status)
	case res.StatusCode == http.StatusGone || res.StatusCode == http.StatusNotFound && method == http.MethodPost:
		return errGone
	case res.StatusCode/100 != 2:
		return fmt.Errorf("hawkBit answers %s %s with %s", method, at.Path, res.Status)
	case out == nil:
		return nil
	}
	return json.Unmarshal(answer, out)
}
