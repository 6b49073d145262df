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

// Metadata fetches a file of metadata, at most limit bytes of it.
func (h HTTP) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	body, err := h.get(ctx, "metadata/"+name, 0)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return b, err
}

// Open reads an image or a delta from a byte on.
func (h HTTP) Open(ctx context.Context, path string, from int64) (io.ReadCloser, error) {
	body, err := h.get(ctx, "targets/"+path, from)
	if err != nil || h.Limit == nil {
		return body, err
	}
	return limited{body, h.Limit, ctx}, nil
}

func (h HTTP) get(ctx context.Context, path string, from int64) (io.ReadCloser, error) {
	where := h.URL.JoinPath(path)
	ctx, cancel := context.WithCancelCause(ctx)
	idle := &watched{ctx: ctx, cancel: cancel, limit: cmp.Or(h.Idle, time.Minute)}
	body, err := h.ask(ctx, where, from)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	idle.ReadCloser = body
	return idle, nil
}

func (h HTTP) ask(ctx context.Context, where *url.URL, from int64) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return nil, err
	}
	// A body that somebody compressed on the way has other bytes than the range that was asked for.
	req.Header.Set("Accept-Encoding", "identity")
	want := http.StatusOK
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		want = http.StatusPartialContent
	}
	res, err := h.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the update server does not answer: %w", err)
	}
	switch {
	case res.StatusCode == http.StatusNotFound:
		err = fmt.Errorf("%s: %w", where.Redacted(), fs.ErrNotExist)
	case res.StatusCode == http.StatusOK && want == http.StatusPartialContent:
		// A server without ranges sends all of it: what is there already is read past.
		if _, err = io.CopyN(io.Discard, res.Body, from); err == nil {
			return res.Body, nil
		}
	case res.StatusCode != want:
		err = fmt.Errorf("%s: the server says %s", where.Redacted(), res.Status)
	case want == http.StatusPartialContent && !strings.HasPrefix(res.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", from)):
		err = fmt.Errorf("%s: asked for bytes from %d on, the server sends %s", where.Redacted(), from, res.Header.Get("Content-Range"))
	default:
		return res.Body, nil
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
