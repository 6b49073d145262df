package appliance

import (
	"os"
	"path/filepath"
	"slices"
	"time"
)

// keptReports bounds how many call reports stay on the device.
const keptReports = 50

// reportFiles keeps the last call reports as files, newest last by name.
type reportFiles struct{ dir string }

func (r reportFiles) write(callID string, body []byte) error {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	name := time.Now().UTC().Format("20060102T150405.000Z") + "-" + filepath.Base(callID) + ".json"
	tmp, err := os.CreateTemp(r.dir, ".report-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(body)
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), filepath.Join(r.dir, name)); err != nil {
		return err
	}
	return r.prune()
}

func (r reportFiles) prune() error {
	files, err := filepath.Glob(filepath.Join(r.dir, "*.json"))
	if err != nil {
		return err
	}
	slices.Sort(files)
	for len(files) > keptReports {
		if err := os.Remove(files[0]); err != nil {
			return err
		}
		files = files[1:]
	}
	return nil
}
