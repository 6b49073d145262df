package install

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// answer is a server that says one thing to everything.
type answer http.Response

func (a *answer) RoundTrip(req *http.Request) (*http.Response, error) {
	res := http.Response(*a)
	res.Request = req
	return &res, nil
}

// FuzzAnswer reads from a byte on, whatever a server makes of that: what is read is what stands there, or an error.
func FuzzAnswer(f *testing.F) {
	f.Add(206, "bytes 5-9/10", "56789", int64(5))
	f.Add(200, "", "0123456789", int64(5))
	f.Add(206, "bytes 0-9/10", "0123456789", int64(5))
	f.Add(206, "bytes 50-59/60", "0123456789", int64(5))
	f.Add(416, "bytes */10", "", int64(10))
	f.Fuzz(func(t *testing.T, status int, contentRange, body string, from int64) {
		if from < 0 {
			return
		}
		res := &answer{StatusCode: status, Header: http.Header{"Content-Range": {contentRange}}, Body: io.NopCloser(strings.NewReader(body))}
		h := HTTP{URL: &url.URL{Scheme: "https", Host: "updates"}, Client: &http.Client{Transport: res}}
		r, err := h.Open(t.Context(), "image", from)
		if err != nil {
			return
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		want := []byte(body)
		switch {
		case status == http.StatusOK: // all of it, from its begin
			want = want[from:]
		case status != http.StatusPartialContent || !strings.HasPrefix(contentRange, "bytes ") || from == 0:
			t.Fatalf("status %d, %q is taken for bytes from %d on", status, contentRange, from)
		}
		if !bytes.Equal(b, want) {
			t.Errorf("%q, want %q", b, want)
		}
	})
}
