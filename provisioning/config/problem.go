package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with a config, and where.
type Problem struct {
	File      string // "" when the config came from no file
	Line, Col int    // from 1; 0 when the file does not mention it
	Variable  string // the environment variable that it came from, if it did
	Path      string // dotted: line.url, buttons[0].key
	Message   string // what is wrong and what is allowed; begins with the path where there is one
}

func (p Problem) String() string {
	switch {
	case p.Variable != "":
		return p.Variable + ": " + p.Message
	case p.File == "":
		return p.Message
	case p.Line == 0:
		return p.File + ": " + p.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Col, p.Message)
}

// Problems is the error of Load and Check: everything that is wrong, one a line.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sort puts them in the order of the file, then those of the environment.
func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.Variable, b.Variable),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Col, b.Col),
			cmp.Compare(a.Path, b.Path))
	})
}

// err gives nil for no problems, which a nil Problems in an error would not be.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}
