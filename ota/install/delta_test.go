package install

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/ota/delta"
	"sidetone/ota/slot"
)

func TestDelta(t *testing.T) {
	w := newWorld(t)
	w.hasOld()
	if _, err := w.all(0); err != nil || !bytes.Equal(w.inSlot(), w.image) {
		t.Fatal(err)
	}
	if asked := w.requests(); w.Bytes*10 > int64(len(w.image)) || strings.Contains(asked, ".img") {
		t.Errorf("%d bytes for an image of %d: %q", w.Bytes, len(w.image), asked)
	}
	t.Logf("%d bytes instead of %d", w.Bytes, len(w.image))
	// From the middle on, after a restart.
	w.file("slot", append(bytes.Clone(w.image[:20*chunk]), make([]byte, 12*chunk)...))
	w.file("head", w.image[:slot.Head])
	clear := make([]byte, slot.Head)
	f, _ := os.OpenFile(w.dir+"/slot", os.O_RDWR, 0)
	_, _ = f.WriteAt(clear, 0)
	_ = f.Close()
	if _, err := w.all(20 * chunk); err != nil || !bytes.Equal(w.inSlot(), w.image) {
		t.Errorf("from chunk 20 on: %v", err)
	}
}

// A download of a delta goes on, too: the whole image is for a delta that is wrong, not for a server that goes away.
func TestDeltaBreaksOff(t *testing.T) {
	w := newWorld(t)
	w.hasOld()
	paths, _ := filepath.Glob(w.repo.Dir + "/targets/rpi4/*.delta")
	d, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	h, err := delta.ReadHeader(bytes.NewReader(d), int64(len(w.image)))
	if err != nil || len(h.Frames) < 2 {
		t.Fatalf("%+v, %v", h, err)
	}
	breaks := []int64{5, h.Offset(1) - 1, h.Offset(1) + 1} // in the header, in the first segment, in the second
	w.answer(func(rw http.ResponseWriter, req *http.Request) bool {
		if !strings.HasSuffix(req.URL.Path, ".delta") || len(breaks) == 0 {
			return false
		}
		at := breaks[0]
		breaks = breaks[1:]
		rw.Header().Set("Content-Length", fmt.Sprint(len(d)))
		_, _ = rw.Write(d[:at])
		_ = http.NewResponseController(rw).Flush()
		conn, _, err := http.NewResponseController(rw).Hijack()
		if err == nil {
			err = conn.Close() // what was sent arrives
		}
		if err != nil {
			t.Error(err)
		}
		return true
	})
	w.NeverFull, w.Patience = true, time.Minute
	if _, err := w.all(0); err != nil || !bytes.Equal(w.inSlot(), w.image) {
		t.Fatal(err)
	}
	if asked := w.requests(); len(breaks) > 0 || strings.Contains(asked, ".img") || !strings.Contains(asked, fmt.Sprintf("bytes=%d-", h.Offset(1))) {
		t.Errorf("asked for %s", asked)
	}
}

// A delta that does not give what was signed is left, and the whole image fetched; not over a link that is paid by the byte.
func TestDeltaThatDoesNotServe(t *testing.T) {
	for _, tt := range []struct {
		name  string
		asked bool // the delta was
		spoil func(*world)
	}{
		{"a slot that is not what it was", false, func(w *world) { w.old[4*chunk] ^= 1; w.hasOld() }},
		{"a delta with a flipped bit", true, func(w *world) {
			paths, _ := filepath.Glob(w.repo.Dir + "/targets/rpi4/*.delta")
			b, _ := os.ReadFile(paths[0])
			b[len(b)/2] ^= 4
			_ = os.WriteFile(paths[0], b, 0o600)
		}},
		{"no such file", true, func(w *world) {
			paths, _ := filepath.Glob(w.repo.Dir + "/targets/rpi4/*.delta")
			_ = os.Remove(paths[0])
		}},
		{"from a longer image", false, func(w *world) { w.file("running", w.old[:len(w.old)-1]) }},
		{"a slot that cannot be read", false, func(w *world) { _ = os.Remove(w.dir + "/running") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.hasOld()
			tt.spoil(w)
			if _, err := w.all(0); err != nil || !bytes.Equal(w.inSlot(), w.image) {
				t.Error(err)
			}
			if asked := w.requests(); strings.Contains(asked, ".delta") != tt.asked {
				t.Errorf("asked for %s", asked)
			}
			w.NeverFull = true
			if _, err := w.all(0); err == nil || !strings.Contains(err.Error(), "must not be fetched") {
				t.Errorf("over a metered link: %v", err)
			}
		})
	}
}
