package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	reportPath = "/call_report"
	maxReport  = 2 << 20 // bytes of a report
)

// serveReport takes in a call report from a client that registered. Browsers ask first, by OPTIONS.
func (g *Gateway) serveReport(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	switch r.Method {
	case http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "POST, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "content-type, x-call-id, x-call-report-id, x-voice-sdk-id")
		h.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
		return
	case http.MethodPost:
	default:
		h.Set("Allow", "POST, OPTIONS")
		http.Error(w, "a call report is sent by POST", http.StatusMethodNotAllowed)
		return
	}
	if g.away.Load() {
		http.Error(w, "no reports are taken now: a fault made on purpose", http.StatusServiceUnavailable)
		return
	}
	reportID, callID := r.Header.Get("x-call-report-id"), r.Header.Get("x-call-id")
	if reportID == "" || callID == "" || len(callID) > maxCallID {
		http.Error(w, "the headers x-call-report-id and x-call-id are needed", http.StatusBadRequest)
		return
	}
	name := g.reporter(reportID)
	if name == "" {
		http.Error(w, "no client has this x-call-report-id: it comes with the answer to gatewayState", http.StatusForbidden)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReport))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		http.Error(w, "a call report has at most 2 MB", http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		http.Error(w, "the call report did not come whole", http.StatusBadRequest)
		return
	}
	var report struct {
		Segment     *int            `json:"segment"`
		FlushReason json.RawMessage `json:"flushReason"`
		Quality     struct {
			MOS *float64 `json:"mos"`
		} `json:"quality"`
	}
	if !json.Valid(body) || !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		http.Error(w, "a call report is a JSON object", http.StatusBadRequest)
		return
	}
	_ = decode(body, &report)
	stats := ReportStats{
		CallID: callID, Time: time.Now(), Bytes: len(body), MOS: report.Quality.MOS,
		Segment: report.Segment, Final: report.FlushReason == nil,
	}
	if stats.File, err = g.reports.put(callID, stats.Time, body); err != nil {
		g.log.Error("call report not stored", "client", name, "call", callID, "err", err)
		http.Error(w, "the call report could not be stored", http.StatusInsufficientStorage)
		return
	}
	g.mu.Lock()
	c := g.clients[name]
	c.reports = append(c.reports, stats)
	c.reports = c.reports[max(0, len(c.reports)-maxCalls):]
	g.mu.Unlock()
	g.notify()
	h.Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, "{}\n")
}

// reporter is the client that was given a call_report_id; empty when none was.
func (g *Gateway) reporter(reportID string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, c := range g.clients {
		if slices.Contains(c.reportIDs, reportID) {
			return name
		}
	}
	return ""
}

// reportStore keeps the newest reports as files.
type reportStore struct {
	dir string
	max int

	mu    sync.Mutex
	files []string // oldest first
}

const reportSuffix = ".report.json"

func newReportStore(dir string, most int) (*reportStore, error) {
	s := &reportStore{dir: dir, max: most}
	if dir == "" {
		return s, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("gateway: reports cannot be kept: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"+reportSuffix)) // sorted, and names begin with the time
	if err != nil {
		return nil, fmt.Errorf("gateway: reports cannot be kept: %w", err)
	}
	s.files = files
	return s, nil
}

// put writes a report and returns its path. Nothing of the name comes from outside but letters, digits and hyphens.
func (s *reportStore) put(callID string, at time.Time, body []byte) (string, error) {
	if s.dir == "" {
		return "", errors.New("reports are not kept: no report directory is set")
	}
	call := strings.Map(func(r rune) rune {
		if r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return -1
	}, callID)
	name := fmt.Sprintf("%s-%s-%s%s", at.UTC().Format("20060102T150405.000000"), call[:min(len(call), 40)], uuid.NewString()[:8], reportSuffix)
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, body, 0o600); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files = append(s.files, path)
	for len(s.files) > s.max {
		if err := os.Remove(s.files[0]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		s.files = s.files[1:]
	}
	return path, nil
}
