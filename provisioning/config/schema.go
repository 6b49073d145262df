package config

import (
	"reflect"
	"strings"

	"github.com/agnivade/levenshtein"
)

// field is one key of a table.
type field struct {
	key  string
	path string // the path tag
	kept bool   // an empty list is not the same as none
	reflect.Value
}

// fields lists the keys of a table, in the order of the struct.
func fields(table reflect.Value) []field {
	t := table.Type()
	all := make([]field, t.NumField())
	for i := range all {
		f := t.Field(i)
		all[i] = field{key: f.Tag.Get("toml"), path: f.Tag.Get("path"), kept: f.Tag.Get("empty") == "kept", Value: table.Field(i)}
	}
	return all
}

// isScalar tells what one environment variable can hold.
func (f field) isScalar() bool { return f.Kind() != reflect.Struct && f.Kind() != reflect.Slice }

// scalarPaths lists all section.key of the file that hold one value.
func scalarPaths() []string {
	var paths []string
	for _, section := range fields(reflect.ValueOf(Default()).Elem()) {
		if section.Kind() != reflect.Struct {
			continue
		}
		for _, f := range fields(section.Value) {
			if f.isScalar() {
				paths = append(paths, section.key+"."+f.key)
			}
		}
	}
	return paths
}

// suggest finds what may have been meant by key in the table at path, which has those siblings: the nearest of them,
// or the same key in another section.
func suggest(table, key string, siblings []string) string {
	if near := nearest(key, siblings); near != "" {
		return join(table, near)
	}
	for _, p := range scalarPaths() {
		if strings.HasSuffix(p, "."+key) {
			return p
		}
	}
	return ""
}

// nearest gives the word with the fewest edits away, at most a third of it; or "".
func nearest(word string, words []string) string {
	best, fewest := "", max(1, len(word)/3)+1
	for _, w := range words {
		if d := levenshtein.ComputeDistance(strings.ToLower(word), w); d < fewest {
			best, fewest = w, d
		}
	}
	return best
}
