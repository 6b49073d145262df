package install

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"sidetone/ota"
	"sidetone/ota/bundle"
	"sidetone/ota/disk"
	"sidetone/ota/release"
	"sidetone/ota/slot"
)

var key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))

// chunk is as small as it may be.
const chunk = 64 << 10

// world is a server with a release, and a device with two slots in files.
type world struct {
	Installer
	t      *testing.T
	dir    string
	repo   release.Repository
	old    []byte
	image  []byte
	trust  bundle.Trust
	mu     sync.Mutex
	asked  []string                                             // path and range of each request; mu guards it
	change func(http.ResponseWriter, *http.Request) (done bool) // before the server answers
}

// slots is boot control that only opens.
type slots struct {
	slot.Control
	path, running string
}

func (s slots) Open() (slot.Device, error)        { return disk.OS.Open(s.path, os.O_RDWR, 0) }
func (s slots) OpenRunning() (slot.Device, error) { return disk.OS.Open(s.running, os.O_RDONLY, 0) }

// images are the one that the device runs, and that of the release.
func images() (old, image []byte) {
	r := rand.New(rand.NewPCG(1, 1))
	old = make([]byte, 24*chunk+12_345)
	for n := range old {
		old[n] = byte(r.Uint32())
	}
	image = bytes.Clone(old)
	copy(image[12*chunk:], "a small change")
	return old, image
}

// released is what the server has: made once, as the compression of a delta takes its time.
var released = sync.OnceValues(func() (fstest.MapFS, error) {
	dir, err := os.MkdirTemp("", "install")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	old, image := images()
	repo := release.Repository{Dir: filepath.Join(dir, "server"), ChunkSize: chunk}
	keys := release.Keys{Public: []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}, Threshold: 1}
	year := time.Now().AddDate(1, 0, 0)
	v2 := release.Release{Board: "rpi4", Version: "v2.0.0", Image: filepath.Join(dir, "new.img"), From: []string{filepath.Join(dir, "old.img")}, Expires: year}
	if err := errors.Join(os.WriteFile(v2.From[0], old, 0o600), os.WriteFile(v2.Image, image, 0o600)); err != nil {
		return nil, err
	}
	if err := repo.Root(keys, keys, keys, year, key); err != nil {
		return nil, err
	}
	if _, _, err := repo.Add(v2, key); err != nil {
		return nil, err
	}
	if err := repo.Stamp(year, key); err != nil {
		return nil, err
	}
	all := fstest.MapFS{}
	return all, fs.WalkDir(os.DirFS(repo.Dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all[path] = &fstest.MapFile{Mode: 0o600}
			all[path].Data, err = os.ReadFile(filepath.Join(repo.Dir, path))
		}
		return err
	})
})

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir()}
	w.old, w.image = images()
	w.file("slot", make([]byte, 32*chunk))
	made, err := released()
	if err != nil {
		t.Fatal(err)
	}
	w.repo = release.Repository{Dir: filepath.Join(w.dir, "server"), ChunkSize: chunk}
	if err := os.CopyFS(w.repo.Dir, made); err != nil {
		t.Fatal(err)
	}
	first, err := w.repo.First()
	if err != nil {
		t.Fatal(err)
	}
	w.trust = bundle.Trust{Root: first}

	files := http.FileServer(http.Dir(w.repo.Dir))
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		w.mu.Lock()
		w.asked = append(w.asked, strings.TrimSpace(req.URL.Path+" "+req.Header.Get("Range")))
		change := w.change
		w.mu.Unlock()
		if change == nil || !change(rw, req) {
			files.ServeHTTP(rw, req)
		}
	}))
	t.Cleanup(server.Close)
	u, _ := url.Parse(server.URL)
	w.Installer = Installer{
		Source: HTTP{URL: u, Client: server.Client()}, Board: "rpi4", Running: "v1.0.0",
		Slot:  slots{path: w.dir + "/slot", running: w.dir + "/running"},
		Trust: func() (bundle.Trust, error) { return w.trust, nil },
		Save:  func(t bundle.Trust) error { w.trust = t; return nil },
		Head:  w.dir + "/head", Now: time.Now, Log: slog.New(slog.DiscardHandler), Patience: 20 * time.Millisecond, Pause: time.Millisecond,
	}
	return w
}

// answer has the server ask change first, from now on.
func (w *world) answer(change func(http.ResponseWriter, *http.Request) (done bool)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.change = change
}

// requests gives what the server was asked for since the last time.
func (w *world) requests() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.asked = nil }()
	return strings.Join(w.asked, ", ")
}

func (w *world) file(name string, b []byte) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), b, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// hasOld has the slot that runs hold the old image, and what else a larger slot has behind it.
func (w *world) hasOld() { w.file("running", append(bytes.Clone(w.old), make([]byte, 5*chunk)...)) }

func (w *world) inSlot() []byte {
	b, err := os.ReadFile(w.dir + "/slot")
	if err != nil {
		w.t.Fatal(err)
	}
	return b[:len(w.image)]
}

// all does the whole of an update, beginning at offset.
func (w *world) all(offset int64) (reached int64, err error) {
	r, err := w.Check(w.t.Context(), false)
	if err != nil || r == nil {
		return 0, fmt.Errorf("check: %v, %w", r, err)
	}
	if err := w.Fetch(w.t.Context(), *r, offset, func(n int64) { reached = n }); err != nil {
		return reached, err
	}
	if offset < int64(len(w.image)) && bytes.Equal(w.inSlot()[:slot.Head], w.image[:slot.Head]) {
		w.t.Error("the head is there before the body was read back")
	}
	if err := w.ReadBack(w.t.Context(), *r); err != nil {
		return reached, err
	}
	return reached, w.WriteHead(w.t.Context(), *r)
}

func TestWhole(t *testing.T) {
	w := newWorld(t)
	reached, err := w.all(0)
	if err != nil || reached != int64(len(w.image)) || !bytes.Equal(w.inSlot(), w.image) {
		t.Fatalf("%d, %v", reached, err)
	}
	// A cut before anybody noted that it is whole costs no download, not even where none is allowed.
	w.requests()
	w.NeverFull = true
	if reached, err := w.all(int64(len(w.image))); err != nil || reached != 0 {
		t.Errorf("%d, %v", reached, err)
	}
	if asked := w.requests(); strings.Contains(asked, "/targets/") || !bytes.Equal(w.inSlot(), w.image) {
		t.Errorf("asked for %s", asked)
	}
	w.Running = "v2.0.0"
	if r, err := w.Check(t.Context(), false); r != nil || err != nil {
		t.Errorf("up to date: %v, %v", r, err)
	}
	w.Running = "v3.0.0"
	if _, err := w.Check(t.Context(), false); !errors.Is(err, bundle.ErrDowngrade) {
		t.Errorf("downgrade: %v", err)
	}
}

// The server breaks off again and again, at any byte: each time the download goes on behind the last whole chunk.
func TestResume(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(2, 2))
	breaks := 0
	w.answer(func(rw http.ResponseWriter, req *http.Request) bool {
		if !strings.Contains(req.URL.Path, "/targets/") || breaks >= 20 {
			return false
		}
		breaks++
		var from int64
		_, _ = fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-", &from)
		rw.Header().Set("Content-Length", fmt.Sprint(int64(len(w.image))-from))
		if from > 0 {
			rw.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(w.image)-1, len(w.image)))
			rw.WriteHeader(http.StatusPartialContent)
		}
		_, _ = rw.Write(w.image[from:min(from+r.Int64N(2*chunk+chunk/4), int64(len(w.image)))])
		panic(http.ErrAbortHandler)
	})
	w.Patience = time.Minute
	if _, err := w.all(0); err != nil || !bytes.Equal(w.inSlot(), w.image) {
		t.Fatal(err)
	}
	if breaks != 20 || w.Bytes > int64(len(w.image))+20*chunk {
		t.Errorf("%d breaks, %d bytes fetched", breaks, w.Bytes)
	}
}

// A server that stays connected and sends nothing more is given up, and asked again where it was.
func TestStalledServer(t *testing.T) {
	w := newWorld(t)
	stalled := false
	w.answer(func(rw http.ResponseWriter, req *http.Request) bool {
		if stalled || !strings.Contains(req.URL.Path, "/targets/") {
			return false
		}
		stalled = true
		rw.Header().Set("Content-Length", fmt.Sprint(len(w.image)))
		_, _ = rw.Write(w.image[:chunk+5])
		_ = http.NewResponseController(rw).Flush()
		<-req.Context().Done() // the device has gone
		return true
	})
	h := w.Source.(HTTP)
	h.Idle = time.Second
	w.Source, w.Patience = h, time.Minute
	if _, err := w.all(0); err != nil || !bytes.Equal(w.inSlot(), w.image) {
		t.Fatal(err)
	}
	if asked := w.requests(); !stalled || !strings.Contains(asked, fmt.Sprintf("bytes=%d-", chunk)) {
		t.Errorf("asked for %s", asked)
	}
}

// A server without ranges that stalls before it comes to what is missing is given up, too.
func TestStalledBeforeTheRange(t *testing.T) {
	w := newWorld(t)
	w.answer(func(rw http.ResponseWriter, req *http.Request) bool {
		_, _ = rw.Write(w.image[:chunk])
		_ = http.NewResponseController(rw).Flush()
		<-req.Context().Done()
		return true
	})
	h := w.Source.(HTTP)
	h.Idle = time.Second
	if _, err := h.Open(t.Context(), "rpi4/x.img", 2*chunk); !errors.Is(err, errIdle) {
		t.Error(err)
	}
}

// A server that sends a byte from time to time does not hold a check for ever.
func TestEndlessMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, slow := io.Pipe()
		go func() {
			for {
				time.Sleep(50 * time.Second)
				if _, err := slow.Write([]byte(" ")); err != nil {
					return
				}
			}
		}()
		began := time.Now()
		h := HTTP{URL: &url.URL{Scheme: "https", Host: "updates"}, Client: &http.Client{Transport: trickle{r, slow}}}
		_, err := h.Metadata(t.Context(), "timestamp.json", 1<<20)
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > metadataTime+time.Minute {
			t.Errorf("after %s: %v", took, err)
		}
		time.Sleep(time.Minute) // the server sees it
	})
}

// trickle answers with a body that ends with its request, as that of a transport does.
type trickle struct {
	body *io.PipeReader
	end  *io.PipeWriter
}

func (b trickle) RoundTrip(req *http.Request) (*http.Response, error) {
	context.AfterFunc(req.Context(), func() { _ = b.end.CloseWithError(context.Cause(req.Context())) })
	return &http.Response{StatusCode: http.StatusOK, Body: b.body, Request: req}, nil
}

// What was fetched before a restart is not fetched again.
func TestResumeAfterRestart(t *testing.T) {
	w := newWorld(t)
	w.answer(func(rw http.ResponseWriter, req *http.Request) bool {
		if !strings.Contains(req.URL.Path, "/targets/") {
			return false
		}
		if req.Header.Get("Range") == "" {
			rw.Header().Set("Content-Length", fmt.Sprint(len(w.image)))
			_, _ = rw.Write(w.image[:20*chunk])
		}
		panic(http.ErrAbortHandler)
	})
	reached, err := w.all(0)
	if err == nil || reached != 16*chunk {
		t.Fatalf("%d, %v", reached, err)
	}
	var permanent ota.Permanent
	if errors.As(err, &permanent) {
		t.Errorf("a server that is gone condemns the release: %v", err)
	}
	w.requests()
	w.answer(nil)
	w.targets, w.Bytes = nil, 0
	if _, err := w.all(reached); err != nil || !bytes.Equal(w.inSlot(), w.image) {
		t.Fatal(err)
	}
	if asked := w.requests(); w.Bytes != int64(len(w.image))-16*chunk || !strings.Contains(asked, "v2.0.0.img bytes=1048576-") {
		t.Errorf("%d bytes, %q", w.Bytes, asked)
	}
	// Without the head that was put aside, it begins anew.
	w.file("slot", make([]byte, 32*chunk))
	if _, err := w.all(16 * chunk); err != nil || !bytes.Equal(w.inSlot(), w.image) {
		t.Error(err)
	}
}

// A bit of a chunk that is always flipped ends the update: neither that chunk nor one behind it is written, and the release is
// condemned. Which chunk it is does not matter.
func TestFlippedBit(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.repo.Dir, "targets/rpi4/v2.0.0.img")
	for n := 0; n*chunk < len(w.image); n++ {
		w.requests()
		spoilt := bytes.Clone(w.image)
		at := min(n*chunk+n*37, len(spoilt)-1)
		spoilt[at] ^= 1 << (n % 8)
		if err := os.WriteFile(path, spoilt, 0o600); err != nil {
			t.Fatal(err)
		}
		w.file("slot", make([]byte, 32*chunk))
		_, err := w.all(0)
		var permanent ota.Permanent
		if !errors.As(err, &permanent) || !errors.Is(err, bundle.ErrMismatch) || !strings.Contains(err.Error(), fmt.Sprintf("chunk %d ", n)) {
			t.Errorf("chunk %d: %v", n, err)
		}
		want := make([]byte, len(w.image))
		if n*chunk > slot.Head {
			copy(want[slot.Head:], w.image[slot.Head:n*chunk])
		}
		if !bytes.Equal(w.inSlot(), want) {
			t.Errorf("chunk %d: in the slot is not what was verified before it", n)
		}
		if asked := strings.Count(w.requests(), ".img"); asked != 2 {
			t.Errorf("chunk %d: asked for %d times, want twice", n, asked)
		}
	}
}

// Each chunk has another flipped bit when it comes for the first time: it is asked for again at its byte, and the update comes
// through, whatever breaks off besides.
func TestFlippedOnce(t *testing.T) {
	for _, breaks := range []bool{false, true} {
		w := newWorld(t)
		w.Patience = time.Minute
		r := rand.New(rand.NewPCG(3, 3))
		seen, broken := map[int64]bool{}, map[int64]bool{} // chunks that were sent with a flipped bit, that were not sent when asked for
		asked := ""
		w.answer(func(rw http.ResponseWriter, req *http.Request) bool {
			if !strings.Contains(req.URL.Path, "/targets/") {
				return false
			}
			var from int64
			_, _ = fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-", &from)
			asked += fmt.Sprintf("%d ", from/chunk)
			body := bytes.Clone(w.image[from:])
			bad := from / chunk
			if breaks && seen[bad] && !broken[bad] { // between a wrong chunk and the good one
				broken[bad] = true
				panic(http.ErrAbortHandler)
			}
			if seen[bad] {
				bad++
			}
			if at := bad*chunk - from; at < int64(len(body)) {
				seen[bad] = true
				body[at+r.Int64N(min(chunk, int64(len(body))-at))] ^= 1 << r.IntN(8)
			}
			if from > 0 {
				rw.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(w.image)-1, len(w.image)))
				rw.WriteHeader(http.StatusPartialContent)
			}
			_, _ = rw.Write(body)
			return true
		})
		if _, err := w.all(0); err != nil || !bytes.Equal(w.inSlot(), w.image) {
			t.Fatal(err)
		}
		want := ""
		for n := -1; n*chunk < len(w.image); n++ { // the first answer, and one behind each refusal
			for range map[bool]int{false: 1, true: 2}[breaks && n >= 0] { // and one that is broken off
				want += fmt.Sprintf("%d ", max(n, 0))
			}
		}
		if asked != want || len(seen)*chunk < len(w.image) {
			t.Errorf("breaks %t: asked for chunks %s, want %s", breaks, want, asked)
		}
	}
}

// A slot that cannot be asked for its size, or written, is no fault of the release.
func TestSlotTrouble(t *testing.T) {
	w := newWorld(t)
	w.hasOld()
	trouble := errors.New("input/output error")
	for name, d := range map[string]broken{"size": {size: trouble}, "write": {write: trouble}} {
		control := w.Slot
		w.Slot = brokenSlots{control, d}
		_, err := w.all(0)
		var permanent ota.Permanent
		if !errors.Is(err, trouble) || errors.As(err, &permanent) {
			t.Errorf("%s: %v", name, err)
		}
		if asked := w.requests(); strings.Contains(asked, ".img") {
			t.Errorf("%s: asked for %s", name, asked)
		}
		w.Slot = control
	}
}

// brokenSlots has a slot that fails, once its head is zeroed.
type brokenSlots struct {
	slot.Control
	broken
}

type broken struct {
	slot.Device
	size, write error
}

func (s brokenSlots) Open() (slot.Device, error) {
	d, err := s.Control.Open()
	return broken{d, s.size, s.write}, err
}

func (b broken) Size() (int64, error) {
	n, err := b.Device.Size()
	return n, errors.Join(err, b.size)
}

func (b broken) WriteAt(p []byte, at int64) (int, error) {
	if at > 0 && b.write != nil {
		return 0, b.write
	}
	return b.Device.WriteAt(p, at)
}

func TestRefused(t *testing.T) {
	w := newWorld(t)
	w.file("slot", make([]byte, 16*chunk))
	var permanent ota.Permanent
	if _, err := w.all(0); !errors.As(err, &permanent) || !strings.Contains(err.Error(), "the slot only 1048576") {
		t.Errorf("a slot that is too small: %v", err)
	}
	if err := w.Fetch(t.Context(), ota.Release{SHA256: "00"}, 0, func(int64) {}); err == nil {
		t.Error("a release that was never verified")
	}
	w.Board = "rpi3"
	if r, err := w.Check(t.Context(), false); r != nil || err != nil {
		t.Errorf("another board: %v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Check(ctx, false); err == nil {
		t.Error("after the end")
	}
}

// Servers that cannot do ranges, that answer with something else, that send another range than asked for.
func TestServers(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request)
		want   string
	}{
		{"no ranges", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(w.image) }, ""},
		{"an error", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(503) }, "503 Service Unavailable"},
		{"no such file", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(404) }, "404 Not Found: file does not exist"},
		{"a store that lists no files", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(403) }, "403 Forbidden: file does not exist"},
		{"another range", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Range", "bytes 0-9/10")
			rw.WriteHeader(206)
		}, "the server sends bytes 0-9/10"},
	} {
		w.answer(func(rw http.ResponseWriter, req *http.Request) bool { tt.answer(rw, req); return true })
		body, err := w.Source.Open(t.Context(), "rpi4/x.img", 1000)
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		b := make([]byte, 10)
		if _, err := io.ReadFull(body, b); err != nil || !bytes.Equal(b, w.image[1000:1010]) {
			t.Errorf("%s: %x, %v", tt.name, b, err)
		}
		_ = body.Close()
	}
}

func TestLimit(t *testing.T) {
	w := newWorld(t)
	h := w.Source.(HTTP)
	h.Limit = rate.NewLimiter(1e6, maxRead)
	began := time.Now()
	body, err := h.Open(t.Context(), "rpi4/v2.0.0.img", int64(len(w.image)-200_000))
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	n, err := io.Copy(io.Discard, body)
	if took := time.Since(began); err != nil || n != 200_000 || took < 150*time.Millisecond {
		t.Errorf("%d bytes in %s, %v", n, took, err)
	}
}
