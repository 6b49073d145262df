package appliance

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"sidetone/board/door"
)

// auditBytes bounds each of the two files of the audit: some thousand records.
const auditBytes = 512 << 10

// auditFile keeps what happened at the door, a line of JSON each. A full file becomes path.1, in the place of what was there.
type auditFile struct{ path string }

// audited is one line.
type audited struct {
	TS time.Time `json:"ts"`
	door.Record
	ClockNotSet bool `json:"clock_not_set,omitempty"` // ts is wrong
}

// add is done when the line is on the disk.
func (f auditFile) add(r door.Record, now time.Time, clockGood bool) error {
	line, err := json.Marshal(audited{now.UTC(), r, !clockGood})
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	if info, err := os.Stat(f.path); err == nil && info.Size()+int64(len(line)) > auditBytes {
		if err := os.Rename(f.path, f.path+".1"); err != nil {
			return err
		}
	}
	out, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(line)
	return errors.Join(err, out.Sync(), out.Close())
}
