package config

import (
	"bytes"
	"fmt"
	"reflect"

	"github.com/pelletier/go-toml/v2"
)

// Encode writes as TOML what differs from the default, in the order of default.toml. Load gives back an equal Config
// when the paths in it are absolute.
func (c *Config) Encode() ([]byte, error) {
	var e encoder
	defaults := fields(reflect.ValueOf(Default()).Elem())
	for i, section := range fields(reflect.ValueOf(c).Elem()) {
		if err := e.table(section.key, section.Value, defaults[i].Value); err != nil {
			return nil, fmt.Errorf("config section %s: %w", section.key, err)
		}
	}
	return e.Bytes(), nil
}

type encoder struct{ bytes.Buffer }

// table writes what differs between v and its default: first a table's own keys, then the tables in it.
func (e *encoder) table(path string, v, def reflect.Value) error {
	if isTables(v) {
		for i := range v.Len() {
			// In a list there is no default: what is not written is empty.
			if err := e.keys("[["+path+"]]", true, v.Index(i), reflect.Zero(v.Type().Elem())); err != nil {
				return err
			}
		}
		return nil
	}
	if err := e.keys("["+path+"]", false, v, def); err != nil {
		return err
	}
	defaults := fields(def)
	for i, f := range fields(v) {
		if f.Kind() == reflect.Struct || isTables(f.Value) {
			if err := e.table(path+"."+f.key, f.Value, defaults[i].Value); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *encoder) keys(heading string, always bool, v, def reflect.Value) error {
	defaults := fields(def)
	written := false
	head := func() {
		if !written {
			if e.Len() > 0 {
				e.WriteByte('\n')
			}
			e.WriteString(heading + "\n")
			written = true
		}
	}
	if always {
		head()
	}
	for i, f := range fields(v) {
		none := f.kept && f.Len() == 0 && !f.IsNil() // which [[…]] cannot say
		if f.Kind() == reflect.Struct || isTables(f.Value) && !none || reflect.DeepEqual(f.Interface(), defaults[i].Interface()) {
			continue
		}
		line, err := toml.Marshal(map[string]any{f.key: f.Interface()})
		if err != nil {
			return err
		}
		head()
		e.Write(line)
	}
	return nil
}

func isTables(v reflect.Value) bool {
	return v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct
}
