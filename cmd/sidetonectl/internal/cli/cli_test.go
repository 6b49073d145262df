package cli

import (
	"bytes"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sidetone/cmd/internal/subcommand"
	"sidetone/ota/bundle"
	"sidetone/ota/release"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is an operator's directory: each command runs there, as it is typed.
type desk struct{ *testing.T }

func newDesk(t *testing.T) desk {
	t.Chdir(t.TempDir())
	return desk{t}
}

// run runs a command line and gives its exit code and what it wrote.
func (d desk) run(line string) (code int, out, errOut string) {
	d.Helper()
	var o, e bytes.Buffer
	code = tool.Main(subcommand.Env{Out: &o, Err: &e}, strings.Fields(line))
	return code, o.String(), e.String()
}

// does wants a command to succeed and to say each of words.
func (d desk) does(line string, words ...string) string {
	d.Helper()
	code, out, errOut := d.run(line)
	if code != subcommand.OK {
		d.Fatalf("%s: %d\n%s%s", line, code, out, errOut)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			d.Errorf("%s: wants %q:\n%s%s", line, w, out, errOut)
		}
	}
	return out
}

// fails wants a command to fail, and the error to say each of words.
func (d desk) fails(line string, words ...string) {
	d.Helper()
	code, out, errOut := d.run(line)
	if code != subcommand.Failed && code != subcommand.Usage {
		d.Fatalf("%s: %d\n%s%s", line, code, out, errOut)
	}
	for _, w := range words {
		if !strings.Contains(errOut, w) {
			d.Errorf("%s: wants %q:\n%s", line, w, errOut)
		}
	}
}

const chunk = 256 << 10

// image writes an image of a few chunks that do not compress, with a head that tells versions apart.
func (d desk) image(name string, from ...string) {
	d.Helper()
	b := make([]byte, 3*chunk+1000)
	_, _ = rand.Read(b)
	if len(from) > 0 {
		old, err := os.ReadFile(from[0])
		if err != nil {
			d.Fatal(err)
		}
		b = old
	}
	copy(b[chunk:], name)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		d.Fatal(err)
	}
}

// opened is a desk with a root and a first release for rpi4.
func opened(t *testing.T) desk {
	d := newDesk(t)
	d.does("keygen root targets timestamp")
	d.does("root --root-key root.pub --targets-key targets.pub --timestamp-key timestamp.pub --key root.key")
	d.image("v1.img")
	d.does("release rpi4 v1.0.0 v1.img --key targets.key --key timestamp.key")
	return d
}

func TestKeygen(t *testing.T) {
	d := newDesk(t)
	if out := d.does("keygen a b"); !regexp.MustCompile(`^[0-9a-f]{64}  a.key\n[0-9a-f]{64}  b.key\n$`).MatchString(out) {
		t.Error(out)
	}
	before, _ := os.ReadFile("a.key")
	info, err := os.Stat("a.key")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	d.fails("keygen a", "a.pub is there already", "another name")
	if err := os.Remove("a.pub"); err != nil {
		t.Fatal(err)
	}
	d.fails("keygen a", "a.key is there already", "another name")
	if after, _ := os.ReadFile("a.key"); !bytes.Equal(before, after) {
		t.Error("the key was overwritten")
	}
	d.fails("keygen", "takes 1 to 100 words")
	if err := os.Chmod("b.key", 0o644); err != nil {
		t.Fatal(err)
	}
	d.fails("stamp --key b.key", "can be read by others", "chmod 600")
	d.fails("stamp --key b.pub", "no private key")
	d.fails("stamp --key none.key", "no such file")
	d.fails("stamp", "has no root yet")
}

// The way of a release from keys to a device that takes it, by a delta too.
func TestRelease(t *testing.T) {
	d := opened(t)
	d.does("verify updates --board rpi4 --running v0.9.0", "root       version 1", "rpi4 with v0.9.0 takes v1.0.0", "100 % of the fleet")
	d.does("verify updates --board rpi4 --running v1.0.0", "up to date")
	d.image("v2.img", "v1.img")
	d.does("release rpi4 v2.0.0 v2.img --from v1.img --minimum v1.0.0 --summary less --key . ", "delta from", "rpi4  v2.0.0, offered to 100 %")
	d.does("verify updates --board rpi4 --running v1.0.0", "takes v2.0.0", "delta      rpi4/v2.0.0-from-")
	d.does("verify updates --board rpi4 --running v0.9.0", "takes nothing", "an update in between is missing")
	d.does("verify updates --board rpi4 --running v3.0.0", "takes nothing: older than what runs")
	d.does("verify updates --board rpi3", "board rpi3 has no release")
	d.image("other.img")
	d.does("release rpi3 v2.0.0 other.img --from v1.img --key .", "1 of 1 older images have too little in common with it")
	d.does("verify updates --board rpi3", "takes v2.0.0")
	if left, _ := filepath.Glob("updates/targets/rpi3/*.delta"); len(left) > 0 {
		t.Errorf("%v is there for nobody", left)
	}
	d.fails("verify updates", "for which board")
	d.fails("verify none --board rpi4", "none: no repository is there")
	d.fails("release rpi4 two v2.img --key .", `"two" is no version`)
	d.fails("release root v2.0.0 v2.img --key .", "names of boards")
	d.fails("release rpi4 v3.0.0 none.img --key .", "no such file")
	d.fails("release rpi4 v2.0.0 v1.img --key .", "is another image", "another version")
	// The same once more is a newer word on it: who gave it up may try again.
	d.does("release rpi4 v2.0.0 v2.img --key .", "3.rpi4.json")
	d.does("version", "sidetonectl dev")
}

func TestShare(t *testing.T) {
	d := opened(t)
	d.image("v2.img")
	d.does("release rpi4 v2.0.0 v2.img --share 10 --key .", "offered to 10 %")
	in, out := "", ""
	for n := 0; in == "" || out == ""; n++ {
		name := fmt.Sprint("door", n)
		if (&bundle.Targets{Release: "v2.0.0", Share: 0.1}).Includes(name) {
			in = name
		} else {
			out = name
		}
	}
	d.does("verify --board rpi4 --running v1.0.0 --device "+in, "takes v2.0.0")
	d.does("verify --board rpi4 --running v1.0.0 --device "+out, "takes nothing yet", "10 % of the fleet")
	d.does("stamp --key timestamp.key", "rpi4  v2.0.0, offered to 10 %")
	d.does("stamp --key timestamp.key --share rpi4=100%", "offered to 100 %")
	d.does("verify --board rpi4 --running v1.0.0 --device "+out, "takes v2.0.0")
	d.does("stamp --key timestamp.key --share rpi4=0", "offered to 0 %")
	d.does("verify --board rpi4 --running v1.0.0", "offered to nobody")
	d.fails("stamp --key timestamp.key --share rpi3=10", `no release for board "rpi3"`)
	d.fails("stamp --key timestamp.key --share rpi4=101", "BOARD=PERCENT")
	d.fails("stamp --key timestamp.key --share 10", "BOARD=PERCENT")
}

// A repository is walked through its server, too, which has to be who it says.
func TestVerifyURL(t *testing.T) {
	d := opened(t)
	server := httptest.NewTLSServer(http.FileServer(http.Dir("updates")))
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	d.must(os.WriteFile("ca.pem", ca, 0o600))
	d.does("verify "+server.URL+" --board rpi4 --ca ca.pem --root updates/metadata/1.root.json", "takes v1.0.0")
	d.fails("verify "+server.URL+" --board rpi4", "certificate")
	d.fails("verify "+server.URL+" --board rpi4 --ca root.pub", "root.pub holds no certificate")
}

// Each fault of a repository is told, and where it is.
func TestVerifyFinds(t *testing.T) {
	made := opened(t)
	made.image("v2.img", "v1.img")
	made.does("release rpi4 v2.0.0 v2.img --from v1.img --key .")
	all, err := os.Getwd()
	made.must(err)
	for _, tt := range []struct {
		name  string
		spoil func(d desk)
		line  string
		want  []string
	}{
		{"a flipped bit", func(d desk) { d.flip("updates/targets/rpi4/v2.0.0.img", chunk+7) }, "",
			[]string{"targets/rpi4/v2.0.0.img", "chunk 1 of the image (262144 bytes from 262144 on)"}},
		{"two flipped bits", func(d desk) {
			d.flip("updates/targets/rpi4/v2.0.0.img", 7)
			d.flip("updates/targets/rpi4/v2.0.0.img", 3*chunk+7)
		}, "", []string{"chunk 0 of", "chunk 3 of the image (1000 bytes from 786432 on)"}},
		{"a short image", func(d desk) { d.must(os.Truncate("updates/targets/rpi4/v2.0.0.img", 2*chunk+5)) }, "", []string{"ends in chunk 2"}},
		{"no image", func(d desk) { d.must(os.Remove("updates/targets/rpi4/v2.0.0.img")) }, "", []string{"v2.0.0.img", "not exist"}},
		{"a spoilt delta", func(d desk) {
			all, _ := filepath.Glob("updates/targets/rpi4/*.delta")
			d.flip(all[0], 30)
		}, "", []string{".delta: not what the metadata above it says"}},
		{"targets that were changed", func(d desk) { d.flip("updates/metadata/2.rpi4.json", 200) }, "", []string{"targets of rpi4", "length or hash"}},
		{"a frozen timestamp", func(desk) {}, "--at 8d", []string{"timestamp: expired", "old news"}},
		{"an expired release", func(d desk) { d.does("stamp --key timestamp.key --valid 500d") }, "--at 400d", []string{"targets of rpi4: expired"}},
		{"an expired root", func(desk) {}, "--at 2000d", []string{"root: expired"}},
		{"another root", func(d desk) {
			d.does("keygen other")
			d.does("root --repo else --root-key other.pub --targets-key other.pub --timestamp-key other.pub --key other.key")
		}, "--root else/metadata/1.root.json", []string{"timestamp: not signed as it must be: 0 of 1"}},
		{"a root that is none", func(d desk) { d.must(os.WriteFile("x", []byte("{}"), 0o600)) }, "--root x", []string{"the one that this device trusts"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t)
			d.must(os.CopyFS(".", os.DirFS(all)))
			d.must(os.Chmod("timestamp.key", 0o600))
			tt.spoil(d)
			d.fails("verify --board rpi4 --running v1.0.0 "+tt.line, tt.want...)
		})
	}
}

func (d desk) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

// flip changes one bit of a file.
func (d desk) flip(path string, at int) {
	d.Helper()
	b, err := os.ReadFile(path)
	d.must(err)
	b[at] ^= 1
	d.must(os.WriteFile(path, b, 0o600))
}

// Two of three offline keys sign the root, each on a machine of its own; the keys of releases change hands by their word.
func TestRotation(t *testing.T) {
	d := newDesk(t)
	d.does("keygen ann bob cid targets timestamp targets2 dora")
	d.fails("root --root-key ann.pub --targets-key targets.pub", "needs a key for timestamp")
	d.does("root --root-key ann.pub --root-key bob.pub --root-key cid.pub --root-threshold 2 --targets-key targets.pub --timestamp-key timestamp.pub --key ann.key",
		"not out yet", "1 of 2 signatures", "sidetonectl sign updates/1.root.json", "root --publish updates/1.root.json")
	d.fails("root --publish updates/1.root.json", "1 of 2 signatures", "sidetonectl sign updates/1.root.json")
	d.does("sign updates/1.root.json --key ann.key", "root: 2 of 3 keys sign") // once more is not twice
	d.fails("root --publish updates/1.root.json", "1 of 2")
	d.does("sign updates/1.root.json --key bob.key", "(now)")
	d.does("root --publish updates/1.root.json", "root version 1", "update.root_file")

	d.image("v1.img")
	d.fails("release rpi4 v1.0.0 v1.img --key timestamp.key", "none of the 1 keys given", "names for targets")
	d.does("release rpi4 v1.0.0 v1.img --key targets.key", "not out yet", "names for timestamp")
	d.does("stamp --key timestamp.key --share rpi4=100", "v1.0.0, offered to 100 %")
	d.does("verify --board rpi4", "takes v1.0.0")

	// The key of releases was lost: another takes its place, and two keys of root know it.
	d.does("root --targets-key targets2.pub --key bob.key", "not out yet")
	d.does("verify --board rpi4", "root       version 1") // a draft disturbs nobody
	d.does("sign updates/2.root.json --key dora.key")
	d.fails("root --publish updates/2.root.json", "1 of 2 signatures")
	d.does("sign updates/2.root.json --key cid.key")
	d.does("root --publish updates/2.root.json", "root version 2", "stamp what is current")
	// What the old key signed is out of the next stamp; devices are told by the one that is out that it is not signed.
	d.fails("verify --board rpi4", "targets of rpi4: not signed as it must be")
	d.fails("release rpi4 v2.0.0 v1.img --key targets.key", "root version 2 names for targets")
	d.does("stamp --key timestamp.key")
	d.does("verify --board rpi4", "root       version 2", "board rpi4 has no release")
	d.image("v2.img")
	d.does("release rpi4 v2.0.0 v2.img --key targets2.key --key timestamp.key")
	d.does("verify --board rpi4 --root updates/metadata/1.root.json", "takes v2.0.0")

	// Ann leaves: her key counts for the root before, not for the new one.
	d.does("root --root-key bob.pub --root-key cid.pub --root-key dora.pub --root-threshold 2 --key ann.key --key bob.key", "not out yet", "1 of 2")
	d.does("sign updates/3.root.json --key dora.key")
	d.does("root --publish updates/3.root.json", "root version 3")
	d.does("verify --board rpi4 --root updates/metadata/1.root.json", "root       version 3", "takes v2.0.0")
	d.fails("root --expires 2001-01-01 --key bob.key --key dora.key", "expired on 2001-01-01")
	d.fails("root --root-threshold 4 --key bob.key", "root needs 4 of 3 keys")
	d.fails("stamp --key timestamp.key --valid 2001-01-01", "expired on 2001-01-01")
	// Other keys of root sign no fewer at a time.
	d.does("root --root-key ann.pub --root-key bob.pub --root-key cid.pub --key bob.key", "not out yet")
	d.does("sign updates/4.root.json --key cid.key", "root: 2 of 3 keys sign")
	d.fails("root --root-key bob.pub --key bob.key", "root needs 2 of 1 keys")
}

// Two people have to sign a release: with one of them it stays where it is, and the one before it goes on.
func TestTwoSignReleases(t *testing.T) {
	d := newDesk(t)
	d.does("keygen root ann bob timestamp")
	d.does("root --root-key root.pub --targets-key ann.pub --targets-key bob.pub --targets-threshold 2 --timestamp-key timestamp.pub --key root.key")
	d.image("v1.img")
	d.does("release rpi4 v1.0.0 v1.img --key ann.key --key bob.key --key timestamp.key")
	d.image("v2.img")
	d.does("release rpi4 v2.0.0 v2.img --key ann.key --key timestamp.key", "not out yet", "1 of 2 signatures", "sidetonectl sign updates/metadata/2.rpi4.json")
	if code, out, errOut := d.run("stamp --key timestamp.key"); code != 0 || !strings.Contains(out, "v1.0.0") || !strings.Contains(errOut, "2.rpi4.json: not signed as it must be: 1 of 2") {
		t.Errorf("%d %s%s", code, out, errOut)
	}
	d.fails("stamp --key timestamp.key --share rpi4=5", "1 of 2")
	d.does("verify --board rpi4 --running v0.9.0", "takes v1.0.0")
	d.does("sign updates/metadata/2.rpi4.json --key bob.key", "release v2.0.0 for rpi4", "SHA-256")
	// Whoever stamps by the clock offers nothing that nobody has offered.
	if code, out, errOut := d.run("stamp --key timestamp.key"); code != 0 || !strings.Contains(out, "v1.0.0, offered to 100 %") ||
		!strings.Contains(errOut, "2.rpi4.json: nobody has said whom it is offered to") || !strings.Contains(errOut, "--share") {
		t.Errorf("%d %s%s", code, out, errOut)
	}
	d.does("stamp --key timestamp.key --share rpi4=5", "v2.0.0, offered to 5 %")
	d.does("stamp --key timestamp.key", "v2.0.0, offered to 5 %")
	d.does("verify --board rpi4 --running v0.9.0", "takes v2.0.0")
	before, err := os.ReadFile("updates/metadata/2.rpi4.json")
	d.must(err)
	if code, out, errOut := d.run("sign updates/metadata/2.rpi4.json"); code != subcommand.Usage || !strings.Contains(out, "release v2.0.0 for rpi4") ||
		!strings.Contains(errOut, "nothing was signed; say with which key") {
		t.Errorf("%d %s%s", code, out, errOut)
	}
	if after, err := os.ReadFile("updates/metadata/2.rpi4.json"); err != nil || !bytes.Equal(before, after) {
		t.Errorf("it was changed, %v", err)
	}
	d.fails("sign ann.pub --key bob.key", "no metadata")
}

func TestTimes(t *testing.T) {
	for s, want := range map[string]time.Duration{"90d": 90 * 24 * time.Hour, "36h": 36 * time.Hour, "0s": 0} {
		if d, err := duration(s); d != want || err != nil {
			t.Errorf("%s: %s, %v", s, d, err)
		}
	}
	for _, s := range []string{"d", "-3d", "soon", "90D", ""} {
		if d, err := duration(s); err == nil {
			t.Errorf("%s: %s", s, d)
		}
	}
}

// Whoever stops in the middle of a release leaves nothing that a device reads.
func TestInterrupted(t *testing.T) {
	d := opened(t)
	repo := release.Repository{Dir: "updates"}
	before, err := repo.Timestamp()
	d.must(err)
	d.must(os.MkdirAll("updates/targets/rpi4", 0o755))
	d.must(os.WriteFile("updates/targets/rpi4/.v2.0.0.img", []byte("half"), 0o600))
	d.image("v2.img")
	d.does("release rpi4 v2.0.0 v2.img --key .")
	after, err := repo.Timestamp()
	d.must(err)
	if after.Version != before.Version+1 {
		t.Errorf("%d, then %d", before.Version, after.Version)
	}
	d.does("verify --board rpi4 --running v1.0.0", "takes v2.0.0")
}
