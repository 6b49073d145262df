package delta

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"
)

// program is something like a program: parts that come again, and parts that do not.
func program(seed uint64, size int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	words := make([][]byte, 3000)
	for i := range words {
		words[i] = make([]byte, 4+r.IntN(60))
		for j := range words[i] {
			words[i][j] = byte(r.Uint32())
		}
	}
	var b []byte
	for len(b) < size {
		b = append(b, words[r.IntN(len(words))]...)
	}
	return b[:size]
}

func apply(t *testing.T, delta, old []byte) []byte {
	t.Helper()
	r := bytes.NewReader(delta)
	h, err := ReadHeader(r, int64(binary.LittleEndian.Uint64(delta[len(Magic):])))
	if err != nil {
		t.Fatal(err)
	}
	var image []byte
	for n := range h.Frames {
		if at, _ := r.Seek(0, io.SeekCurrent); at != h.Offset(n) {
			t.Fatalf("frame %d lies at %d, not %d", n, at, h.Offset(n))
		}
		segment, err := h.Apply(n, bytes.NewReader(old), int64(len(old)), r)
		if err != nil {
			t.Fatal(err)
		}
		image = append(image, segment...)
	}
	return image
}

func makeDelta(t testing.TB, old, image []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Make(&b, bytes.NewReader(old), int64(len(old)), bytes.NewReader(image), int64(len(image)), 1<<20); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A change of some bytes, an insertion that moves all that follows, a shorter and a longer image.
func TestDelta(t *testing.T) {
	old := program(1, 9<<18)
	changed := bytes.Clone(old)
	for i := range 100 {
		changed[i*22_000] ^= 1
	}
	moved := bytes.Join([][]byte{old[:5<<18], program(2, 70_000), old[5<<18:]}, nil)
	for _, tt := range []struct {
		name  string
		old   []byte
		image []byte
		most  int // bytes of delta
	}{
		{"a last segment of few bytes", old, append(bytes.Clone(old[:2<<20]), "the end"...), 1000},
		{"the same", old, old, 5000},
		{"changed", old, changed, 20_000},
		{"moved", old, moved, 100_000},
		{"shorter", old, old[:3<<18], 3000},
		{"longer", old[:5<<18], old, 5 << 18},
		{"nothing before", nil, old[:1<<18], 1 << 18},
		{"empty", old, nil, 100},
	} {
		d := makeDelta(t, tt.old, tt.image)
		if len(d) > tt.most {
			t.Errorf("%s: %d bytes, want %d at most", tt.name, len(d), tt.most)
		}
		if !bytes.Equal(apply(t, d, tt.old), tt.image) {
			t.Errorf("%s: another image came out", tt.name)
		}
		t.Logf("%s: %d bytes of %d", tt.name, len(d), len(tt.image))
	}
}

// What is cut off or applied to something else is an error, or something else; never a panic.
func TestSpoiltDelta(t *testing.T) {
	old := program(1, 1<<20)
	d := makeDelta(t, old, program(3, 1<<20))
	for _, b := range [][]byte{nil, d[:5], d[:headerSize], d[:headerSize+3], append([]byte("x"), d...)} {
		if _, err := ReadHeader(bytes.NewReader(b), 1<<20); err == nil {
			t.Errorf("%d bytes taken", len(b))
		}
	}
	h, err := ReadHeader(bytes.NewReader(d), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	frame := d[h.Offset(0):]
	if _, err := h.Apply(0, bytes.NewReader(old), 1<<20, bytes.NewReader(frame[:100])); err == nil {
		t.Error("a short frame")
	}
	same := makeDelta(t, old, old)
	h, _ = ReadHeader(bytes.NewReader(same), 1<<20)
	other := program(9, 1<<20)
	image, err := h.Apply(0, bytes.NewReader(other), 1<<20, bytes.NewReader(same[h.Offset(0):]))
	if err == nil && bytes.Equal(image, old) {
		t.Error("the old image did not matter")
	}
}

// A header that tells of another image than the signed one is left before anything is kept of it: it may have no end.
func TestHugeHeader(t *testing.T) {
	b := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint64([]byte(Magic), 16<<30), 1<<10)
	r := &endless{begin: bytes.NewReader(b)}
	if _, err := ReadHeader(r, 1<<20); err == nil || r.read > 0 {
		t.Errorf("%d bytes were read: %v", r.read, err)
	}
}

// endless goes on with frames of one byte.
type endless struct {
	begin io.Reader
	read  int
}

func (e *endless) Read(p []byte) (int, error) {
	if n, err := e.begin.Read(p); err == nil {
		return n, nil
	}
	clear(p)
	for n := 0; n < len(p); n += 4 {
		p[n] = 1
	}
	e.read += len(p)
	return len(p), nil
}

func FuzzDelta(f *testing.F) {
	old := program(1, 64<<10)
	f.Add(makeDelta(f, old, program(2, 32<<10)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		h, err := ReadHeader(r, 32<<10)
		if err != nil {
			return
		}
		for n := range min(2, len(h.Frames)) {
			if _, err := h.Apply(n, bytes.NewReader(old), int64(len(old)), r); err != nil {
				return
			}
		}
	})
}
