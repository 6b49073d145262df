package update

import (
	"context"
	"encoding/json"
	"time"

	"sidetone/ota"
	"sidetone/ota/disk"
	"sidetone/ota/install"
)

// installer tells besides when it has asked for news.
type installer struct {
	*install.Installer
	checked func(time.Time)
}

// Check implements ota.Installer.
func (i installer) Check(ctx context.Context, forced bool) (*ota.Release, error) {
	r, err := i.Installer.Check(ctx, forced)
	if ctx.Err() == nil {
		i.checked(time.Now())
	}
	return r, err
}

// read decodes a record, if there is one.
func read(file disk.Record, to any) (is bool, err error) {
	b, err := file.Load()
	if err != nil || b == nil {
		return false, err
	}
	return true, json.Unmarshal(b, to)
}

func write(file disk.Record, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return file.Save(b)
}
