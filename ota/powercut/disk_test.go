package powercut

import (
	"bytes"
	"context"
	"errors"
	"hash/fnv"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"sidetone/ota/disk"
)

// sector is what a disk writes whole or not at all, in bytes.
const sector = 512

var errPower = errors.New("the power is gone")

// machine has files and block devices behind a page cache. When its power goes, what was not flushed is lost, or is there
// in part and in any order: of each write any of its sectors, of a file's length the old or the new, of a directory any of
// the changes to its names. It implements disk.FS.
//
// Each operation takes a time of its own in the bubble of testing/synctest, so that those of two goroutines come in an
// order that the seed alone decides.
type machine struct {
	mu     sync.Mutex
	seed   uint64
	rand   *rand.Rand
	names  map[string]*node // as seen
	kept   map[string]*node // on the disk
	moves  []move           // not yet on the disk, in order
	life   int              // power-ons: a file that was opened before is of no use
	ops    int
	cutAt  int                // of ops: then the power goes
	aimed  bool               // or in the next operation that changes what boots, if that comes first
	off    context.CancelFunc // of what runs; nil while the power is gone
	cuts   int
	at     map[string]int // cuts by what was under way
	turns  map[string]int // operations by path
	skip   func(op, path string) bool
	rotten int // so many flushes of a slot spoil a bit, and say nothing
}

// changesBoot tells operations on what a loader, or the service manager, goes by.
func changesBoot(op, path string) bool {
	switch path {
	case autoboot, envAt:
		return op == "write" || op == "sync"
	case slotsAt + "/current":
		return op == "rename"
	}
	return false
}

// nothing is skipped of what is to be flushed.
func nothing(string, string) bool { return false }

type node struct {
	link           string
	directory      bool
	device         bool
	cached, medium []byte
	stale          bool // they may differ by more than dirty
	dirty          []write
}

// write is a change of content. at is -1 where only the length changes.
type write struct {
	at   int
	b    []byte
	size int // of the file from then on
}

// move is a change of names in one directory, done in one step.
type move struct {
	dir string
	to  map[string]*node // nil: gone
}

func newMachine(seed uint64) *machine {
	return &machine{seed: seed, rand: rand.New(rand.NewPCG(seed, 3)), names: map[string]*node{}, kept: map[string]*node{},
		at: map[string]int{}, turns: map[string]int{}, skip: nothing}
}

// put makes a file, a device, a directory or a link that is on the disk, and the directories above it.
func (m *machine) put(path string, n *node) {
	n.cached = bytes.Clone(n.medium)
	m.names[path], m.kept[path] = n, n
	if dir := filepath.Dir(path); m.kept[dir] == nil {
		m.put(dir, &node{directory: true})
	}
}

// turn waits for its time, counts, and says whether the power goes in this very operation. It comes back with the lock.
func (m *machine) turn(op, path string) (cut bool, err error) {
	m.mu.Lock()
	if m.off == nil {
		return false, errPower
	}
	m.turns[path]++
	h := fnv.New64a()
	_, _ = io.WriteString(h, path)
	wait := rand.New(rand.NewPCG(m.seed+uint64(m.turns[path]), h.Sum64())).IntN(1_000_000)
	m.mu.Unlock()
	time.Sleep(time.Microsecond + time.Duration(wait))
	m.mu.Lock()
	if m.off == nil {
		return false, errPower
	}
	m.ops++
	if m.aimed && changesBoot(op, path) {
		m.cutAt = m.ops
	}
	if m.ops == m.cutAt {
		m.aimed = false
		m.cuts++
		m.at[op+" "+path]++
		return true, nil
	}
	return false, nil
}

// rest is something that takes time without touching a disk, and in which the power may go.
func (m *machine) rest(what string) error {
	cut, err := m.turn("rest", what)
	defer m.mu.Unlock()
	if cut {
		return m.lose()
	}
	return err
}

// change carries an operation out; if the power goes in it, it is among what was not flushed.
func (m *machine) change(op, path string, do func() error) error {
	cut, err := m.turn(op, path)
	defer m.mu.Unlock()
	if err == nil {
		err = do()
	}
	if cut {
		return m.lose()
	}
	return err
}

// lose is the power cut.
func (m *machine) lose() error {
	odds := []float64{0, 0.1, 0.5, 0.9, 1}[m.rand.IntN(5)] // that a sector is there
	for _, path := range slices.Sorted(maps.Keys(m.reachable())) {
		n := m.reachable()[path]
		for _, w := range n.dirty {
			n.medium = tear(n.medium, w, n.device, func() bool { return m.rand.Float64() < odds })
		}
		n.stale, n.dirty = n.stale || len(n.dirty) > 0, nil
	}
	for _, mv := range m.moves {
		if m.rand.Float64() < odds {
			apply(m.kept, mv)
		}
	}
	m.forget()
	m.stop()
	return errPower
}

func (m *machine) on() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.off != nil
}

// stop ends what runs: nothing that it still tries is heard.
func (m *machine) stop() {
	if m.off != nil {
		m.off()
	}
	m.off = nil
}

// forget has nothing but what is on the disk.
func (m *machine) forget() {
	for path := range m.kept { // what lies in a directory that was never there
		if m.kept[filepath.Dir(path)] == nil {
			delete(m.kept, path)
		}
	}
	m.moves, m.names = nil, maps.Clone(m.kept)
	for _, n := range m.names {
		n.drop()
	}
	m.life++
}

// reachable are the files that have a name, or may have one on the disk.
func (m *machine) reachable() map[string]*node {
	all := maps.Clone(m.kept)
	for _, mv := range m.moves {
		for path, n := range mv.to {
			if n != nil {
				all[path+"\x00new"] = n
			}
		}
	}
	seen := map[*node]bool{}
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if seen[all[path]] {
			delete(all, path)
			continue
		}
		seen[all[path]] = true
	}
	return all
}

// tear puts those sectors of a write on the medium that chance keeps, and the length if it does.
func tear(medium []byte, w write, device bool, keep func() bool) []byte {
	if !device && keep() {
		medium = resize(medium, w.size)
	}
	if w.at < 0 {
		return medium
	}
	for from := 0; from < len(w.b); {
		to := min(len(w.b), from+sector-(w.at+from)%sector)
		if at := w.at + from; keep() && at < len(medium) {
			copy(medium[at:], w.b[from:to])
		}
		from = to
	}
	return medium
}

func resize(b []byte, size int) []byte {
	if size <= len(b) {
		return b[:size:size]
	}
	return append(b, make([]byte, size-len(b))...)
}

func apply(names map[string]*node, mv move) {
	for path, n := range mv.to {
		if n == nil {
			delete(names, path)
		} else {
			names[path] = n
		}
	}
}

func (m *machine) move(to map[string]*node) {
	var dir string
	for path := range to {
		dir = filepath.Dir(path)
	}
	mv := move{dir, to}
	m.moves = append(m.moves, mv)
	apply(m.names, mv)
}

// reboot resets the machine: what was not flushed is lost as by a cut, for reboot(2) flushes nothing.
func (m *machine) reboot() error {
	err := m.rest("reboot")
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		_ = m.lose()
	}
	return err
}

func missing(op, path string) error { return &fs.PathError{Op: op, Path: path, Err: fs.ErrNotExist} }

func (m *machine) Open(path string, flag int, _ fs.FileMode) (disk.File, error) {
	var f *handle
	return f, m.change("open", path, func() error {
		n, is := m.names[path]
		switch {
		case !is && flag&os.O_CREATE == 0:
			return missing("open", path)
		case !is:
			if _, is := m.names[filepath.Dir(path)]; !is {
				return missing("open", path)
			}
			n = &node{}
			m.move(map[string]*node{path: n})
		case flag&os.O_EXCL != 0:
			return &fs.PathError{Op: "open", Path: path, Err: fs.ErrExist}
		}
		if flag&os.O_TRUNC != 0 {
			n.add(write{at: -1})
		}
		f = &handle{m: m, node: n, path: path, life: m.life, sync: flag&os.O_SYNC != 0}
		return nil
	})
}

func (n *node) add(w write) {
	n.dirty = append(n.dirty, w)
	n.cached = n.over(n.cached, w)
}

// drop has the cache hold what is on the disk, and what is not flushed, which cannot be forgotten.
func (n *node) drop() {
	if !n.stale {
		return
	}
	n.cached, n.stale = bytes.Clone(n.medium), false
	for _, w := range n.dirty {
		n.cached = n.over(n.cached, w)
	}
}

func (n *node) over(b []byte, w write) []byte {
	if !n.device {
		b = resize(b, w.size)
	}
	if w.at >= 0 {
		copy(b[w.at:], w.b)
	}
	return b
}

func (m *machine) ReadFile(path string) ([]byte, error) {
	var b []byte
	return b, m.change("read", path, func() error {
		n, is := m.names[path]
		if !is || n.directory {
			return missing("open", path)
		}
		b = bytes.Clone(n.cached)
		return nil
	})
}

func (m *machine) Readlink(path string) (string, error) {
	to := ""
	return to, m.change("readlink", path, func() error {
		n, is := m.names[path]
		if !is || n.link == "" {
			return missing("readlink", path)
		}
		to = n.link
		return nil
	})
}

func (m *machine) Symlink(to, path string) error {
	return m.change("symlink", path, func() error {
		if _, is := m.names[path]; is {
			return &fs.PathError{Op: "symlink", Path: path, Err: fs.ErrExist}
		}
		m.move(map[string]*node{path: {link: to}})
		return nil
	})
}

func (m *machine) Rename(from, to string) error {
	return m.change("rename", to, func() error {
		n, is := m.names[from]
		if !is {
			return missing("rename", from)
		}
		m.move(map[string]*node{from: nil, to: n})
		return nil
	})
}

func (m *machine) Remove(path string) error {
	return m.change("remove", path, func() error {
		if _, is := m.names[path]; !is {
			return missing("remove", path)
		}
		m.move(map[string]*node{path: nil})
		return nil
	})
}

func (m *machine) Mkdir(path string, _ fs.FileMode) error {
	return m.change("mkdir", path, func() error {
		if _, is := m.names[path]; is {
			return &fs.PathError{Op: "mkdir", Path: path, Err: fs.ErrExist}
		}
		m.move(map[string]*node{path: {directory: true}})
		return nil
	})
}

func (m *machine) SyncDir(path string) error {
	return m.change("syncdir", path, func() error {
		if m.off == nil || m.ops == m.cutAt || m.skip("syncdir", path) { // cut in it: any part of it is done
			return nil
		}
		m.moves = slices.DeleteFunc(m.moves, func(mv move) bool {
			if mv.dir == path {
				apply(m.kept, mv)
			}
			return mv.dir == path
		})
		return nil
	})
}

func (m *machine) Free(string) (int64, error) { return 1 << 30, nil }

// handle is an open file.
type handle struct {
	m    *machine
	node *node
	path string
	life int
	sync bool
}

func (h *handle) change(op string, do func() error) error {
	return h.m.change(op, h.path, func() error {
		if h.life != h.m.life {
			return errPower
		}
		return do()
	})
}

func (h *handle) ReadAt(p []byte, off int64) (n int, err error) {
	return n, h.change("read", func() error {
		n, err = bytes.NewReader(h.node.cached).ReadAt(p, off)
		return err
	})
}

func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	err := h.change("write", func() error {
		if h.node.device && int(off)+len(p) > len(h.node.cached) {
			return io.ErrShortWrite
		}
		h.node.add(write{int(off), bytes.Clone(p), max(len(h.node.cached), int(off)+len(p))})
		if h.sync && h.m.ops != h.m.cutAt && !h.m.skip("sync", h.path) {
			h.flush()
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (h *handle) Truncate(size int64) error {
	return h.change("truncate", func() error {
		h.node.add(write{at: -1, size: int(size)})
		return nil
	})
}

func (h *handle) Sync() error {
	return h.change("sync", func() error {
		if h.m.ops == h.m.cutAt || h.m.skip("sync", h.path+h.part()) {
			return nil
		}
		h.flush()
		return nil
	})
}

// part says what of a slot is flushed: ":begin" the zeros of its head, ":head", ":body", or nothing of the kind.
func (h *handle) part() string {
	if !h.isSlot() || len(h.node.dirty) == 0 || len(h.node.dirty[len(h.node.dirty)-1].b) == 0 {
		return ""
	}
	last := h.node.dirty[len(h.node.dirty)-1]
	switch {
	case last.at != 0:
		return ":body"
	case bytes.Count(last.b, []byte{0}) == len(last.b):
		return ":begin"
	}
	return ":head"
}

func (h *handle) isSlot() bool { return strings.HasSuffix(h.path, "/"+program) }

func (h *handle) flush() {
	n, part := h.node, h.part()
	for _, w := range n.dirty {
		n.medium = n.over(n.medium, w)
	}
	if h.m.rotten > 0 && (part == ":body" || part == ":head") && h.m.rand.IntN(3) == 0 {
		h.m.rotten, n.stale = h.m.rotten-1, true
		last := n.dirty[len(n.dirty)-1]
		n.medium[last.at+h.m.rand.IntN(len(last.b))] ^= 1
	}
	n.dirty = nil
}

func (h *handle) DropCache() error {
	return h.change("drop", func() error {
		if h.m.skip("drop", h.path) {
			return nil
		}
		h.node.drop()
		return nil
	})
}

func (h *handle) Size() (int64, error) {
	size := int64(0)
	return size, h.change("size", func() error {
		size = int64(len(h.node.cached))
		return nil
	})
}

func (h *handle) Close() error { return nil }
