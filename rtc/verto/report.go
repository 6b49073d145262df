package verto

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// reportRetries are the pauses before the second and later tries of an upload, as Telnyx's SDKs make them.
var reportRetries = []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second}

// reportTimeout bounds one try.
const reportTimeout = 10 * time.Second

// Upload is a call report, or a part of one, on its way to the platform.
type Upload struct {
	CallID     string
	ReportID   string // the call_report_id (see Session) of the line that the call was on
	VoiceSDKID string // may be empty
	Body       []byte // JSON
}

// UploadError is the platform's no to a report.
type UploadError struct {
	URL        string
	StatusCode int // of HTTP
}

func (e *UploadError) Error() string {
	return fmt.Sprintf("POST %s: %d %s", e.URL, e.StatusCode, http.StatusText(e.StatusCode))
}

// UploadReport posts a call report to the platform: to /call_report of the line's own host. It is tried four times in
// all. The error is an *UploadError where the platform said no at last, and ErrNoReportID where u has no ReportID.
func (c *Client) UploadReport(ctx context.Context, u Upload) error {
	if u.ReportID == "" {
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
	return deliver(ctx, client, target, u, c.cfg.Logger)
}

// deliver posts a report until it is taken, or was refused once more than there are pauses.
func deliver(ctx context.Context, client *http.Client, target string, u Upload, log *slog.Logger) error {
	var last error // of a try that ctx did not cut short: that one says why
	for try := 0; ; try++ {
		err := postReport(ctx, client, target, u)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("upload of the call report given up (%w), last: %w", context.Cause(ctx), last)
		case try == len(reportRetries):
			return fmt.Errorf("upload of the call report failed %d times, last: %w", try+1, last)
		}
		log.Debug("upload of a call report failed, trying again", "call", u.CallID, "err", err)
		select {
		case <-time.After(reportRetries[try]):
		case <-ctx.Done(): // the next try ends at once
		}
	}
}

func postReport(ctx context.Context, client *http.Client, target string, u Upload) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(u.Body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("x-call-report-id", u.ReportID)
	req.Header.Set("x-call-id", u.CallID)
	if u.VoiceSDKID != "" {
		req.Header.Set("x-voice-sdk-id", u.VoiceSDKID)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // what it says does not matter, only that it is read
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return &UploadError{target, resp.StatusCode}
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
