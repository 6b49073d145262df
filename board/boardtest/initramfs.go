package boardtest

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// archive writes files, by their absolute paths, as an initramfs: a cpio archive of the kind "newc", with /dev/console,
// which the kernel wants before anything is mounted.
func archive(files map[string][]byte) []byte {
	var b bytes.Buffer
	inode := 0
	add := func(name string, mode, major, minor int, data []byte) {
		inode++
		b.WriteString("070701")
		for _, v := range []int{inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name) + 1, 0} {
			fmt.Fprintf(&b, "%08x", v)
		}
		b.WriteString(name + "\x00")
		pad := func() { b.Write(make([]byte, -b.Len()&3)) }
		pad()
		b.Write(data)
		pad()
	}
	const directory, device, regular = 0o040755, 0o020600, 0o100700 // files may be secrets or programs
	dirs := map[string]bool{"dev": true}
	for name := range files {
		for dir := path.Dir(strings.TrimPrefix(name, "/")); dir != "."; dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) { // a directory comes before what is in it
		add(dir, directory, 0, 0, nil)
	}
	add("dev/console", device, 5, 1, nil)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		add(strings.TrimPrefix(name, "/"), regular, 0, 0, files[name])
	}
	add("TRAILER!!!", 0, 0, 0, nil)
	return b.Bytes()
}

// modules gives the files for init to load kernel modules from the tree dir, each after those that it needs. wanted are
// names, each with parameters after a space.
func modules(dir string, wanted []string) (map[string][]byte, error) {
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(file string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(file), ".ko"); ok {
			found[moduleName(name)] = file
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	var order strings.Builder
	var add func(name, params string) error
	add = func(name, params string) error {
		in := "/modules/" + name + ".ko"
		if files[in] != nil {
			return nil
		}
		b, err := os.ReadFile(found[name])
		if err != nil {
			return fmt.Errorf("kernel module %s: %w", name, err)
		}
		needs, err := dependencies(b)
		if err != nil {
			return fmt.Errorf("kernel module %s: %w", name, err)
		}
		for _, n := range needs {
			if err := add(moduleName(n), ""); err != nil {
				return err
			}
		}
		files[in] = b
		fmt.Fprintln(&order, strings.TrimSpace(name+" "+params))
		return nil
	}
	for _, w := range wanted {
		name, params, _ := strings.Cut(w, " ")
		if err := add(moduleName(name), params); err != nil {
			return nil, err
		}
	}
	files["/modules/order"] = []byte(order.String())
	return files, nil
}

// moduleName is the kernel's name of a module, whose file may have hyphens.
func moduleName(file string) string { return strings.ReplaceAll(file, "-", "_") }

// dependencies reads what a module needs from what it says of itself.
func dependencies(module []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("it has no .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for line := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(line, "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
