package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// disk is the file in which a token outlives a restart.
type disk struct {
	path   string
	origin string // what the token must have come from

	mu  sync.Mutex
	has string // key of what it holds; "" for nothing
}

// kept is that file's content.
type kept struct {
	Origin        string       `json:"origin"`
	Token         string       `json:"token"`
	Expires       time.Time    `json:"expires"` // by the issuer's clock
	Life          float64      `json:"life_s"`  // from when it came
	ICEServers    []keptServer `json:"ice_servers,omitempty"`
	ServersExpire time.Time    `json:"ice_servers_expire,omitzero"`
	Saved         time.Time    `json:"saved"` // by our clock
}

type keptServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

// fingerprint tells one source from another without keeping what they are.
func fingerprint(parts []string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// maxLife bounds what is believed of a file's life_s, in seconds: a century.
const maxLife = 100 * 365 * 24 * 3600

// readKept understands the file's content.
func readKept(b []byte) (kept, error) {
	var f kept
	if err := json.Unmarshal(b, &f); err != nil {
		return kept{}, err
	}
	if f.Token == "" || !sane(f.Expires) || !(f.Life > 0 && f.Life < maxLife) {
		return kept{}, errors.New("a token, its end or its life is missing")
	}
	return f, nil
}

// read gives what the file holds from this source, nil for nothing.
func (d *disk) read() (*kept, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := os.Open(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d.has = "?" // whatever it is, it is replaced or removed
	b, err := io.ReadAll(io.LimitReader(f, maxAnswer))
	if err != nil {
		return nil, err
	}
	c, err := readKept(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.path, err)
	}
	if c.Origin != d.origin {
		return nil, nil
	}
	d.has = c.grant().key()
	return &c, nil
}

// write replaces the file: whole or not at all, whenever the power fails.
func (d *disk) write(c kept) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	dir := filepath.Dir(d.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp := d.path + ".tmp"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) { // its mode may be any
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, d.path); err != nil {
		return err
	}
	parent, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

func (c kept) grant() grant {
	g := grant{Credentials: Credentials{Token: NewSecret(c.Token)}, expires: c.Expires, serversExpire: c.ServersExpire}
	for _, s := range c.ICEServers {
		g.ICEServers = append(g.ICEServers, ICEServer{URLs: s.URLs, Username: s.Username, Credential: NewSecret(s.Credential)})
	}
	return g
}

// load takes what is on disk in hand, once, if more than a tenth of its life is left.
func (k *keeper) load() {
	if k.loaded {
		return
	}
	k.loaded = true
	if k.disk == nil {
		return
	}
	c, err := k.disk.read()
	if err != nil {
		k.log.Warn("the token kept on disk is of no use; a new one is asked for", "err", err)
	}
	if c == nil {
		return
	}
	k.hand, k.due = wake(*c, time.Now(), k.clock)
}

// wake gives what is in hand after a restart, and when to replace it. A clock that cannot be right does not say how
// long we were away: then the token is used, and one that is fresh for certain is asked for soon.
func wake(c kept, now time.Time, clock *Clock) (*holding, time.Time) {
	g := c.grant()
	clock.saw(c.Saved)
	clock.saw(readLife(c.Token).issued)
	life := time.Duration(c.Life * float64(time.Second))
	h := &holding{grant: g, id: g.key(), life: life}
	soon := now.Add(refreshPause)
	if !clock.Plausible(now) {
		h.dead = now.Add(life)
		h.warnAt = now.Add(warnAfter(life))
		return h, soon
	}
	left := min(life, c.Expires.Sub(now))
	if left <= time.Duration(cacheReserve*float64(life)) {
		return nil, time.Time{}
	}
	before := life - left
	h.dead = now.Add(left)
	h.warnAt = now.Add(warnAfter(life) - before)
	due := now.Add(refreshAfter(life) - before)
	if sane(c.ServersExpire) {
		h.servers = now.Add(c.ServersExpire.Sub(now))
		due = soon // half their life may be over, or more
	}
	if due.Before(soon) {
		due = soon
	}
	return h, due
}

// save has on disk what is in hand, if that is of use after a restart.
func (k *keeper) save() {
	if k.disk == nil {
		return
	}
	k.disk.mu.Lock()
	defer k.disk.mu.Unlock()
	k.mu.Lock()
	h, loaded := k.hand, k.loaded
	var want kept
	has := ""
	if h != nil && h.life > 0 {
		has, want = h.id, keep(h, k.disk.origin)
	}
	k.mu.Unlock()
	if !loaded || has == k.disk.has {
		return
	}
	var err error
	if has == "" {
		if err = os.Remove(k.disk.path); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else {
		err = k.disk.write(want)
	}
	k.disk.has = has
	if err != nil {
		k.log.Warn("the token on disk could not be replaced; the next start asks for a new one", "file", k.disk.path, "err", err)
	}
}

func keep(h *holding, origin string) kept {
	c := kept{
		Origin: origin, Token: h.Token.Reveal(), Expires: h.expires, Life: h.life.Seconds(),
		ServersExpire: h.serversExpire, Saved: time.Now().UTC(),
	}
	if exp := readLife(c.Token).expires; !exp.IsZero() {
		c.Expires = exp.UTC()
	}
	for _, s := range h.ICEServers {
		c.ICEServers = append(c.ICEServers, keptServer{URLs: s.URLs, Username: s.Username, Credential: s.Credential.Reveal()})
	}
	return c
}
