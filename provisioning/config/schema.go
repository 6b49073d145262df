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

// walk shows each all keys that are no tables, those of tables in the table too; lists are not looked into.
func walk(path string, table reflect.Value, each func(path string, f field)) {
	for _, f := range fields(table) {
		if at := join(path, f.key); f.Kind() == reflect.Struct {
			walk(at, f.Value, each)
		} else {
			each(at, f)
		}
	}
}

// scalarPaths lists the dotted paths of all keys that hold one value.
func scalarPaths() []string {
	var paths []string
	walk("", reflect.ValueOf(Default()).Elem(), func(path string, f field) {
		if f.Kind() != reflect.Slice {
			paths = append(paths, path)
		}
	})
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
