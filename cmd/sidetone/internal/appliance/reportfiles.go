package appliance

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sidetone/cmd/internal/atomicfile"
)

// Bounds of the call reports that stay on the device.
const (
	keptReports     = 50
	keptReportBytes = 16 << 20
)

// reportFiles keeps the last call reports as files, newest last by name.
type reportFiles struct{ dir string }

func (r reportFiles) write(callID string, body []byte) error {
	if err := writeFile(r.dir, stamped(callID)+".json", body); err != nil {
		return err
	}
	return prune(filepath.Join(r.dir, "*.json"), keptReports, keptReportBytes)
}

// prune removes the files whose names sort first until there are at most count of pattern, of at most size bytes in all;
// the last one always stays.
func prune(pattern string, count int, size int64) error {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	slices.Sort(files)
	var total int64
	sizes := make([]int64, len(files))
	for i, f := range files {
		if info, err := os.Stat(f); err == nil {
			sizes[i] = info.Size()
			total += sizes[i]
		}
	}
	for i := 0; i < len(files)-1 && (len(files)-i > count || total > size); i++ {
		if err := os.Remove(files[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		total -= sizes[i]
	}
	return nil
}

// stamped is a file name that sorts by time. Ids of calls are checked by the call manager; this is the second lock.
func stamped(callID string) string {
	return time.Now().UTC().Format("20060102T150405.000Z") + "-" + filepath.Base(callID)
}

// writeFile writes a file whole or not at all; when it returns, the power may fail.
func writeFile(dir, name string, body []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, name), body, 0o600)
}
