package config

import (
	"os"
	"reflect"
)

// Profile is what a board, or a part of one, has: the text of a config file that says so, and the file's name. Its table
// [profile] is not the config's.
type Profile struct {
	File string
	Doc  []byte
}

// Profiles gives the profiles of a board, in the order in which they are laid over one another. Its error names those that
// there are.
type Profiles func(b Board) ([]Profile, error)

const profileTable = "profile"

// profiles decodes the profiles of the board that the file and the environment name.
func (l *loader) profiles(doc []byte, of Profiles, dir, wd string) {
	named := newLoader(l.file, dir) // what is wrong with the file is told later
	named.parse(doc)
	named.override(os.Environ(), wd)
	profiles, err := of(named.config.Board)
	if err != nil {
		l.places, l.variables = named.places, named.variables
		l.problem("board.profile", "board.profile: "+err.Error())
		return
	}
	for _, p := range profiles {
		b := newLoader(p.File, dir)
		b.config, b.profile = l.config, true
		b.parse(p.Doc)
		l.problems = append(l.problems, b.problems...)
		l.below = append(l.below, b)
	}
	// A button that the file does not name calls nobody, and a relay that it does not name moves nothing.
	c := l.config
	l.wired = map[string]reflect.Value{"buttons": reflect.ValueOf(c.Buttons), "door.relays": reflect.ValueOf(c.Door.Relays)}
	c.Buttons, c.Door.Relays = nil, nil
	c.Board.Profile, c.Board.Sound = Default().Board.Profile, Default().Board.Sound
}

// merged lays a list of tables over what the profiles say: an element begins as theirs of the same name. Of the mixer's
// controls, those that the file does not name stay.
func (l *loader) merged(path string, f field, elements []any) (list []any, begin []reflect.Value) {
	theirs, ok := l.wired[path]
	keep := path == "audio.mixer"
	if keep {
		theirs, ok = f.Value, true
	}
	begin = make([]reflect.Value, len(elements))
	if !ok {
		return elements, begin
	}
	key := fields(reflect.New(f.Type().Elem()).Elem())[0].key // that a list's elements are known by
	for n := range theirs.Len() {
		name, named := theirs.Index(n).Field(0).String(), false
		for i, e := range elements {
			if tree, ok := e.(map[string]any); ok && i < len(begin) && tree[key] == name {
				begin[i], named = theirs.Index(n), true
			}
		}
		if keep && !named {
			elements, begin = append(elements, map[string]any{}), append(begin, theirs.Index(n))
		}
	}
	return elements, begin
}
