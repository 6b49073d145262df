package verto

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// reportRetries are the pauses before the second and later tries of an upload, as Telnyx's SDKs make them.
var reportRetries = []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second}

// reportTimeout bounds one try.
const reportTimeout = 10 * time.Second

// UploadReport posts a call report (JSON) to the platform: to /call_report of the line's own host, under the
// call_report_id that came with registration. It is tried four times in all. ErrNoReportID says that the platform
// wants none.
func (c *Client) UploadReport(ctx context.Context, callID string, body []byte) error {
	session := c.Session()
	if session.CallReportID == "" {
		return ErrNoReportID
	}
	target, err := reportURL(&c.cfg)
	if err != nil {
		return fmt.Errorf("upload of the call report: %w", err)
	}
	transport := &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		TLSClientConfig:   c.cfg.TLS.Clone(),
		DisableKeepAlives: true, // one report a call: no connection is worth keeping
	}
	client := &http.Client{
		Transport: transport,
		Timeout:   reportTimeout,
		// A report goes to the host of the line and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	var last error // of a try that ctx did not cut short: that one says why
	for try := 0; ; try++ {
		err = postReport(ctx, client, target, session, callID, body)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if try == len(reportRetries) {
			return fmt.Errorf("upload of the call report failed %d times, last: %w", try+1, last)
		}
		c.cfg.Logger.Debug("upload of a call report failed, trying again", "call", callID, "err", err)
		select {
		case <-time.After(reportRetries[try]):
		case <-ctx.Done():
			return fmt.Errorf("upload of the call report given up (%w), last: %w", context.Cause(ctx), last)
		}
	}
}

func postReport(ctx context.Context, client *http.Client, target string, s Session, callID string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("x-call-report-id", s.CallReportID)
	req.Header.Set("x-call-id", callID)
	if s.VoiceSDKID != "" {
		req.Header.Set("x-voice-sdk-id", s.VoiceSDKID)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // what it says does not matter, only that it is read
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("POST %s: %s", target, resp.Status)
	}
	return nil
}

// reportURL turns the line's URL into that of its call reports: wss becomes https, ws http, on the same host and port.
func reportURL(cfg *Config) (string, error) {
	u, err := baseURL(cfg)
	if err != nil {
		return "", err
	}
	scheme := "https"
	if u.Scheme == "ws" {
		scheme = "http"
	}
	return (&url.URL{Scheme: scheme, Host: u.Host, Path: "/call_report"}).String(), nil
}
