package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// maxFile is the largest config file read, in bytes: ours are below 4 KB.
const maxFile = 256 << 10

// Load reads the file, applies the SIDETONE_<SECTION>_<KEY> variables of the environment, and checks. Paths in the
// file are relative to its directory, those in the environment to the working directory; in the Config all are
// absolute. When the file was read and is wrong, the error is a Problems with everything that is.
func Load(path string) (*Config, error) { return LoadOver(path, nil) }

// LoadOver is Load over the profiles that give what the hardware named in the file has, in the place of the defaults. Their
// lists of buttons and relays only say how one of that name is wired, if the file has it.
func LoadOver(path string, profiles Profiles) (*Config, error) {
	doc, err := read(path)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("config file %s: %w", path, err)
	}
	wd, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("working directory, which paths in SIDETONE_ variables are relative to: %w", err)
	}
	l := newLoader(path, dir)
	if profiles != nil {
		l.profiles(doc, profiles, dir, wd)
	}
	l.parse(doc)
	l.override(os.Environ(), wd)
	l.check()
	l.problems.sort()
	if err := l.problems.err(); err != nil {
		return nil, err
	}
	return l.config, nil
}

func read(path string) ([]byte, error) {
	if path == "" {
		return nil, errors.New("no config file named; use --config FILE")
	}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("config file %s does not exist; name another with --config, or write it after the commented defaults of `sidetone config default` (%w)", path, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("config file %s may not be read by this user; run as its owner or change its mode (%w)", path, err)
	case err != nil:
		return nil, fmt.Errorf("config file: %w", err)
	}
	defer f.Close()
	doc, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("config file: %w", err)
	}
	if len(doc) > maxFile {
		return nil, fmt.Errorf("config file %s is larger than %d KiB; is it the right file?", path, maxFile>>10)
	}
	return doc, nil
}

// loader gathers a config and what is wrong with it.
type loader struct {
	file      string
	dir       string // what paths in the file are relative to
	config    *Config
	places    map[string]place
	variables map[string]string // path -> the variable that set it
	problems  Problems

	profile bool // the file is a profile's

	below []*loader                // the profiles, later ones above
	wired map[string]reflect.Value // path -> what the profiles say of the elements of a list
}

func newLoader(file, dir string) *loader {
	return &loader{file: file, dir: dir, config: Default(), variables: map[string]string{}}
}

func (l *loader) parse(doc []byte) {
	var tree map[string]any
	if err := toml.Unmarshal(doc, &tree); err != nil {
		p := Problem{File: l.file, Message: "not TOML: " + strings.TrimPrefix(err.Error(), "toml: ")}
		var where *toml.DecodeError
		if errors.As(err, &where) {
			p.Line, p.Col = where.Position()
		}
		l.add(p)
		return
	}
	l.places = findPlaces(doc)
	if l.profile {
		delete(tree, profileTable)
	}
	l.decode("", tree, reflect.ValueOf(l.config).Elem())
}

// check adds what Check finds. A value that is missing is not complained of when its section has another problem
// already: most likely that is its misspelt key.
func (l *loader) check() {
	troubled := map[string]bool{}
	for _, p := range l.problems {
		if p.Path == "" && p.Variable == "" { // the file could not be parsed at all
			return
		}
		for at := p.Path; at != ""; at = parent(at) {
			troubled[at] = true
		}
	}
	for _, p := range l.config.problems() {
		_, inFile := l.places[p.Path]
		_, inEnv := l.variables[p.Path]
		if troubled[p.Path] || !inFile && !inEnv && troubled[section(p.Path)] {
			continue
		}
		l.problem(p.Path, p.Message)
	}
}

func section(path string) string {
	if i := strings.IndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return path
}

// problem notes what is wrong at path, with the place that the value came from.
func (l *loader) problem(path, message string) {
	p := Problem{File: l.file, Path: path, Message: message}
	if v, ok := l.variables[path]; ok {
		p.Variable = v
	} else {
		// An element of a list has no key of its own: its list's place stands in.
		for at := path; at != ""; at = parent(at) {
			if where, ok := l.places[at]; ok {
				p.Line, p.Col = where.line, where.col
				break
			}
		}
		// What the file says nothing of, a profile may have said.
		for _, b := range slices.Backward(l.below) {
			if where, ok := b.places[path]; ok && p.Line == 0 {
				p.File, p.Line, p.Col = b.file, where.line, where.col
			}
		}
	}
	l.add(p)
}

func (l *loader) add(p Problem) { l.problems = append(l.problems, p) }

func parent(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }
