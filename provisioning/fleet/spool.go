package fleet

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Bounds of the spool. A report is about 10 KB: this is some weeks of calls, and a corner of any card.
const (
	spoolCount      = 1000
	spoolBytes      = 8 << 20
	spoolBytesRAM   = 1 << 20
	spoolEntryBytes = 256 << 10
)

// spool holds messages until the broker has them: one file each, so that a power cut damages at most the newest. Two
// processes may share a directory (a daemon and a single call): at worst a message is sent twice.
type spool struct {
	dir      string // "": in memory only
	log      *slog.Logger
	maxBytes int

	mu      sync.Mutex
	entries []*entry // oldest first
	bytes   int
	seq     uint64
	dropped uint64
}

// entry is one message in the spool. Its fields do not change but for sending, which the spool's lock guards.
type entry struct {
	name     string // file name; its order is the order of arrival
	size     int
	data     []byte    // what the file would hold, when there is none
	added    time.Time // monotonic
	replayed bool      // it was there before we were
	sending  bool
}

// record is what a file holds.
type record struct {
	Topic   string          `json:"topic"`
	Payload json.RawMessage `json:"payload"`
}

// openSpool reads what waits in dir. A directory that cannot be used is no reason to be silent: then memory serves.
func openSpool(dir string, log *slog.Logger) *spool {
	s := &spool{dir: dir, log: log, maxBytes: spoolBytes}
	if dir != "" {
		if err := s.scan(); err != nil {
			log.Warn("reports and events wait in memory only, and are lost with the process; check device.state_dir", "err", err)
			s.dir, s.entries, s.bytes = "", nil, 0
		}
	}
	if s.dir == "" {
		s.maxBytes = spoolBytesRAM
	}
	return s
}

func (s *spool) scan() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	// The directory may be there and yet not ours.
	probe, err := os.CreateTemp(s.dir, "*"+temporary)
	if err != nil {
		return err
	}
	probe.Close()
	os.Remove(probe.Name())

	files, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if strings.HasSuffix(f.Name(), temporary) {
			// Left by a crash; but a young one may be another process's work.
			if time.Since(info.ModTime()) > time.Hour {
				os.Remove(filepath.Join(s.dir, f.Name()))
			}
			continue
		}
		var seq uint64
		if _, err := fmt.Sscanf(f.Name(), "%016d-", &seq); err != nil || !strings.HasSuffix(f.Name(), ".json") {
			continue // not ours
		}
		s.seq = max(s.seq, seq)
		s.entries = append(s.entries, &entry{name: f.Name(), size: int(info.Size()), replayed: true})
		s.bytes += int(info.Size())
	}
	slices.SortFunc(s.entries, func(a, b *entry) int { return cmp.Compare(a.name, b.name) })
	s.trim()
	if n := len(s.entries); n > 0 {
		s.log.Info("reports and events wait from before", "count", n)
	}
	return nil
}

const temporary = ".tmp"

// add takes a message in. durable waits until the disk has it. After an error it is in memory all the same.
func (s *spool) add(topic string, payload []byte, durable bool) error {
	data, err := json.Marshal(record{Topic: topic, Payload: payload})
	if err != nil {
		return err
	}
	if len(data) > spoolEntryBytes {
		return fmt.Errorf("it is %d bytes long, more than %d, and dropped", len(data), spoolEntryBytes)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	e := &entry{name: fmt.Sprintf("%016d-%s.json", s.seq, uuid.NewString()[:8]), size: len(data), added: time.Now()}
	if s.dir == "" {
		e.data = data
	} else if err = s.write(e.name, data, durable); err != nil {
		e.data = data
	}
	s.entries = append(s.entries, e)
	s.bytes += e.size
	s.trim()
	return err
}

// write puts a file into place at once and whole, or not at all.
func (s *spool) write(name string, data []byte, durable bool) (err error) {
	f, err := os.CreateTemp(s.dir, "*"+temporary) // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(s.dir, name)); err != nil {
		return err
	}
	if durable {
		return syncDir(s.dir)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// trim drops the oldest until the spool is within its bounds.
func (s *spool) trim() {
	dropped := uint64(0)
	for len(s.entries) > spoolCount || s.bytes > s.maxBytes && len(s.entries) > 1 {
		s.remove(s.entries[0])
		dropped++
	}
	if dropped > 0 {
		s.dropped += dropped
		s.log.Warn("too much waits for the broker; the oldest was dropped", "dropped", dropped, "dropped_in_all", s.dropped)
	}
}

func (s *spool) remove(e *entry) {
	i := slices.Index(s.entries, e)
	if i < 0 {
		return // dropped while it was under way
	}
	s.entries = slices.Delete(s.entries, i, i+1)
	s.bytes -= e.size
	if e.data != nil {
		return
	}
	if err := os.Remove(filepath.Join(s.dir, e.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("spooled message cannot be removed, and will be sent again", "file", e.name, "err", err)
	}
}

// next gives the oldest message that is not under way, and marks it so; nil when there is none.
func (s *spool) next() *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if !e.sending {
			e.sending = true
			return e
		}
	}
	return nil
}

// load reads an entry's topic and payload.
func (s *spool) load(e *entry) (topic string, payload []byte, err error) {
	data := e.data
	if data == nil {
		if data, err = os.ReadFile(filepath.Join(s.dir, e.name)); err != nil {
			return "", nil, err
		}
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return "", nil, err
	}
	if !strings.HasPrefix(r.Topic, "up/") || strings.ContainsAny(r.Topic, "+#\x00") {
		return "", nil, fmt.Errorf("topic %q is none of ours", r.Topic)
	}
	return r.Topic, r.Payload, nil
}

// done removes a message that the broker has.
func (s *spool) done(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(e)
}

// release takes back everything that was under way.
func (s *spool) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		e.sending = false
	}
}

func (s *spool) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}
