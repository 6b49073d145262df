package slot

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const text = "# which system boots\n[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\r\n boot_partition=3 \n"

// card is a directory that stands for a Raspberry Pi's card.
type card struct {
	Tryboot
	dir     string
	reboots []string
}

func newCard(t *testing.T, runs byte) *card {
	c := &card{dir: t.TempDir()}
	mounted := false
	c.Tryboot = Tryboot{
		Autoboot: filepath.Join(c.dir, "autoboot.txt"), Bootloader: c.dir,
		Partition: func(n string) string { return filepath.Join(c.dir, "p"+n) },
		Remount: func(write bool) error {
			if mounted == write {
				t.Errorf("mounted for writing: %v, twice", write)
			}
			mounted = write
			return nil
		},
		Reboot: func(arg string) error { c.reboots = append(c.reboots, arg); return nil },
	}
	c.put(t, "autoboot.txt", []byte(text))
	c.put(t, "partition", []byte{0, 0, 0, runs})
	c.put(t, "p2", bytes.Repeat([]byte{2}, 100))
	c.put(t, "p3", bytes.Repeat([]byte{3}, 100))
	return c
}

func (c *card) put(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTryboot(t *testing.T) {
	c := newCard(t, 2)
	if s, err := c.Status(); err != nil || s != (Status{Running: "2", Other: "3"}) {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := errors.Join(c.Try()); err != nil || strings.Join(c.reboots, ",") != "0 tryboot" {
		t.Errorf("%q, %v", c.reboots, err)
	}
	if err := c.Commit(); !errors.Is(err, ErrNoTrial) {
		t.Errorf("commit: %v", err)
	}
	if err := c.Revert(); !errors.Is(err, ErrNoTrial) {
		t.Errorf("revert: %v", err)
	}
	dev, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	if b := make([]byte, 1); errors.Join(second(dev.ReadAt(b, 0)), dev.Close()) != nil || b[0] != 3 {
		t.Errorf("opened the slot with %v in it", b)
	}
	if dev, err = c.OpenRunning(); err != nil {
		t.Fatal(err)
	}
	if b := make([]byte, 1); errors.Join(second(dev.ReadAt(b, 0)), dev.Close()) != nil || b[0] != 2 {
		t.Errorf("what runs has %v in it", b)
	}

	c.put(t, "partition", []byte{0, 0, 0, 3})
	if s, err := c.Status(); err != nil || s != (Status{Running: "3", Other: "2", Trial: true}) {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := c.Try(); !errors.Is(err, ErrTrial) {
		t.Errorf("a trial in a trial: %v", err)
	}
	if _, err := c.Open(); !errors.Is(err, ErrTrial) {
		t.Errorf("what boots is open for writing: %v", err)
	}
	if err := c.Revert(); err != nil || strings.Join(c.reboots, ",") != "0 tryboot," {
		t.Errorf("%q, %v", c.reboots, err)
	}
	if err := c.Commit(); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Status(); err != nil || s != (Status{Running: "3", Other: "2"}) {
		t.Errorf("%+v, %v", s, err)
	}
	// A partition that does not become read-only again undoes no commit.
	c.put(t, "partition", []byte{0, 0, 0, 2})
	remount := c.Remount
	c.Remount = func(write bool) error {
		if err := remount(write); err != nil || write {
			return err
		}
		return errors.New("device or resource busy")
	}
	if err := c.Commit(); err != nil {
		t.Error(err)
	}
	c.put(t, "partition", []byte{0, 0, 0, 3})
	if err := c.Commit(); err != nil {
		t.Error(err)
	}
	want := strings.NewReplacer("=2", "=3", "=3", "=2").Replace(text)
	if b, _ := os.ReadFile(c.Autoboot); string(b) != want {
		t.Errorf("%q, want %q", b, want)
	}
}

func second[T any](_ T, err error) error { return err }

func TestTrybootErrors(t *testing.T) {
	for _, tt := range []struct{ autoboot, partition, want string }{
		{text, "\x00\x00\x00\x05", "partition 5 runs, but autoboot.txt names 2 and 3"},
		{text, "", "does not say which partition"},
		{"[all]\nboot_partition=2\n[tryboot]\nboot_partition=3\n", "\x00\x00\x00\x02", "tryboot_a_b=1 is missing"},
		{"[all]\nboot_partition=2\n[tryboot]\ntryboot_a_b=1\nboot_partition=3\n", "\x00\x00\x00\x02", "tryboot_a_b=1 is missing"},
		{"tryboot_a_b=1\nboot_partition=2\n", "\x00\x00\x00\x02", "missing in [tryboot]"},
		{"tryboot_a_b=1\n[tryboot]\nboot_partition=2\n", "\x00\x00\x00\x02", "missing in [all]"},
		{strings.Replace(text, "=3", "=2", 1), "\x00\x00\x00\x02", "both boot partition 2"},
		{strings.Replace(text, "=3", "=33", 1), "\x00\x00\x00\x02", `line 6: boot_partition is "33", want 1 to 9`},
		{strings.Replace(text, "[tryboot]", "[pi4]", 1), "\x00\x00\x00\x02", "line 6: boot_partition in [pi4]"},
		{text + "so", "\x00\x00\x00\x02", `line 7 is no setting: "so"`},
		{text + strings.Repeat("#", 512), "\x00\x00\x00\x02", "more than the 512 bytes"},
	} {
		c := newCard(t, 2)
		c.put(t, "autoboot.txt", []byte(tt.autoboot))
		c.put(t, "partition", []byte(tt.partition))
		if _, err := c.Status(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %s", err, tt.want)
		}
		if errors.Join(c.Try(), c.Commit(), c.Revert()) == nil || len(c.reboots) > 0 {
			t.Errorf("%s: acted", tt.want)
		}
	}
}

func FuzzAutoboot(f *testing.F) {
	f.Add([]byte(text))
	f.Add([]byte("tryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAutoboot(b)
		if err != nil {
			return
		}
		back, err := parseAutoboot(a.swapped())
		if err != nil || back.all.number != a.trial.number || back.trial.number != a.all.number || len(back.text) != len(b) {
			t.Fatalf("%q: %+v, %v", b, back, err)
		}
		if !bytes.Equal(back.swapped(), b) {
			t.Errorf("%q became %q", b, back.swapped())
		}
	})
}

// medium is a block device with a page cache: what is not synced is lost with the power, or is there in part.
type medium struct {
	durable []byte
	dirty   []write
	stuck   int64 // a byte of the medium that never changes, -1 if none
	left    int   // operations until the power goes
}

var errPower = errors.New("the power is gone")

// power says whether there is any for one more operation.
func (d *medium) power() error {
	if d.left--; d.left < 0 {
		return errPower
	}
	return nil
}

type write struct {
	at int64
	b  []byte
}

// view is what is read: of the disk, or of the cache before it.
func (d *medium) view() []byte {
	if len(d.dirty) == 0 {
		return d.durable
	}
	b := bytes.Clone(d.durable)
	for _, w := range d.dirty {
		copy(b[w.at:], w.b)
	}
	return b
}

func (d *medium) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(d.view()).ReadAt(p, off)
}
func (d *medium) WriteAt(p []byte, off int64) (int, error) {
	if err := d.power(); err != nil {
		return 0, err
	}
	d.dirty = append(d.dirty, write{off, bytes.Clone(p)})
	return len(p), nil
}
func (d *medium) Size() (int64, error) { return int64(len(d.durable)), nil }
func (d *medium) Close() error         { return nil }
func (d *medium) Truncate(int64) error { return errors.ErrUnsupported }
func (d *medium) DropCache() error     { return nil }
func (d *medium) Sync() error {
	if err := d.power(); err != nil {
		return err
	}
	keep := byte(0)
	if d.stuck >= 0 {
		keep = d.durable[d.stuck]
	}
	d.durable, d.dirty = d.view(), nil // in a place of its own, if anything was dirty
	if d.stuck >= 0 {
		d.durable[d.stuck] = keep
	}
	return nil
}

// cut loses what was not synced, but for a random half of the sectors in it, in any order.
func (d *medium) cut(r *rand.Rand) {
	for _, w := range d.dirty {
		for at := 0; at < len(w.b); at += 512 {
			if r.IntN(2) == 0 {
				copy(d.durable[w.at+int64(at):], w.b[at:min(at+512, len(w.b))])
			}
		}
	}
	d.dirty = nil
}

func image(size int) ([]byte, []byte) {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*7 + i>>9 + 1)
	}
	sum := sha256.Sum256(b)
	return b, sum[:]
}

func TestWriter(t *testing.T) {
	for _, size := range []int{1, 4096, Head, Head + 1, 3*Head + 77} {
		img, sum := image(size)
		d := &medium{durable: make([]byte, 4*Head), stuck: -1, left: math.MaxInt}
		w, err := NewWriter(d, int64(size))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Begin(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.NewOffsetWriter(w, 0), bytes.NewReader(img)); err != nil {
			t.Fatal(err)
		}
		head := img[:min(Head, size)]
		if bytes.Equal(d.view()[:len(head)], head) {
			t.Error("the head is written with the body")
		}
		if err := errors.Join(w.Sync(), w.Verify(t.Context(), head, sum), w.Finish(t.Context(), head, sum)); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(d.durable[:size], img) {
			t.Errorf("%d bytes: not what was written", size)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	img, sum := image(2 * Head)
	d := &medium{durable: make([]byte, 2*Head), stuck: -1, left: math.MaxInt}
	if _, err := NewWriter(d, 2*Head+1); err == nil || !strings.Contains(err.Error(), "the slot only 2097152") {
		t.Errorf("too small: %v", err)
	}
	w, _ := NewWriter(d, 2*Head)
	if _, err := w.WriteAt(img, 1); err == nil {
		t.Error("beyond the end")
	}
	for _, stuck := range []int64{5, Head + 5} { // in the head, in the body
		d := &medium{durable: make([]byte, 2*Head), stuck: stuck, left: math.MaxInt}
		w, _ := NewWriter(d, 2*Head)
		_, _ = w.WriteAt(img, 0)
		if err := errors.Join(w.Begin(), w.Finish(t.Context(), img[:Head], sum)); err == nil || !strings.Contains(err.Error(), "something else") {
			t.Errorf("a bad byte at %d: %v", stuck, err)
		}
		if bytes.Equal(d.durable[:512], img[:512]) {
			t.Errorf("a bad byte at %d: the head stays", stuck)
		}
	}
}

// A cut at any operation, each of which may be on the disk in part and out of order: what Finish was content with is
// whole, and a slot that is not yet whole has no head, once Begin is through.
func TestWriterCuts(t *testing.T) {
	img, sum := image(2*Head + 900)
	accepted := 0
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 2))
		d := &medium{durable: bytes.Repeat([]byte("an old system   "), 3*Head/16), stuck: -1, left: r.IntN(16)}
		w, _ := NewWriter(d, int64(len(img)))
		err, begun := w.Begin(), false
		if err == nil {
			begun = true
			for at := 0; at < len(img) && err == nil; at += 400_000 {
				_, err = w.WriteAt(img[at:min(at+400_000, len(img))], int64(at))
				if err == nil && r.IntN(3) == 0 {
					err = w.Sync()
				}
			}
			err = errors.Join(err, w.Sync())
		}
		if err == nil {
			err = w.Finish(t.Context(), img[:Head], sum)
		}
		d.cut(r)
		whole := bytes.Equal(d.durable[:len(img)], img)
		body := bytes.Equal(d.durable[Head:len(img)], img[Head:])
		headless := bytes.Equal(d.durable[:Head], make([]byte, Head))
		if err == nil {
			accepted++
		}
		if err == nil && !whole || begun && !headless && !body {
			t.Errorf("seed %d: %v; whole %v, body %v, no head %v", seed, err, whole, body, headless)
		}
	}
	if accepted == 0 || accepted == 100 {
		t.Errorf("%d of 100 were not cut", accepted)
	}
}
