package config

import (
	"fmt"
	"sort"

	"github.com/pelletier/go-toml/v2/unstable"
)

// place is where a key stands in the file, both from 1; Col counts bytes.
type place struct{ line, col int }

// findPlaces tells where each key of a TOML document stands, by dotted path. The document has been parsed already, so
// it is well-formed. go-toml gives places for the first error only; all problems at once need all places.
func findPlaces(doc []byte) map[string]place {
	f := finder{places: map[string]place{}, arrays: map[string]int{}, lines: []int{0}}
	for i, b := range doc {
		if b == '\n' {
			f.lines = append(f.lines, i+1)
		}
	}
	f.parser.Reset(doc)
	table := ""
	for f.parser.NextExpression() {
		switch n := f.parser.Expression(); n.Kind {
		case unstable.Table:
			table = f.key("", n.Key())
		case unstable.ArrayTable:
			table = f.element("", n.Key())
		case unstable.KeyValue:
			f.keyValue(table, n)
		}
	}
	return f.places
}

type finder struct {
	parser unstable.Parser
	places map[string]place
	arrays map[string]int // elements seen of each array of tables
	lines  []int          // offset of each line's start
}

// key notes every step of a dotted key below table and gives its whole path. A step into an array of tables means
// its last element.
func (f *finder) key(table string, keys unstable.Iterator) string {
	path := table
	for keys.Next() {
		n := keys.Node()
		path = join(path, string(n.Data))
		f.note(path, n)
		if count := f.arrays[path]; count > 0 && !keys.IsLast() {
			path = index(path, count-1)
		}
	}
	return path
}

func (f *finder) element(table string, keys unstable.Iterator) string {
	first := keys // to note the new element at the key's own place
	path := f.key(table, keys)
	f.arrays[path]++
	path = index(path, f.arrays[path]-1)
	for first.Next() {
		if first.IsLast() {
			f.note(path, first.Node())
		}
	}
	return path
}

func (f *finder) keyValue(table string, n *unstable.Node) {
	f.value(f.key(table, n.Key()), n.Value())
}

func (f *finder) value(path string, n *unstable.Node) {
	switch n.Kind {
	case unstable.InlineTable:
		for it := n.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				f.keyValue(path, it.Node())
			}
		}
	case unstable.Array:
		i := 0
		for it := n.Children(); it.Next(); {
			if it.Node().Kind == unstable.Comment {
				continue
			}
			f.value(index(path, i), it.Node())
			i++
		}
	}
}

// note keeps the first place of each path.
func (f *finder) note(path string, n *unstable.Node) {
	if _, ok := f.places[path]; ok {
		return
	}
	offset := int(n.Raw.Offset)
	line := sort.SearchInts(f.lines, offset+1)
	f.places[path] = place{line: line, col: offset - f.lines[line-1] + 1}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
