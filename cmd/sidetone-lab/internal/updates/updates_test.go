package updates

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math/bits"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sidetone/ota/bundle"
	"sidetone/ota/install"
	"sidetone/ota/release"
)

const chunk = 256 << 10

// serve opens a lab's releases, with v1.0.0 for sim in them.
func serve(t *testing.T) (*Server, install.HTTP, []byte) {
	t.Helper()
	dir := t.TempDir()
	s, err := Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	image := bytes.Repeat([]byte("sidetone"), (2*chunk+80)/8)
	path := filepath.Join(dir, "image")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := release.PrivateKeys(s.Keys())
	if err != nil {
		t.Fatal(err)
	}
	year := time.Now().AddDate(1, 0, 0)
	repo := release.Repository{Dir: s.Dir()}
	if _, _, err := repo.Add(release.Release{Board: "sim", Version: "v1.0.0", Image: path, Expires: year}, keys...); err != nil {
		t.Fatal(err)
	}
	if err := repo.Stamp(year, keys...); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.StripPrefix("/updates", s))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL + "/updates")
	if err != nil {
		t.Fatal(err)
	}
	return s, install.HTTP{URL: u, Client: server.Client()}, image
}

// offered is what a device would take.
func offered(t *testing.T, s *Server, source install.HTTP) (*bundle.Targets, error) {
	t.Helper()
	root, err := os.ReadFile(s.RootFile())
	if err != nil {
		t.Fatal(err)
	}
	fetch := func(name string, limit int64) ([]byte, error) { return source.Metadata(t.Context(), name, limit) }
	targets, _, err := bundle.Trust{Root: root}.Refresh(fetch, "sim", time.Now())
	return targets, err
}

// read reads the image from a byte on, as far as it comes.
func read(t *testing.T, source install.HTTP, from int64) ([]byte, error) {
	t.Helper()
	body, err := source.Open(t.Context(), "sim/v1.0.0.img", from)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

func TestServing(t *testing.T) {
	s, source, image := serve(t)
	targets, err := offered(t, s, source)
	if err != nil || targets.Release != "v1.0.0" {
		t.Fatalf("%+v, %v", targets, err)
	}
	if b, err := read(t, source, 1000); err != nil || !bytes.Equal(b, image[1000:]) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	// What signs is not served, and what was trusted once stays over the lab's next start.
	if _, err := source.Metadata(t.Context(), "../../"+keysDir+"/root.key", 1<<20); err == nil {
		t.Error("a private key is served")
	}
	root, _ := os.ReadFile(s.RootFile())
	again, err := Open(filepath.Dir(s.Dir()), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(again.RootFile()); !bytes.Equal(root, after) {
		t.Error("another root")
	}
	if targets, err := offered(t, again, source); err != nil || targets.Release != "v1.0.0" {
		t.Errorf("after a restart: %+v, %v", targets, err)
	}
}

func TestTrouble(t *testing.T) {
	s, source, image := serve(t)
	set := func(trouble Trouble) {
		t.Helper()
		if err := s.SetTrouble(trouble); err != nil {
			t.Fatal(err)
		}
	}
	set(Trouble{CutAfter: 70_000})
	for _, from := range []int64{0, 70_000, 400_000} {
		if b, err := read(t, source, from); err == nil || !bytes.Equal(b, image[from:from+70_000]) {
			t.Errorf("cut, from %d: %d bytes, %v", from, len(b), err)
		}
	}
	if _, err := offered(t, s, source); err != nil {
		t.Errorf("metadata is cut: %v", err)
	}
	second := 1
	set(Trouble{CorruptChunk: &second})
	targets, err := offered(t, s, source)
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []int64{0, chunk - 5, chunk} {
		b, err := read(t, source, from)
		b = append(bytes.Clone(image[:from]), b...)
		if err != nil || targets.Image.CheckChunk(0, b[:chunk]) != nil || targets.Image.CheckChunk(2, b[2*chunk:]) != nil ||
			!errors.Is(targets.Image.CheckChunk(1, b[chunk:2*chunk]), bundle.ErrMismatch) {
			t.Errorf("corrupt, from %d: %v", from, err)
		}
	}
	// Each chunk is wrong in one answer, which says nothing of those behind it; half a chunk is no answer.
	set(Trouble{CorruptEach: 3})
	if b, err := read(t, source, int64(len(image)-10)); err != nil || !bytes.Equal(b, image[len(image)-10:]) {
		t.Errorf("corrupt each, the end: %d bytes, %v", len(b), err)
	}
	for n := range 4 {
		b, err := read(t, source, int64(max(0, n-1)*chunk))
		b = append(bytes.Clone(image[:max(0, n-1)*chunk]), b...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			at, size := targets.Image.Chunk(i)
			if bad := targets.Image.CheckChunk(i, b[at:at+size]) != nil; bad != (i == n) {
				t.Errorf("corrupt each, answer %d: chunk %d is wrong: %t", n, i, bad)
			}
		}
		flipped := 0
		for i := range b {
			flipped += bits.OnesCount8(b[i] ^ image[i])
		}
		if flipped > 1 {
			t.Errorf("answer %d has %d flipped bits", n, flipped)
		}
	}
	set(Trouble{})
	before := s.Sent()
	if _, err := read(t, source, 100); err != nil {
		t.Fatal(err)
	}
	if sent := s.Sent(); sent.Targets != before.Targets+int64(len(image)-100) || sent.Metadata != before.Metadata || sent.Metadata == 0 {
		t.Errorf("%+v were sent, after %+v", sent, before)
	}
	set(Trouble{Slow: 800})
	began := time.Now()
	b, err := read(t, source, int64(len(image)-30_000))
	if took := time.Since(began); err != nil || len(b) != 30_000 || took < 200*time.Millisecond {
		t.Errorf("slow: %d bytes in %s, %v", len(b), took, err)
	}
	set(Trouble{Gone: true})
	if _, err := offered(t, s, source); err == nil {
		t.Error("gone, and it answers")
	}
	set(Trouble{})
	if b, err := read(t, source, 0); err != nil || !bytes.Equal(b, image) {
		t.Errorf("mended: %d bytes, %v", len(b), err)
	}
	if s.SetTrouble(Trouble{Slow: -1}) == nil {
		t.Error("slower than nothing")
	}
}
