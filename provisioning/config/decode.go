package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

// decode puts a parsed TOML table into its struct, and notes every key that is unknown or of the wrong type instead
// of stopping at the first.
func (l *loader) decode(path string, tree map[string]any, table reflect.Value) {
	known := map[string]field{}
	var keys []string
	for _, f := range fields(table) {
		known[f.key] = f
		keys = append(keys, f.key)
	}
	for key, value := range tree {
		at := join(path, key)
		f, ok := known[key]
		if !ok {
			l.unknown(at, suggest(path, key, keys))
			continue
		}
		l.set(at, f, value)
	}
}

func (l *loader) unknown(path, meant string) {
	message := "unknown key " + path
	if meant != "" {
		message += "; did you mean " + meant + "?"
	}
	l.problem(path, message)
}

// set puts one parsed value where it belongs.
func (l *loader) set(path string, f field, value any) {
	switch f.Kind() {
	case reflect.Struct:
		if tree, ok := value.(map[string]any); ok {
			l.decode(path, tree, f.Value)
			return
		}
		l.wrongType(path, "a table", value)
	case reflect.Slice:
		l.setSlice(path, f, value)
	default:
		if text, ok := value.(string); ok && (f.Kind() == reflect.String || isDuration(f.Value)) {
			if err := setText(f, text, l.dir); err != nil {
				l.problem(path, path+": "+err.Error())
			}
			return
		}
		switch v := value.(type) {
		case bool:
			if f.Kind() == reflect.Bool {
				f.SetBool(v)
				return
			}
		case int64:
			if f.Kind() == reflect.Int && !f.OverflowInt(v) {
				f.SetInt(v)
				return
			}
		}
		l.wrongType(path, wanted(f.Value), value)
	}
}

func (l *loader) setSlice(path string, f field, value any) {
	elements, ok := value.([]any)
	if !ok {
		want := "a list of strings"
		if f.Type().Elem().Kind() == reflect.Struct {
			want = "a list of tables: [[" + path + "]]"
		}
		l.wrongType(path, want, value)
		return
	}
	if len(elements) == 0 && !f.kept { // the same as none
		f.SetZero()
		return
	}
	// A new slice, never the default's.
	elements, begin := l.merged(path, f, elements)
	list := reflect.MakeSlice(f.Type(), len(elements), len(elements))
	for i, e := range elements {
		if begin[i].IsValid() {
			list.Index(i).Set(begin[i])
		}
		l.set(index(path, i), field{path: f.path, Value: list.Index(i)}, e)
	}
	f.Set(list)
}

func (l *loader) wrongType(path, want string, got any) {
	l.problem(path, fmt.Sprintf("%s must be %s, not %s", path, want, describe(got)))
}

// setText sets a scalar from text, as the environment has it. Relative paths are made absolute from dir.
func setText(f field, text, dir string) error {
	if isDuration(f.Value) {
		return f.Addr().Interface().(*Duration).UnmarshalText([]byte(text))
	}
	switch f.Kind() {
	case reflect.String:
		f.SetString(absolute(text, f.path, dir))
		return nil
	case reflect.Bool:
		if text == "true" || text == "false" {
			f.SetBool(text == "true")
			return nil
		}
	case reflect.Int:
		if v, err := strconv.ParseInt(text, 10, 0); err == nil {
			f.SetInt(v)
			return nil
		}
	}
	return fmt.Errorf("%q is not %s", text, wanted(f.Value))
}

// scheme is what stands before the path, by the path tag.
var scheme = map[string]string{"wav": "wav:", "line": "file:"}

// absolute makes a path, or the path in "wav:PATH" or "file:PATH", absolute from dir; kind is the path tag.
func absolute(text, kind, dir string) string {
	prefix := scheme[kind]
	text, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return text
	}
	if kind == "" || text == "" || filepath.IsAbs(text) {
		return prefix + text
	}
	return prefix + filepath.Join(dir, text)
}

func isDuration(v reflect.Value) bool { return v.Type() == reflect.TypeFor[Duration]() }

// wanted says in words what type a value must have.
func wanted(v reflect.Value) string {
	if isDuration(v) {
		return `a duration, as "45s"`
	}
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	}
	return "a string"
}

func describe(value any) string {
	switch v := value.(type) {
	case string:
		return strconv.Quote(v)
	case map[string]any:
		return "a table"
	case []any:
		return "a list"
	default:
		return fmt.Sprint(v)
	}
}
