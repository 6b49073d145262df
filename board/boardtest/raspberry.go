package boardtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Raspberry is a board that boots a card as the firmware of a Raspberry Pi does: autoboot.txt on the card's first partition
// says which partition comes next, config.txt on that one what its kernel is. After a reboot with the argument "0 tryboot" it
// is, once, the partition of [tryboot]; whatever else resets the board, or cuts its power, brings back that of [all].
// (Raspberry Pi documentation, "autoboot.txt", "config.txt", "Fail-safe OS updates".)
//
// QEMU's kernel has nobody to give the argument to; but it prints it, as its last words, on the console.
type Raspberry struct {
	Card string // a file, with the disk's bytes

	t      testing.TB
	dir    string
	checks []func(r *Raspberry, partition int) error
	orders chan order
	ended  chan struct{}
	mu     sync.Mutex
	boots  []*Start
}

// order is what a test does to the board's power.
type order struct {
	off  bool // for good
	done chan struct{}
}

// Start is one boot of a board.
type Start struct {
	*emulator
	Partition int
	Tryboot   bool
	End       string // how it ended; "" while it runs
}

// How a boot ends.
const (
	Rebooted = "reboot"  // asked for by the system
	Tryboot  = "tryboot" // asked for, with the argument
	Reset    = "reset"   // by the watchdog
	PowerCut = "power cut"
)

// PowerOn starts a board with a card, for as long as the test goes on, or until PowerOff. Before each boot checks look at the
// partition that boots; an error of one is an error of the test, and then nothing boots any more.
func PowerOn(t testing.TB, card string, checks ...func(r *Raspberry, partition int) error) *Raspberry {
	t.Helper()
	r := &Raspberry{Card: card, t: t, dir: t.TempDir(), checks: checks, orders: make(chan order), ended: make(chan struct{})}
	first, err := r.boot(false)
	if err != nil {
		t.Fatal(err)
	}
	go r.run(first)
	t.Cleanup(func() {
		r.PowerOff()
		if t.Failed() {
			for n, s := range r.Boots() {
				t.Logf("boot %d, of partition %d; QEMU says:\n%s\nconsole:\n%s", n, s.Partition, &s.said, s.Console())
			}
		}
	})
	return r
}

// run boots again and again.
func (r *Raspberry) run(s *Start) {
	defer close(r.ended)
	for {
		var o order
		end := ""
		select {
		case <-s.done:
			switch console := s.Console(); {
			case strings.Contains(console, "reboot: Restarting system with command '0 tryboot'"):
				end = Tryboot
			case strings.Contains(console, "reboot: Restarting system"):
				end = Rebooted
			default:
				end = Reset
			}
		case o = <-r.orders:
			s.cmd.Process.Kill()
			<-s.done
			end = PowerCut
		}
		r.mu.Lock()
		s.End = end
		r.mu.Unlock()
		r.t.Logf("partition %d (tryboot %t): %s after %s", s.Partition, s.Tryboot, end, time.Since(s.Began).Round(100*time.Millisecond))
		if !o.off {
			var err error
			if s, err = r.boot(end == Tryboot); err != nil {
				r.t.Errorf("the board does not boot any more: %v", err)
				o.off = true
			}
		}
		if o.done != nil {
			close(o.done)
		}
		if o.off {
			return
		}
	}
}

// Cut takes the power away, in the midst of whatever is going on, and gives it back.
func (r *Raspberry) Cut() { r.order(order{done: make(chan struct{})}) }

// PowerOff takes the power away for good.
func (r *Raspberry) PowerOff() { r.order(order{off: true, done: make(chan struct{})}) }

func (r *Raspberry) order(o order) {
	select {
	case r.orders <- o:
		<-o.done
	case <-r.ended:
	}
}

// Boots gives all boots so far, the one that runs as the last.
func (r *Raspberry) Boots() []Start {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Start, len(r.boots))
	for i, s := range r.boots {
		all[i] = *s
	}
	return all
}

// boot does what the firmware does until the kernel runs.
func (r *Raspberry) boot(tryboot bool) (*Start, error) {
	text, err := r.ReadFAT(1, "autoboot.txt")
	if err != nil {
		return nil, err
	}
	partition, err := autoboot(text, tryboot)
	if err != nil {
		return nil, err
	}
	for _, check := range r.checks {
		if err := check(r, partition); err != nil {
			return nil, fmt.Errorf("partition %d: %w", partition, err)
		}
	}
	config, err := r.ReadFAT(partition, "config.txt")
	if err != nil {
		return nil, fmt.Errorf("partition %d: %w", partition, err)
	}
	dir := filepath.Join(r.dir, strconv.Itoa(len(r.boots)))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	loads := map[string]string{"kernel": "kernel8.img", "initramfs": "", "cmdline": "cmdline.txt"}
	for line := range strings.Lines(string(config)) {
		key, value, is := strings.Cut(strings.TrimSpace(line), "=")
		if words := strings.Fields(line); len(words) == 3 && words[0] == "initramfs" {
			key, value, is = words[0], words[1], true // the one setting without "="
		}
		if _, known := loads[key]; is && known {
			loads[key] = value
		}
	}
	// With writeback the board sees a disk that has a cache, and flushes it. The cache is this machine's memory, which stays
	// when QEMU is killed: a power cut loses what the board has not written, and of what it was just writing any part.
	args := []string{"-no-reboot", "-drive", "if=none,id=card,format=raw,cache=writeback,file=" + r.Card, "-device", "virtio-blk-pci,drive=card"}
	for what, name := range loads {
		b, err := r.ReadFAT(partition, name)
		if err != nil {
			return nil, fmt.Errorf("partition %d: %w", partition, err)
		}
		if what == "cmdline" {
			args = append(args, "-append", strings.TrimSpace(string(b)))
			continue
		}
		file := filepath.Join(dir, what)
		if err := os.WriteFile(file, b, 0o644); err != nil {
			return nil, err
		}
		args = append(args, map[string]string{"kernel": "-kernel", "initramfs": "-initrd"}[what], file)
	}
	tree := filepath.Join(dir, "dtb")
	if err := deviceTree(tree, partition, tryboot); err != nil {
		return nil, err
	}
	s := &Start{emulator: power(r.t, filepath.Join(dir, "console"), append(args, "-dtb", tree)...), Partition: partition, Tryboot: tryboot}
	r.mu.Lock()
	r.boots = append(r.boots, s)
	r.mu.Unlock()
	return s, nil
}

// autoboot reads boot_partition out of autoboot.txt.
func autoboot(text []byte, tryboot bool) (int, error) {
	if len(text) > 512 {
		return 0, fmt.Errorf("autoboot.txt: %d bytes, the firmware reads 512", len(text))
	}
	settings := map[string]map[string]string{"all": {}, "tryboot": {}}
	section := "all"
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if key, value, is := strings.Cut(line, "="); is && settings[section] != nil {
			settings[section][key] = value
		} else if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
		}
	}
	which := settings["all"]["boot_partition"]
	if tryboot && settings["all"]["tryboot_a_b"] == "1" && settings["tryboot"]["boot_partition"] != "" {
		which = settings["tryboot"]["boot_partition"]
	}
	n, err := strconv.Atoi(which)
	if err != nil {
		return 0, fmt.Errorf("autoboot.txt: boot_partition: %w", err)
	}
	return n, nil
}

// deviceTree writes that of the machine, with what the firmware tells the system there: big-endian words.
func deviceTree(file string, partition int, tryboot bool) error {
	dump := slices.Clone(machineType)
	dump[1] += ",dumpdtb=" + file
	trial := "0"
	if tryboot {
		trial = "1"
	}
	const node = "/chosen/bootloader"
	for _, argv := range [][]string{
		append([]string{"qemu-system-aarch64"}, dump...),
		{"fdtput", "-c", file, node},
		{"fdtput", "-t", "u", file, node, "partition", strconv.Itoa(partition)},
		{"fdtput", "-t", "u", file, node, "tryboot", trial},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", argv[0], err, out)
		}
	}
	return nil
}

// Offset of a primary partition of the card, in bytes, as its master boot record has it.
func (r *Raspberry) offset(partition int) (int64, error) {
	f, err := os.Open(r.Card)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	mbr := make([]byte, 512)
	if _, err := io.ReadFull(f, mbr); err != nil {
		return 0, err
	}
	if mbr[510] != 0x55 || mbr[511] != 0xaa || partition < 1 || partition > 4 {
		return 0, fmt.Errorf("%s: no partition %d in a master boot record", r.Card, partition)
	}
	return 512 * int64(binary.LittleEndian.Uint32(mbr[446+16*(partition-1)+8:])), nil
}

// SHA256 is that of the first bytes of a partition.
func (r *Raspberry) SHA256(partition int, size int64) (sum [sha256.Size]byte, err error) {
	at, err := r.offset(partition)
	if err != nil {
		return sum, err
	}
	f, err := os.Open(r.Card)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, at, size)); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// ReadFAT reads a file out of a partition, as the firmware does.
func (r *Raspberry) ReadFAT(partition int, name string) ([]byte, error) {
	at, err := r.offset(partition)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("mtype", "-i", fmt.Sprintf("%s@@%d", r.Card, at), "::"+name)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	b, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w: %s", name, err, &errOut)
	}
	return b, nil
}
