// Package board says what the hardware around us has, as data: profiles, each the part of a config file that a board, or what
// is plugged into it for sound, decides.
package board

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

//go:embed profiles/*.toml
var embedded embed.FS

// Kind of a profile.
type Kind string

// Kinds of profiles.
const (
	KindBoard Kind = "board"
	KindSound Kind = "sound" // what is plugged into a board
)

// Profile is what a board or a part of one has. Doc is a config file; the rest is its table [profile].
type Profile struct {
	Name  string   `toml:"-"`
	File  string   `toml:"-"` // where Doc is from, for people
	Doc   []byte   `toml:"-"`
	Kind  Kind     `toml:"kind"`
	Title string   `toml:"title"` // in words
	Boot  []string `toml:"boot"`  // lines that the board's config.txt must have
	Pins  []Pin    `toml:"pins"`  // that it takes
}

// Pin is a pin of the 40-pin header that a part takes.
type Pin struct {
	Pin  int    `toml:"pin"`  // of the header, 1 to 40
	GPIO int    `toml:"gpio"` // its GPIO number, or -1 for power and ground
	Use  string `toml:"use"`
}

// Lookup gives the profile of that name: a file NAME.toml in dir, or ours. Its error names those that there are.
func Lookup(name, dir string, kind Kind) (Profile, error) {
	p := Profile{Name: name, File: filepath.Join(dir, name+".toml")}
	doc, err := os.ReadFile(p.File)
	if errors.Is(err, fs.ErrNotExist) {
		p.File = "board profile " + name
		doc, err = embedded.ReadFile("profiles/" + name + ".toml")
	}
	if errors.Is(err, fs.ErrNotExist) {
		return Profile{}, fmt.Errorf("there is no profile %q; there are %s, and files in %s", name, strings.Join(Names(kind), ", "), dir)
	}
	if err != nil {
		return Profile{}, err
	}
	return p.parse(doc, kind)
}

// parse reads the table [profile]; the rest is the config's to read.
func (p Profile) parse(doc []byte, kind Kind) (Profile, error) {
	var all map[string]any
	if err := toml.Unmarshal(doc, &all); err != nil {
		var where *toml.DecodeError
		if errors.As(err, &where) {
			line, col := where.Position()
			return Profile{}, fmt.Errorf("%s:%d:%d: not TOML: %w", p.File, line, col, err)
		}
		return Profile{}, fmt.Errorf("%s: not TOML: %w", p.File, err)
	}
	table, ok := all["profile"]
	if !ok {
		table = map[string]any{}
	}
	own, err := toml.Marshal(map[string]any{"profile": table})
	if err == nil {
		err = toml.NewDecoder(bytes.NewReader(own)).DisallowUnknownFields().Decode(&struct{ Profile *Profile }{&p})
	}
	var unknown *toml.StrictMissingError
	switch {
	case errors.As(err, &unknown):
		return Profile{}, fmt.Errorf("%s: unknown key %s", p.File, strings.Join(unknown.Errors[0].Key(), "."))
	case err != nil:
		return Profile{}, fmt.Errorf("%s: table [profile]: %w", p.File, err)
	case p.Kind != kind:
		return Profile{}, fmt.Errorf("%s is of kind %q, not %q", p.File, p.Kind, kind)
	}
	p.Doc = doc
	return p, nil
}

// Names lists our profiles of a kind.
func Names(kind Kind) []string {
	files, _ := embedded.ReadDir("profiles") // embedded, it is there
	var names []string
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), ".toml")
		doc, _ := embedded.ReadFile("profiles/" + f.Name())
		if _, err := (Profile{Name: name}).parse(doc, kind); err == nil {
			names = append(names, name)
		}
	}
	return names
}
