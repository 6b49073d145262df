package device

import (
	"math"
	"slices"
	"testing"

	"sidetone/audio"
)

func TestRing(t *testing.T) {
	r := newRing(100)
	if len(r.buf) != 128 {
		t.Fatalf("size %d", len(r.buf))
	}
	in, out := make([]int16, 200), make([]int16, 200)
	for i := range in {
		in[i] = int16(i)
	}
	if n := r.write(in); n != 128 || r.buffered() != 128 {
		t.Errorf("an empty ring took %d and holds %d", n, r.buffered())
	}
	if n := r.write(in); n != 0 {
		t.Errorf("a full ring took %d", n)
	}
	if n := r.read(out[:50]); n != 50 || out[49] != 49 {
		t.Errorf("read %d, the last is %d", n, out[49])
	}
	if n := r.write(in[128:160]); n != 32 {
		t.Errorf("took %d", n)
	}
	if n := r.read(out); n != 110 || out[0] != 50 || out[109] != 159 {
		t.Errorf("read %d, from %d to %d", n, out[0], out[109])
	}
	if n := r.read(out); n != 0 {
		t.Errorf("an empty ring gave %d", n)
	}
	if allocs := testing.AllocsPerRun(100, func() { r.write(in[:90]); r.read(out[:90]) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// TestRingAcross has a writer and a reader at once, over the place where the counts wrap.
func TestRingAcross(t *testing.T) {
	r := newRing(1024)
	r.head.Store(math.MaxUint32 - 5000)
	r.tail.Store(math.MaxUint32 - 5000)
	const total = 2_000_000
	go func() {
		block := make([]int16, audio.FrameSamples)
		for sent := 0; sent < total; {
			n := min(len(block), total-sent)
			for i := range n {
				block[i] = int16(sent + i)
			}
			sent += r.write(block[:n])
		}
	}()
	block := make([]int16, 441)
	for got := 0; got < total; {
		n := r.read(block)
		for i := range n {
			if block[i] != int16(got+i) {
				t.Fatalf("sample %d is %d", got+i, block[i])
			}
		}
		got += n
	}
}

// FuzzRing does what the bytes say, a write or a read each, to a ring and to a plain queue: they must agree at each step.
func FuzzRing(f *testing.F) {
	f.Add(uint32(0), []byte{10, 0x85, 127, 0xff, 127, 127, 0xff})
	f.Add(uint32(math.MaxUint32-20), []byte{64, 0xff, 30, 0x90, 64, 0xff})
	f.Fuzz(func(t *testing.T, start uint32, steps []byte) {
		r := newRing(64)
		r.head.Store(start)
		r.tail.Store(start)
		var queue []int16
		next := int16(0)
		for i, step := range steps {
			block := make([]int16, step&0x7f)
			if step < 0x80 {
				for j := range block {
					block[j] = next + int16(j)
				}
				n := r.write(block)
				if want := min(len(block), len(r.buf)-len(queue)); n != want {
					t.Fatalf("step %d: wrote %d, want %d", i, n, want)
				}
				queue = append(queue, block[:n]...)
				next += int16(n)
			} else {
				n := r.read(block)
				if want := min(len(block), len(queue)); n != want || !slices.Equal(block[:n], queue[:n]) {
					t.Fatalf("step %d: read %v, want %v", i, block[:n], queue[:want])
				}
				queue = queue[n:]
			}
			if r.buffered() != len(queue) {
				t.Fatalf("step %d: %d buffered, want %d", i, r.buffered(), len(queue))
			}
		}
	})
}

func BenchmarkRing(b *testing.B) {
	r := newRing(ringSamples)
	var f audio.Frame
	b.ReportAllocs()
	b.SetBytes(2 * audio.FrameSamples)
	for b.Loop() {
		r.write(f[:])
		r.read(f[:])
	}
}
