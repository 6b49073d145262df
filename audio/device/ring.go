package device

import "sync/atomic"

// ring carries samples from one goroutine or audio callback to one other, without a lock and without allocating: the
// writer owns tail, the reader owns head, and each only looks at the other's. Both count up for ever and wrap at 2^32,
// which a size that is a power of two does not mind.
type ring struct {
	buf  []int16
	head atomic.Uint32
	_    [60]byte // reader and writer each on a cache line of their own
	tail atomic.Uint32
}

// newRing makes a ring for at least size samples.
func newRing(size int) *ring {
	n := 1
	for n < size {
		n *= 2
	}
	return &ring{buf: make([]int16, n)}
}

// buffered is how many samples there are to be read. It is exact for whoever calls write or read.
func (r *ring) buffered() int { return int(r.tail.Load() - r.head.Load()) }

// write takes as much of p as there is room for and returns how much that was.
func (r *ring) write(p []int16) int {
	tail := r.tail.Load()
	n := min(len(p), len(r.buf)-int(tail-r.head.Load()))
	at := int(tail) & (len(r.buf) - 1)
	first := copy(r.buf[at:], p[:n])
	copy(r.buf, p[first:n])
	r.tail.Store(tail + uint32(n))
	return n
}

// read fills as much of p as there are samples for and returns how much that was.
func (r *ring) read(p []int16) int {
	head := r.head.Load()
	n := min(len(p), int(r.tail.Load()-head))
	at := int(head) & (len(r.buf) - 1)
	first := copy(p[:n], r.buf[at:])
	copy(p[first:n], r.buf)
	r.head.Store(head + uint32(n))
	return n
}
