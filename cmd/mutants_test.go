//go:build long

package cmd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// mutant is our code with one thing of the protocol spoilt.
type mutant struct {
	name       string // "verto.LoginParams passwd"
	row        row
	dir        string // of the package
	file       string
	start, end int // bytes of file that become text
	text       string
}

// TestMutants spoils everything that docs/protocol.md names, one at a time: a JSON name, a word of the wire, a number, a
// function. A test of its row must fail then; one that does not covers nothing. A single one:
//
//	go test -tags long ./cmd -run 'TestMutants/verto.LoginParams_passwd'
func TestMutants(t *testing.T) {
	tree := load(t)
	for _, r := range rows(t) {
		for _, w := range r.where {
			d, ok := tree.decl(w)
			if !ok {
				t.Errorf("%v: there is no %s", r, w)
				continue
			}
			for _, m := range tree.spoil(t, d, w, r) {
				t.Run(m.name, func(t *testing.T) { m.mustDie(t, tree) })
			}
		}
	}
}

// TestNamedTestsPass holds that the tests of the tables run here, and pass, while nothing is spoilt: else that a mutant
// fails would say nothing.
func TestNamedTestsPass(t *testing.T) {
	tree := load(t)
	named := map[string][]string{}
	for _, r := range rows(t) {
		for pkg, tests := range r.byPackage() {
			named[pkg] = append(named[pkg], tests...)
		}
	}
	for pkg, tests := range named {
		t.Run(pkg, func(t *testing.T) {
			slices.Sort(tests)
			tests = slices.Compact(tests)
			out, err := goTest(t, tree.packages[pkg].dir, tests, "-v")
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, name := range tests {
				if !strings.Contains(out, "--- PASS: "+name+" (") {
					t.Errorf("%s.%s did not run", pkg, name)
				}
			}
		})
	}
}

// byPackage gives the names of a row's tests, those in the browser aside.
func (r row) byPackage() map[string][]string {
	all := map[string][]string{}
	for _, name := range r.tests {
		if pkg, test, ok := strings.Cut(name, "."); ok && !strings.HasPrefix(name, "web: ") {
			test, _, _ = strings.Cut(test, "/")
			all[pkg] = append(all[pkg], test)
		}
	}
	return all
}

// spoil gives the mutants of one declaration.
func (tree *source) spoil(t *testing.T, d decl, where string, r row) []mutant {
	t.Helper()
	at := func(name string, n ast.Node, text func(old string) string) mutant {
		from, to := tree.fset.Position(n.Pos()), tree.fset.Position(n.End())
		src, err := os.ReadFile(from.Filename)
		if err != nil {
			t.Fatal(err)
		}
		return mutant{
			name: name, row: r, dir: tree.packages[d.pkg].dir, file: from.Filename, start: from.Offset, end: to.Offset,
			text: text(string(src[from.Offset:to.Offset])),
		}
	}
	switch {
	case d.kind == aStruct:
		var all []mutant
		for _, item := range r.items {
			all = append(all, at(where+" "+item, d.fields[item].tag, func(tag string) string {
				return strings.Replace(tag, `json:"`+item, `json:"`+item+`_spoilt`, 1)
			}))
		}
		return all
	case d.kind == aFunc:
		f := d.at.(*ast.FuncDecl)
		return []mutant{at(where, f.Body, func(body string) string { return `{ panic("spoilt");` + body[1:] })}
	case d.at == nil || d.typed == "State": // a number by its place: TestConformanceRows holds it
		return nil
	}
	return []mutant{at(where, d.at, func(value string) string {
		switch {
		case strings.HasPrefix(value, `"`):
			s, _ := strconv.Unquote(value)
			return strconv.Quote(s + "_spoilt")
		case d.unit == "" && !d.float && len(value) > 3: // a code: to one that is no other
			return "(" + value + ") + 500000"
		}
		return "(" + value + ") * 2"
	})}
}

// mustDie runs the tests of the mutant's row until one fails: those of its own package first.
func (m mutant) mustDie(t *testing.T, tree *source) {
	src, err := os.ReadFile(m.file)
	if err != nil {
		t.Fatal(err)
	}
	flags, err := overlay(t.TempDir(), m.file, slices.Concat(src[:m.start], []byte(m.text), src[m.end:]))
	if err != nil {
		t.Fatal(err)
	}
	byPackage := m.row.byPackage()
	var packages []string
	for pkg := range byPackage {
		packages = append(packages, pkg)
	}
	slices.SortFunc(packages, func(a, b string) int {
		own := func(p string) int {
			if tree.packages[p].dir == m.dir {
				return 0
			}
			return 1
		}
		return 2*(own(a)-own(b)) + strings.Compare(a, b)
	})
	for _, pkg := range packages {
		out, err := goTest(t, tree.packages[pkg].dir, byPackage[pkg], flags...)
		switch {
		case strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]"):
			t.Fatalf("the mutant does not compile:\n%s", out)
		case err != nil:
			return
		}
	}
	t.Errorf("%v: %s was made %s, and none of %s noticed", m.row, m.name, strings.SplitN(m.text, ";", 2)[0], strings.Join(m.row.tests, ", "))
}

// overlay gives the flags of a go command that reads src in the place of file. It keeps that in dir.
func overlay(dir, file string, src []byte) (flags []string, err error) {
	if file, err = filepath.Abs(file); err != nil {
		return nil, err
	}
	spoilt, list := filepath.Join(dir, "spoilt.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(spoilt, src, 0o600); err != nil {
		return nil, err
	}
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{file: spoilt}})
	if err != nil {
		return nil, err
	}
	return []string{"-overlay", list}, os.WriteFile(list, text, 0o600)
}

// goTest runs tests of a package.
func goTest(t *testing.T, dir string, tests []string, flags ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	args := append([]string{"test", "-count=1", "-timeout=5m", "-run", fmt.Sprintf("^(%s)$", strings.Join(tests, "|"))}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+dir)...)
	cmd.Dir = ".."
	// The tests of the row, not their long forms.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "SIDETONE_LONG=") })
	out, err := cmd.CombinedOutput()
	return string(out), err
}
