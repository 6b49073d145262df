// Package updates is the lab's update server: a directory of releases, which any static host could serve, and trouble made
// on purpose. Releases are put there by sidetonectl.
package updates

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sidetone/ota/bundle"
	"sidetone/ota/release"

	"golang.org/x/time/rate"
)

// Names below a lab's directory.
const (
	repoDir = "updates"
	keysDir = "update-keys" // beside what is served
)

// How long the lab's signatures are good. The stamp is made anew at each start.
const (
	rootYears = 10
	stampDays = 30
)

// Trouble of the server. The zero Trouble is none; what is set stands together.
type Trouble struct {
	CutAfter     int64 `json:"cut_after,omitempty"`     // bytes of each image or delta that is asked for: then the connection is cut
	CorruptChunk *int  `json:"corrupt_chunk,omitempty"` // of each image, from 0 on: it has a flipped bit
	CorruptEach  int   `json:"corrupt_each,omitempty"`  // seed: each chunk of an image has a flipped bit the first time that it is sent whole
	Slow         int   `json:"slow,omitempty"`          // kbit/s, of all devices together
	Gone         bool  `json:"gone,omitempty"`          // every request ends without an answer
}

// Check says what cannot be.
func (t Trouble) Check() error {
	if t.CutAfter < 0 || t.CorruptChunk != nil && *t.CorruptChunk < 0 || t.Slow < 0 {
		return errors.New("there are no bytes, chunks or kbit/s below 0")
	}
	return nil
}

// Words name the trouble.
func (t Trouble) Words() (words []string) {
	if t.CutAfter > 0 {
		words = append(words, fmt.Sprintf("cut after %d bytes", t.CutAfter))
	}
	if t.CorruptChunk != nil {
		words = append(words, fmt.Sprintf("chunk %d corrupt", *t.CorruptChunk))
	}
	if t.CorruptEach != 0 {
		words = append(words, fmt.Sprintf("each chunk corrupt once, seed %d", t.CorruptEach))
	}
	if t.Slow > 0 {
		words = append(words, fmt.Sprintf("%d kbit/s", t.Slow))
	}
	if t.Gone {
		words = append(words, "gone")
	}
	return words
}

// Sent is what was served to all devices together, in bytes of HTTP bodies.
type Sent struct {
	Metadata int64 `json:"metadata"`
	Targets  int64 `json:"targets"` // images and deltas
}

// Server serves the releases of a lab.
type Server struct {
	repo  release.Repository
	keys  string
	files http.Handler

	mu      sync.Mutex
	trouble Trouble
	limit   *rate.Limiter
	spoilt  map[string]map[int]bool // chunks of images that CorruptEach is done with
	sent    Sent
}

// Open finds the releases below a lab's directory, or makes a directory for them, with keys of its own.
func Open(dir string, log *slog.Logger) (*Server, error) {
	s := &Server{repo: release.Repository{Dir: filepath.Join(dir, repoDir)}, keys: filepath.Join(dir, keysDir)}
	s.files = http.FileServer(files{s})
	if _, err := os.Stat(s.RootFile()); errors.Is(err, fs.ErrNotExist) {
		if err := s.begin(); err != nil {
			return nil, fmt.Errorf("keys for releases in %s: %w; remove it to have new ones made", s.keys, err)
		}
	}
	keys, err := release.PrivateKeys(s.keys)
	if err == nil {
		err = s.repo.Stamp(time.Now().AddDate(0, 0, stampDays), keys...)
	}
	if err != nil { // somebody has put keys of his own there
		log.Warn("what devices may update to is not signed anew", "err", err)
	}
	return s, nil
}

// begin makes keys, and the root that names them.
func (s *Server) begin() error {
	if err := os.MkdirAll(s.keys, 0o700); err != nil {
		return err
	}
	var roles [3]release.Keys
	var root ed25519.PrivateKey
	for n, name := range []string{"root", "targets", "timestamp"} {
		key, err := release.NewKey(filepath.Join(s.keys, name))
		if err != nil {
			return err
		}
		roles[n] = release.Keys{Public: []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}, Threshold: 1}
		if n == 0 {
			root = key
		}
	}
	return s.repo.Root(roles[0], roles[1], roles[2], time.Now().AddDate(rootYears, 0, 0), root)
}

// Dir has the releases, and Keys what they are signed with.
func (s *Server) Dir() string  { return s.repo.Dir }
func (s *Server) Keys() string { return s.keys }

// RootFile is what a device begins to trust with.
func (s *Server) RootFile() string { return filepath.Join(s.repo.Dir, "metadata", "1.root.json") }

// Trouble tells what trouble there is.
func (s *Server) Trouble() Trouble {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble
}

// SetTrouble makes trouble, in place of what there is.
func (s *Server) SetTrouble(t Trouble) error {
	if err := t.Check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.CorruptEach != s.trouble.CorruptEach {
		s.spoilt = map[string]map[int]bool{}
	}
	s.trouble, s.limit = t, nil
	if t.Slow > 0 {
		s.limit = rate.NewLimiter(rate.Limit(t.Slow)*1000/8, piece)
	}
	return nil
}

// piece is how many bytes are sent at once while there is trouble.
const piece = 4 << 10

// ServeHTTP serves metadata/ and targets/.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	t, limit := s.trouble, s.limit
	s.mu.Unlock()
	if t.Gone {
		panic(http.ErrAbortHandler)
	}
	left, targets := int64(-1), strings.Contains(r.URL.Path, "targets/")
	if t.CutAfter > 0 && targets {
		left = t.CutAfter
	}
	w = counting{w, s, targets}
	if left >= 0 || limit != nil {
		w = &troubled{ResponseWriter: w, ctx: r.Context(), limit: limit, left: left}
	}
	s.files.ServeHTTP(w, r)
}

// Sent tells what was served so far.
func (s *Server) Sent() Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// counting counts what is served.
type counting struct {
	http.ResponseWriter
	s       *Server
	targets bool
}

func (c counting) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.targets {
		c.s.sent.Targets += int64(n)
	} else {
		c.s.sent.Metadata += int64(n)
	}
	return n, err
}

// Unwrap is for http.ResponseController.
func (c counting) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// troubled sends no faster than limit, and so many bytes at most.
type troubled struct {
	http.ResponseWriter
	ctx   context.Context
	limit *rate.Limiter // nil: none
	left  int64         // bytes; -1: all
}

func (t *troubled) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		part := b[:min(len(b), piece)]
		if t.left >= 0 {
			part = part[:min(int64(len(part)), t.left)]
		}
		if t.limit != nil {
			if err := t.limit.WaitN(t.ctx, len(part)); err != nil {
				return n, err
			}
		}
		var sent int
		sent, err = t.ResponseWriter.Write(part)
		n, b = n+sent, b[sent:]
		if t.left >= 0 {
			t.left -= int64(sent)
		}
		if t.left == 0 || t.limit != nil {
			_ = http.NewResponseController(t.ResponseWriter).Flush()
		}
		if t.left == 0 {
			panic(http.ErrAbortHandler)
		}
	}
	return n, err
}

// files are what is served, with bits flipped where that is asked for.
type files struct{ s *Server }

func (f files) Open(name string) (http.File, error) {
	file, err := http.Dir(f.s.repo.Dir).Open(name)
	t := f.s.Trouble()
	board, _, _ := strings.Cut(strings.TrimPrefix(name, "/targets/"), "/")
	if err != nil || t.CorruptChunk == nil && t.CorruptEach == 0 || !strings.HasPrefix(name, "/targets/") {
		return file, err
	}
	current, err := f.s.repo.Current(board)
	if err != nil || name != "/targets/"+current.Image.Path {
		return file, nil
	}
	image := current.Image
	return &spoilt{File: file, choose: func(from int64) flip {
		if n := t.CorruptChunk; n != nil && *n < len(image.Chunks) {
			at, _ := image.Chunk(*n)
			return flip{at: at, bit: 1, done: func() {}}
		} else if n != nil {
			return noFlip
		}
		return f.s.flipOnce(image, from, t.CorruptEach)
	}}, nil
}

// flipOnce flips a bit of the first chunk, of those that an answer from a byte on has whole, which has never been sent with
// one. There is one in an answer: who finds it reads no further.
func (s *Server) flipOnce(image bundle.Image, from int64, seed int) flip {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range image.Chunks {
		at, size := image.Chunk(n)
		if at < from || s.spoilt[image.Path][n] {
			continue
		}
		r := rand.New(rand.NewPCG(uint64(seed), uint64(n)))
		return flip{at: at + r.Int64N(size), bit: 1 << r.IntN(8), end: at + size, done: func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.spoilt[image.Path] == nil {
				s.spoilt[image.Path] = map[int]bool{}
			}
			s.spoilt[image.Path][n] = true
		}}
	}
	return noFlip
}

// flip is a bit of a file that is flipped when it is read.
type flip struct {
	at   int64 // the byte
	bit  byte  // of it
	end  int64 // done is called when all before this byte has been read
	done func()
}

var noFlip = flip{at: -1, done: func() {}}

// spoilt is a file with a flipped bit, which is chosen when reading begins at a byte.
type spoilt struct {
	http.File
	at     int64
	choose func(from int64) flip
	flip   *flip // nil: not chosen
}

func (f *spoilt) Seek(offset int64, whence int) (at int64, err error) {
	at, err = f.File.Seek(offset, whence)
	f.at, f.flip = at, nil
	return at, err
}

func (f *spoilt) Read(b []byte) (n int, err error) {
	if f.flip == nil {
		chosen := f.choose(f.at)
		f.flip = &chosen
	}
	n, err = f.File.Read(b)
	if in := f.flip.at - f.at; in >= 0 && in < int64(n) {
		b[in] ^= f.flip.bit
	}
	before := f.at
	if f.at += int64(n); before < f.flip.end && f.at >= f.flip.end {
		f.flip.done()
	}
	return n, err
}
