package slot

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// system is a root of a file system with files, whose begin of a path is a link where its text begins with "->".
func system(t *testing.T, files map[string]string) System {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, link := strings.CutPrefix(text, "->"); link {
			err = os.Symlink(to, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return System{Kind: "auto", BootDir: filepath.Join(root, "boot"), Root: root, Dir: filepath.Join(root, "slots")}
}

const (
	pi    = "proc/device-tree/chosen/bootloader/partition"
	sd    = "sys/devices/mmc/block/mmcblk0/mmcblk0p1/partition"
	sdDev = "sys/dev/block/179:1"
)

func TestFind(t *testing.T) {
	two := "# where it is\n/dev/mmcblk0 0x100000 0x4000 0x200\n/dev/mmcblk0 0x140000 0x4000\n"
	for name, tt := range map[string]struct {
		files map[string]string
		kind  string
		want  string // the kind of control, or the error
		slot  string // device of partition 3
	}{
		"nothing":               {want: ErrNone.Error()},
		"asked for none":        {files: map[string]string{pi: "", "boot/autoboot.txt": ""}, kind: "none", want: ErrNone.Error()},
		"a Pi without autoboot": {files: map[string]string{pi: ""}, want: ErrNone.Error()},
		"a Pi": {files: map[string]string{pi: "", "boot/autoboot.txt": "",
			"proc/self/mountinfo": "22 1 0:21 / / rw - squashfs /dev/loop0 ro\n23 22 179:1 / BOOT ro - vfat /dev/mmcblk0p1 ro\n",
			sdDev:                 "->../../devices/mmc/block/mmcblk0/mmcblk0p1", sd: "1\n"}, want: "tryboot", slot: "/dev/mmcblk0p3"},
		"a Pi whose boot is nowhere": {files: map[string]string{pi: "", "boot/autoboot.txt": "", "proc/self/mountinfo": ""}, want: "nothing is mounted on"},
		"U-Boot": {files: map[string]string{"etc/fw_env.config": two, "proc/cmdline": "quiet sidetone.slot=2",
			"proc/self/mountinfo": "22 1 8:2 / / rw - ext4 /dev/root rw\n",
			"sys/dev/block/8:2":   "->../../devices/block/sda/sda2", "sys/devices/block/sda/sda2/partition": "2\n"}, want: "uboot", slot: "/dev/sda3"},
		"U-Boot with one copy": {files: map[string]string{"etc/fw_env.config": "/dev/mmcblk0 0 0x4000\n"}, want: "one copy"},
		"U-Boot with nonsense": {files: map[string]string{"etc/fw_env.config": "/dev/mmcblk0 here 0x4000\n"}, want: "invalid syntax"},
		"the program alone":    {kind: "binary", want: "binary"},
	} {
		t.Run(name, func(t *testing.T) {
			s := system(t, tt.files)
			if tt.kind != "" {
				s.Kind = tt.kind
			}
			if mounts := tt.files["proc/self/mountinfo"]; mounts != "" {
				mounts = strings.ReplaceAll(mounts, "BOOT", s.BootDir)
				if err := os.WriteFile(filepath.Join(s.Root, "proc/self/mountinfo"), []byte(mounts), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			c, err := s.Find()
			switch {
			case err != nil:
				if !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, want %s", err, tt.want)
				}
				return
			}
			got, device := "", ""
			switch c := c.(type) {
			case Tryboot:
				got, device = "tryboot", c.Partition("3")
			case UBoot:
				got, device = "uboot", c.Path("3")
				want := [2]EnvCopy{{"/dev/mmcblk0", 0x100000}, {"/dev/mmcblk0", 0x140000}}
				if c.Running != "2" || c.Size != 0x4000 || c.Copies != want {
					t.Errorf("%+v", c)
				}
			case Binary:
				got = "binary"
			}
			if got != tt.want || device != tt.slot {
				t.Errorf("%s, %s; want %s, %s", got, device, tt.want, tt.slot)
			}
		})
	}
	if _, err := (System{Kind: "auto", Root: t.TempDir(), BootDir: "/boot"}).Find(); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}

func TestPartition(t *testing.T) {
	for disk, want := range map[string]string{"/dev/mmcblk0": "/dev/mmcblk0p2", "/dev/vda": "/dev/vda2", "/dev/nvme0n1": "/dev/nvme0n1p2"} {
		if got := partitionOf(disk, "2"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// FuzzFwEnv reads a configuration of U-Boot's environment: what is taken is two copies that do not lie in one another.
func FuzzFwEnv(f *testing.F) {
	f.Add("# where it is\n/dev/mmcblk0 0x100000 0x4000 0x200\n/dev/mmcblk0 0x140000 0x4000\n")
	f.Add("/dev/a 0 64\n/dev/b 0 64")
	f.Add("/dev/a -0x4000 -1\n/dev/a 0x10 0x4000")
	f.Fuzz(func(t *testing.T, text string) {
		copies, size, err := parseFwEnv(text)
		if err != nil {
			return
		}
		a, b := copies[0], copies[1]
		if a.Offset < 0 || b.Offset < 0 || size <= envHeader || size > maxEnv || a.Path == "" || b.Path == "" {
			t.Fatalf("%+v of %d bytes", copies, size)
		}
		if a.Path == b.Path && a.Offset-b.Offset < int64(size) && b.Offset-a.Offset < int64(size) {
			t.Errorf("%+v of %d bytes lie in one another", copies, size)
		}
	})
}

// FuzzSystem reads what the kernel says of itself: what comes out is one word of it.
func FuzzSystem(f *testing.F) {
	f.Add("quiet sidetone.slot=2 sidetone.slot=3", "22 1 0:21 / / rw - squashfs /dev/loop0 ro\n23 22 179:1 / /boot ro - vfat /dev/mmcblk0p1 ro\n", "/boot")
	f.Add("sidetone.slot=", "1 2 3:4 / /", "/")
	f.Fuzz(func(t *testing.T, cmdline, mountinfo, mountPoint string) {
		if slot := slotOf(cmdline); slot != "" && !slices.Contains(strings.Fields(cmdline), "sidetone.slot="+slot) {
			t.Errorf("%q is the slot of %q", slot, cmdline)
		}
		number := mounted(mountinfo, mountPoint)
		if number == "" {
			return
		}
		if !slices.ContainsFunc(strings.Split(mountinfo, "\n"), func(line string) bool {
			words := strings.Fields(line)
			return len(words) > 4 && words[2] == number && words[4] == mountPoint
		}) {
			t.Errorf("%q is mounted on %q: %q", number, mountPoint, mountinfo)
		}
	})
}
