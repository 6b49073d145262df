package install

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// HTTP is an update server: any static host. Metadata lies below metadata/, images and deltas below targets/.
type HTTP struct {
	URL    *url.URL
	Client *http.Client  // with the proxy and the roots that the config names
	Limit  *rate.Limiter // bytes per second, nil for no limit; its burst is at least maxRead
	Idle   time.Duration // a server that sends nothing for so long is given up; 0: a minute
}

// maxRead is how much is read at once, so that a limit is smooth.
const maxRead = 16 << 10

// metadataTime is what a file of metadata may take: a server that sends a byte a minute shall not hold a check for ever.
const metadataTime = 10 * time.Minute

// Metadata fetches a file of metadata, at most limit bytes of it.
func (h HTTP) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, metadataTime)
	defer cancel()
	body, _, err := h.get(ctx, "metadata/"+name, 0)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("it has more than %d bytes", limit)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// Open reads an image or a delta from a byte on.
func (h HTTP) Open(ctx context.Context, path string, from int64) (io.ReadCloser, error) {
	body, skip, err := h.get(ctx, "targets/"+path, from)
	if err != nil {
		return nil, err
	}
	if h.Limit != nil {
		body = limited{body, h.Limit, ctx}
	}
	if _, err := io.CopyN(io.Discard, body, skip); err != nil {
		return nil, errors.Join(err, body.Close())
	}
	return body, nil
}

// get asks for a file from a byte on. A server without ranges sends all of it: what is there already is to be skipped.
func (h HTTP) get(ctx context.Context, path string, from int64) (body io.ReadCloser, skip int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	res, err := h.ask(ctx, h.URL.JoinPath(path), from)
	if err != nil {
		cancel(nil)
		return nil, 0, err
	}
	if res.StatusCode == http.StatusOK {
		skip = from
	}
	return &watched{res.Body, ctx, cancel, cmp.Or(h.Idle, time.Minute)}, skip, nil
}

func (h HTTP) ask(ctx context.Context, where *url.URL, from int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return nil, err
	}
	// A body that somebody compressed on the way has other bytes than the range that was asked for.
	req.Header.Set("Accept-Encoding", "identity")
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	res, err := h.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the update server does not answer: %w", err)
	}
	begin := fmt.Sprintf("bytes %d-", from)
	switch part := res.Header.Get("Content-Range"); {
	case res.StatusCode == http.StatusOK:
		return res, nil
	case res.StatusCode == http.StatusPartialContent && from > 0 && strings.HasPrefix(part, begin):
		return res, nil
	case res.StatusCode == http.StatusPartialContent && from > 0:
		err = fmt.Errorf("%s: asked for bytes from %d on, the server sends %s", where.Redacted(), from, part)
	case res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusForbidden:
		// Stores that list their files for nobody say 403 of those that are not there.
		err = fmt.Errorf("%s: the server says %s: %w", where.Redacted(), res.Status, fs.ErrNotExist)
	default:
		err = fmt.Errorf("%s: the server says %s", where.Redacted(), res.Status)
	}
	return nil, errors.Join(err, res.Body.Close())
}

// watched gives up a body that does not come.
type watched struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc // ends the request
	limit  time.Duration
}

// errIdle is the cause of that.
var errIdle = errors.New("the server sends nothing any more")

func (w *watched) Read(p []byte) (int, error) {
	late := time.AfterFunc(w.limit, func() { w.cancel(errIdle) })
	n, err := w.ReadCloser.Read(p)
	late.Stop()
	if err != nil && err != io.EOF && context.Cause(w.ctx) == errIdle {
		err = errIdle
	}
	return n, err
}

func (w *watched) Close() error {
	defer w.cancel(nil)
	return w.ReadCloser.Close()
}

// limited reads no faster than its limiter allows.
type limited struct {
	io.ReadCloser
	limit *rate.Limiter
	ctx   context.Context
}

func (l limited) Read(p []byte) (int, error) {
	p = p[:min(len(p), maxRead)]
	if err := l.limit.WaitN(l.ctx, len(p)); err != nil {
		return 0, err
	}
	return l.ReadCloser.Read(p)
}
