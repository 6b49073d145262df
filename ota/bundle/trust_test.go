package bundle

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)

// repo is a server's metadata, and the keys to sign more.
type repo struct {
	t     *testing.T
	root  Root
	keys  map[string]ed25519.PrivateKey // root1, root2, targets, timestamp
	files map[string][]byte
	asked []string
}

func key(name string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(fmt.Sprintf("%-32s", name)))
}

func keysOf(threshold int, keys ...ed25519.PrivateKey) Keys {
	k := Keys{Threshold: threshold}
	for _, private := range keys {
		k.KeyIDs = append(k.KeyIDs, KeyID(private.Public().(ed25519.PublicKey)))
	}
	return k
}

// newRepo has release v2.0.0 for rpi4, its root needs two of three keys.
func newRepo(t *testing.T) (*repo, Trust) {
	r := &repo{t: t, keys: map[string]ed25519.PrivateKey{}, files: map[string][]byte{}}
	r.root = Root{Common: Common{RootRole, 1, now.AddDate(5, 0, 0)}, Keys: map[string]ed25519.PublicKey{}}
	for _, name := range []string{"root1", "root2", "root3", "targets", "timestamp", "other"} {
		r.keys[name] = key(name)
		public := r.keys[name].Public().(ed25519.PublicKey)
		r.root.Keys[KeyID(public)] = public
	}
	r.root.Roles = map[Role]Keys{
		RootRole:      keysOf(2, r.keys["root1"], r.keys["root2"], r.keys["root3"]),
		TargetsRole:   keysOf(1, r.keys["targets"]),
		TimestampRole: keysOf(1, r.keys["timestamp"]),
	}
	first := r.put("1.root.json", r.root, "root1", "root2")
	r.release(nil, nil)
	return r, Trust{Root: first}
}

func (r *repo) put(name string, metadata any, keys ...string) []byte {
	e, err := Sign(metadata, r.private(keys)...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.files[name], _ = json.Marshal(e)
	return r.files[name]
}

func (r *repo) private(names []string) (keys []ed25519.PrivateKey) {
	for _, n := range names {
		keys = append(keys, r.keys[n])
	}
	return keys
}

// release signs targets and a timestamp, changed first.
func (r *repo) release(changeTargets func(*Targets), changeStamp func(*Timestamp)) {
	image, err := Describe("rpi4/2.img", bytes.NewReader(make([]byte, 3*minChunk+5)), minChunk)
	if err != nil {
		r.t.Fatal(err)
	}
	t := Targets{Common: Common{TargetsRole, 4, now.AddDate(1, 0, 0)}, Board: "rpi4", Release: "v2.0.0", Image: image}
	if changeTargets != nil {
		changeTargets(&t)
	}
	b := r.put(fmt.Sprintf("%d.rpi4.json", t.Version), t, "targets")
	r.stamp(t.Version, b, changeStamp)
}

func (r *repo) stamp(version int64, targets []byte, change func(*Timestamp)) {
	sum := sha256.Sum256(targets)
	s := Timestamp{Common{TimestampRole, 9, now.AddDate(0, 0, 7)}, map[string]Meta{"rpi4": {version, int64(len(targets)), sum[:], 1}}}
	if change != nil {
		change(&s)
	}
	r.put("timestamp.json", s, "timestamp")
}

func (r *repo) fetch(name string, limit int64) ([]byte, error) {
	r.asked = append(r.asked, name)
	b, is := r.files[name]
	if !is {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	if int64(len(b)) > limit {
		return nil, errors.New("too long")
	}
	return b, nil
}

func TestRefresh(t *testing.T) {
	r, trust := newRepo(t)
	targets, next, err := trust.Refresh(r.fetch, "rpi4", now)
	if err != nil || targets.Release != "v2.0.0" || len(targets.Image.Chunks) != 4 {
		t.Fatalf("%+v, %v", targets, err)
	}
	if next.Timestamp != 9 || next.Targets["rpi4"] != 4 || trust.Timestamp != 0 {
		t.Errorf("%+v", next)
	}
	if got := strings.Join(r.asked, " "); got != "2.root.json timestamp.json 4.rpi4.json" {
		t.Errorf("asked for %s", got)
	}
	if targets, _, err := next.Refresh(r.fetch, "rpi3", now); targets != nil || err != nil {
		t.Errorf("a board without release: %v, %v", targets, err)
	}
	b, _ := json.Marshal(next)
	var back Trust
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if _, _, err := back.Refresh(r.fetch, "rpi4", now); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

func TestRefreshRefuses(t *testing.T) {
	seen := func(stamp, targets int64) func(*Trust) {
		return func(t *Trust) { t.Timestamp, t.Targets = stamp, map[string]int64{"rpi4": targets} }
	}
	for _, tt := range []struct {
		name  string
		spoil func(*repo)
		trust func(*Trust)
		want  error
		words string
	}{
		{"timestamp by another key", func(r *repo) {
			var s Timestamp
			unpack(r, "timestamp.json", &s)
			r.put("timestamp.json", s, "targets")
		}, nil, ErrSignature, "timestamp: not signed as it must be: 0 of 1"},
		{"targets by the timestamp's key", func(r *repo) {
			var x Targets
			unpack(r, "4.rpi4.json", &x)
			r.stamp(4, r.put("4.rpi4.json", x, "timestamp"), nil)
		}, nil, ErrSignature, "targets of rpi4"},
		{"frozen", func(r *repo) { r.release(nil, func(s *Timestamp) { s.Expires = now }) }, nil, ErrExpired, "old news"},
		{"expired targets", func(r *repo) { r.release(func(x *Targets) { x.Expires = now.Add(-1) }, nil) }, nil, ErrExpired, "targets of rpi4: expired on 2026-06-30"},
		{"expired root", func(r *repo) {
			r.root.Version, r.root.Expires = 2, now
			r.put("2.root.json", r.root, "root1", "root2")
		}, nil, ErrExpired, "root: expired"},
		{"an older timestamp", nil, seen(10, 4), ErrRollback, "version 9, seen 10"},
		{"older targets", nil, seen(9, 5), ErrRollback, "version 4, seen 5"},
		{"for another board", func(r *repo) { r.release(func(x *Targets) { x.Board = "rpi3" }, nil) }, nil, ErrBoard, "rpi3"},
		{"another version than the timestamp says", func(r *repo) {
			r.release(nil, func(s *Timestamp) { m := s.Targets["rpi4"]; m.Version = 5; s.Targets["rpi4"] = m })
			r.files["5.rpi4.json"] = r.files["4.rpi4.json"]
		}, nil, ErrMismatch, "version 4"},
		{"other targets than the timestamp says", func(r *repo) {
			stamp := r.files["timestamp.json"]
			r.release(func(x *Targets) { x.Release = "v9.0.0" }, nil)
			r.files["timestamp.json"] = stamp
		}, nil, ErrMismatch, "length or hash"},
		{"a flipped bit in the payload", func(r *repo) { flip(r, "timestamp.json", "payload") }, nil, ErrSignature, ""},
		{"targets in the timestamp's place", func(r *repo) {
			var x Targets
			unpack(r, "4.rpi4.json", &x)
			r.put("timestamp.json", x, "timestamp")
		}, nil, ErrMismatch, `it is "targets"`},
		{"root in the timestamp's role", func(r *repo) {
			r.put("timestamp.json", Timestamp{Common: Common{RootRole, 9, now.AddDate(1, 0, 0)}}, "timestamp")
		},
			nil, ErrMismatch, `it is "root"`},
		{"a share of the fleet that is none", func(r *repo) {
			r.release(nil, func(s *Timestamp) { m := s.Targets["rpi4"]; m.Share = 1.01; s.Targets["rpi4"] = m })
		}, nil, nil, "share: 1.01"},
		{"a path out of the server", func(r *repo) { r.release(func(x *Targets) { x.Image.Path = "../secret" }, nil) }, nil, nil, "path"},
		{"too few chunks", func(r *repo) { r.release(func(x *Targets) { x.Image.Chunks = x.Image.Chunks[1:] }, nil) }, nil, nil, "3 chunks"},
		{"tiny chunks", func(r *repo) { r.release(func(x *Targets) { x.Image.ChunkSize = 1 }, nil) }, nil, nil, "chunks of 1 bytes"},
		{"no version", func(r *repo) { r.release(func(x *Targets) { x.Release = "two" }, nil) }, nil, nil, `"two" is no version`},
		{"targets longer than a device reads", func(r *repo) {
			r.release(nil, func(s *Timestamp) { m := s.Targets["rpi4"]; m.Length = maxMetadata + 1; s.Targets["rpi4"] = m })
		}, nil, ErrMismatch, ""},
		{"no timestamp", func(r *repo) { delete(r.files, "timestamp.json") }, nil, fs.ErrNotExist, "timestamp"},
		{"a trust that is broken", nil, func(t *Trust) { t.Root = t.Root[1:] }, nil, "the one that this device trusts"},
		{"a root with one signature too few", func(r *repo) {
			r.root.Version = 2
			r.put("2.root.json", r.root, "root1")
		}, nil, ErrSignature, "1 of 2"},
		{"a root signed twice by one key", func(r *repo) {
			r.root.Version = 2
			r.put("2.root.json", r.root, "root1", "root1")
		}, nil, ErrSignature, "1 of 2"},
		{"a root signed by its own new keys alone", func(r *repo) {
			r.root.Version = 2
			r.root.Roles[RootRole] = keysOf(1, r.keys["other"])
			r.put("2.root.json", r.root, "other")
		}, nil, ErrSignature, "0 of 2"},
		{"a root not signed by its own new keys", func(r *repo) {
			r.root.Version = 2
			r.root.Roles[RootRole] = keysOf(1, r.keys["other"])
			r.put("2.root.json", r.root, "root1", "root2")
		}, nil, ErrSignature, "0 of 1"},
		{"a root that skips a version", func(r *repo) {
			r.root.Version = 3
			r.put("2.root.json", r.root, "root1", "root2")
		}, nil, ErrMismatch, "2.root.json is version 3"},
		{"a root without threshold", func(r *repo) {
			r.root.Version = 2
			r.root.Roles[TargetsRole] = Keys{KeyIDs: r.root.Roles[TargetsRole].KeyIDs}
			r.put("2.root.json", r.root, "root1", "root2")
		}, nil, nil, "targets needs 0 of 1"},
		{"a key that is not there", func(r *repo) {
			r.root.Version = 2
			r.root.Roles[TargetsRole] = Keys{KeyIDs: append(r.root.Roles[TargetsRole].KeyIDs, "00"), Threshold: 2}
			r.put("2.root.json", r.root, "root1", "root2")
		}, nil, nil, "targets needs 2 of 1"},
		{"a threshold that one key fills twice", func(r *repo) {
			r.root.Version = 2
			ids := r.root.Roles[TargetsRole].KeyIDs
			r.root.Roles[TargetsRole] = Keys{KeyIDs: append(ids, ids...), Threshold: 2}
			r.put("2.root.json", r.root, "root1", "root2")
		}, nil, nil, "targets needs 2 of 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, trust := newRepo(t)
			if tt.spoil != nil {
				tt.spoil(r)
			}
			if tt.trust != nil {
				tt.trust(&trust)
			}
			before, _ := json.Marshal(trust)
			targets, next, err := trust.Refresh(r.fetch, "rpi4", now)
			if targets != nil || err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("%v, %v, want %v: %s", targets, err, tt.want, tt.words)
			}
			if errors.Is(tt.want, ErrExpired) && r.files["2.root.json"] != nil { // it was signed as it must be
				next.Root = trust.Root
			}
			if after, _ := json.Marshal(next); !bytes.Equal(before, after) {
				t.Errorf("the trust has changed: %s", after)
			}
		})
	}
}

func unpack(r *repo, name string, to any) {
	e, err := parseEnvelope(r.files[name])
	if err != nil {
		r.t.Fatal(err)
	}
	if err := json.Unmarshal(e.Payload, to); err != nil {
		r.t.Fatal(err)
	}
}

// flip changes one bit of an envelope's payload that keeps it JSON: a digit of the version.
func flip(r *repo, name, _ string) {
	e, err := parseEnvelope(r.files[name])
	if err != nil {
		r.t.Fatal(err)
	}
	e.Payload = bytes.Replace(e.Payload, []byte(`"version":9`), []byte(`"version":8`), 1)
	r.files[name], _ = json.Marshal(e)
}

// Keys change hands: by the old root's word a new one, and a timestamp key that was lost cannot hold the fleet.
func TestRotation(t *testing.T) {
	r, trust := newRepo(t)
	trust.Timestamp, trust.Targets = 1<<40, map[string]int64{"rpi4": 1 << 40} // what a thief signed
	r.root.Roles = maps.Clone(r.root.Roles)
	r.root.Version, r.root.Roles[TargetsRole] = 2, keysOf(1, r.keys["other"])
	r.put("2.root.json", r.root, "root1", "root3")
	r.keys["targets"] = r.keys["other"]
	r.root.Version, r.root.Roles[TimestampRole] = 3, keysOf(1, r.keys["root2"])
	r.put("3.root.json", r.root, "root2", "root3")
	r.keys["timestamp"] = r.keys["root2"]
	r.release(nil, nil)
	targets, next, err := trust.Refresh(r.fetch, "rpi4", now)
	if err != nil || targets.Release != "v2.0.0" || next.Timestamp != 9 {
		t.Fatalf("%v, %+v, %v", targets, next, err)
	}
	if !bytes.Equal(next.Root, r.files["3.root.json"]) {
		t.Error("the newest root is not remembered")
	}
}

// A root that was seen stays, whatever is wrong behind it: who holds an old key cannot wait for a device to forget that.
func TestRootStays(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*repo)
		want  string
	}{
		{"no timestamp", func(r *repo) { delete(r.files, "timestamp.json") }, "3.root.json"},
		{"a timestamp by the old key", func(r *repo) { r.keys["timestamp"] = key("timestamp"); r.release(nil, nil) }, "3.root.json"},
		{"the last root is spoilt", func(r *repo) { r.files["3.root.json"] = []byte("<html>") }, "2.root.json"},
	} {
		r, trust := newRepo(t)
		trust.Timestamp, trust.Targets = 1<<40, map[string]int64{"rpi4": 4}
		r.root.Roles = maps.Clone(r.root.Roles)
		r.root.Version, r.root.Roles[TimestampRole] = 2, keysOf(1, r.keys["other"])
		r.put("2.root.json", r.root, "root1", "root3")
		r.root.Version = 3
		r.put("3.root.json", r.root, "root1", "root3")
		r.keys["timestamp"] = r.keys["other"]
		r.release(nil, nil)
		good := maps.Clone(r.files)
		tt.spoil(r)
		_, next, err := trust.Refresh(r.fetch, "rpi4", now)
		if err == nil || !bytes.Equal(next.Root, r.files[tt.want]) || next.Timestamp != 0 || next.Targets["rpi4"] != 4 {
			t.Errorf("%s: %d, %v, %v", tt.name, next.Timestamp, next.Targets, err)
		}
		r.files = good
		if _, next, err = next.Refresh(r.fetch, "rpi4", now); err != nil || next.Timestamp != 9 || !bytes.Equal(next.Root, r.files["3.root.json"]) {
			t.Errorf("%s: and then %v, %v", tt.name, next.Timestamp, err)
		}
	}
}

// What a newer tool writes besides is passed over.
func TestUnknownFields(t *testing.T) {
	r, trust := newRepo(t)
	var x map[string]any
	unpack(r, "4.rpi4.json", &x)
	x["colour"] = "green"
	r.stamp(4, r.put("4.rpi4.json", x, "targets"), nil)
	for name, b := range r.files {
		r.files[name] = bytes.Replace(b, []byte("{"), []byte(`{"note":"ours",`), 1)
		if name == "4.rpi4.json" {
			r.stamp(4, r.files[name], nil)
		}
	}
	if targets, _, err := trust.Refresh(r.fetch, "rpi4", now); err != nil || targets.Release != "v2.0.0" {
		t.Errorf("%+v, %v", targets, err)
	}
}

func TestOffers(t *testing.T) {
	for _, tt := range []struct {
		release, minimum, running string
		want                      error
	}{
		{"v2.0.0", "", "v1.9.9", nil},
		{"v2.0.0", "", "v2.0.0-rc.1", nil},
		{"v2.0.0", "", "v2.0.0", ErrCurrent},
		{"v2.0.0", "", "v2.0.1", ErrDowngrade},
		{"v2.0.0", "v1.5.0", "v1.5.0", nil},
		{"v2.0.0", "", "dev", nil}, // no version is the oldest
	} {
		if err := (&Targets{Release: tt.release, MinimumVersion: tt.minimum}).Offers(tt.running); !errors.Is(err, tt.want) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	if err := (&Targets{Release: "v2.0.0", MinimumVersion: "v1.5.0"}).Offers("v1.4.0"); err == nil {
		t.Error("older than the minimum")
	}
}

// A share that grows keeps who was in it; a device that is among the first once is not always so.
func TestIncludes(t *testing.T) {
	const fleet = 10_000
	first := map[string]int{}
	for _, release := range []string{"v2.0.0", "v3.0.0"} {
		for n := range fleet {
			device, was := fmt.Sprint("door", n), false
			for _, share := range []float64{0, 0.01, 0.1, 1} {
				is := (&Targets{Release: release, Share: share}).Includes(device)
				if was && !is || is && share == 0 || !is && share == 1 {
					t.Fatalf("%s at %g: %t", device, share, is)
				}
				if was = is; is {
					first[fmt.Sprint(release, " ", share)]++
				}
				if is && share == 0.01 {
					first[device]++
				}
			}
		}
	}
	both := 0
	for name, n := range first {
		if strings.HasPrefix(name, "door") && n == 2 {
			both++
		}
	}
	if one, ten := first["v2.0.0 0.01"], first["v2.0.0 0.1"]; one < 60 || one > 140 || ten < 880 || ten > 1120 || both > 10 {
		t.Errorf("%d, %d of %d, %d in both releases", one, ten, fleet, both)
	}
}

// Any flipped bit in any chunk is seen.
func TestCheckChunk(t *testing.T) {
	img := bytes.Repeat([]byte("sidetone"), minChunk/8*2+7)
	i, err := Describe("a", bytes.NewReader(img), minChunk)
	if err != nil || len(i.Chunks) != 3 {
		t.Fatal(i, err)
	}
	for n := range i.Chunks {
		at, size := i.Chunk(n)
		b := bytes.Clone(img[at : at+size])
		if err := i.CheckChunk(n, b); err != nil {
			t.Error(err)
		}
		for bit := 0; bit < len(b)*8; bit += 997 {
			b[bit/8] ^= 1 << (bit % 8)
			if err := i.CheckChunk(n, b); !errors.Is(err, ErrMismatch) {
				t.Fatalf("chunk %d, bit %d: %v", n, bit, err)
			}
			b[bit/8] ^= 1 << (bit % 8)
		}
		if i.CheckChunk(n, b[1:]) == nil {
			t.Error("a short chunk")
		}
	}
}

func FuzzRefresh(f *testing.F) {
	r, trust := newRepo(&testing.T{})
	for name, b := range r.files {
		f.Add(name, b)
	}
	f.Add("2.root.json", r.files["1.root.json"])
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		files := maps.Clone(r.files)
		files[name] = b
		fetch := func(name string, limit int64) ([]byte, error) {
			if b, is := files[name]; is && int64(len(b)) <= limit {
				return b, nil
			}
			return nil, fs.ErrNotExist
		}
		// Nobody but the keys' owners can make another release.
		targets, _, err := trust.Refresh(fetch, "rpi4", now)
		if err == nil && (targets == nil || targets.Release != "v2.0.0") {
			t.Errorf("%s: %+v", name, targets)
		}
	})
}

// FuzzTargets reads what somebody signed by mistake.
func FuzzTargets(f *testing.F) {
	r, _ := newRepo(&testing.T{})
	e, _ := parseEnvelope(r.files["4.rpi4.json"])
	f.Add([]byte(e.Payload))
	f.Fuzz(func(t *testing.T, b []byte) {
		var x Targets
		if json.Unmarshal(b, &x) != nil || x.Check() != nil {
			return
		}
		end := int64(0)
		for n := range x.Image.Chunks {
			at, size := x.Image.Chunk(n)
			if at != end || size < 1 || size > maxChunk {
				t.Fatalf("chunk %d: %d bytes at %d", n, size, at)
			}
			end += size
		}
		if end != x.Image.Size {
			t.Errorf("%d of %d bytes", end, x.Image.Size)
		}
	})
}

// FuzzEnvelope takes signatures for what they are: nothing but what was signed is ever opened.
func FuzzEnvelope(f *testing.F) {
	r, trust := newRepo(&testing.T{})
	root, err := FirstRoot(trust.Root)
	if err != nil {
		f.Fatal(err)
	}
	signed := map[string]bool{}
	for _, b := range r.files {
		f.Add(b)
		if e, err := parseEnvelope(b); err == nil {
			signed[string(e.Payload)] = true
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, role := range []Role{RootRole, TimestampRole, TargetsRole} {
			var to any
			if e, err := parseEnvelope(b); Open(b, root, role, &to) == nil && (err != nil || !signed[string(e.Payload)]) {
				t.Errorf("opened as %s: %q", role, b)
			}
		}
	})
}

// FuzzTrust begins from what a disk may hold as trust, and refreshes it from an honest server.
func FuzzTrust(f *testing.F) {
	r, trust := newRepo(&testing.T{})
	b, err := json.Marshal(trust)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	fetch := func(name string, limit int64) ([]byte, error) {
		if b, is := r.files[name]; is && int64(len(b)) <= limit {
			return b, nil
		}
		return nil, fs.ErrNotExist
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var before Trust
		if json.Unmarshal(b, &before) != nil {
			return
		}
		_, after, err := before.Refresh(fetch, "rpi4", now)
		if err != nil && (after.Timestamp != before.Timestamp || !bytes.Equal(after.Root, before.Root)) {
			t.Errorf("%v, and yet the trust has changed", err)
		}
	})
}
