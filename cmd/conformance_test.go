package cmd_test

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sidetone/rtc/quality"
)

// The tables of docs/protocol.md say of everything the protocol has where it lives in the code and which test covers it.
// The tests here hold both sides together; TestMutants proves that the tests named there do cover it.

const protocol = "../docs/protocol.md"

// wirePackages are those whose structures and untyped constants are the protocol's: each needs a row.
var wirePackages = []string{"verto", "quality"}

// notOfTheWire are structures of these packages that go to the control socket and MQTT instead.
var notOfTheWire = []string{"verto.Status", "verto.Condition", "quality.Condition"}

// row is one line of a table: items | where | test.
type row struct {
	line         int
	table        string
	text         string // of the first column
	items        []string
	where, tests []string
	none         string // why there is no test
}

func (r row) String() string { return fmt.Sprintf("docs/protocol.md:%d, table %q", r.line, r.table) }

var quoted = regexp.MustCompile("`([^`]+)`")

func ticks(s string) []string {
	var all []string
	for _, m := range quoted.FindAllStringSubmatch(s, -1) {
		all = append(all, m[1])
	}
	return all
}

// rows reads all tables that have the columns where and test.
func rows(t *testing.T) []row {
	t.Helper()
	b, err := os.ReadFile(protocol)
	if err != nil {
		t.Fatal(err)
	}
	var all []row
	var heading string
	in := false
	for i, line := range strings.Split(string(b), "\n") {
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		for j := range cells {
			cells[j] = strings.TrimSpace(strings.ReplaceAll(cells[j], "\x00", "|"))
		}
		switch {
		case strings.HasPrefix(line, "#"):
			heading, in = strings.TrimLeft(line, "# "), false
		case !strings.HasPrefix(line, "|"):
			in = false
		case len(cells) == 5 && cells[2] == "where" && cells[3] == "test":
			in = true
		case in && len(cells) != 5:
			t.Errorf("docs/protocol.md:%d: a row has three columns: item | where | test", i+1)
		case in && !strings.HasPrefix(cells[1], "---"):
			r := row{line: i + 1, table: heading, text: cells[1], items: ticks(cells[1]), where: ticks(cells[2])}
			r.text += " " + cells[2]
			if why, ok := strings.CutPrefix(cells[3], "none: "); ok {
				r.none = why
			} else {
				r.tests = ticks(cells[3])
			}
			all = append(all, r)
		}
	}
	if len(all) < 100 {
		t.Fatalf("only %d rows were read", len(all))
	}
	return all
}

func TestConformanceRows(t *testing.T) {
	tree := load(t)
	seen := map[string]row{}
	items, without := 0, 0
	for _, r := range rows(t) {
		n := max(1, len(r.items))
		items += n
		switch {
		case r.none != "":
			if without += n; len(r.tests)+len(r.where) > 0 {
				t.Errorf("%v: %s lives in the code: it needs a test, not an excuse", r, r.text)
			}
		case len(r.tests) == 0:
			t.Errorf("%v: %s names no test. Name one, as `verto.TestX`, or say why not, as \"none: …\"", r, r.text)
		}
		for _, item := range r.items {
			for _, w := range append(slices.Clone(r.where), "") {
				key := w + " " + item
				if first, ok := seen[key]; ok && (w != "" || len(r.where) == 0 && len(first.where) == 0 && first.table == r.table) {
					t.Errorf("%v: %s was in line %d already", r, item, first.line)
				}
				seen[key] = r
			}
		}
		for _, w := range r.where {
			d, ok := tree.decl(w)
			if !ok {
				t.Errorf("%v: there is no %s in the code (any more)", r, w)
				continue
			}
			if d.kind == aField {
				t.Errorf("%v: %s: name the structure, and the field's JSON name as an item", r, w)
			}
			for _, problem := range d.says(r) {
				t.Errorf("%v: %s", r, problem)
			}
		}
		for _, name := range r.tests {
			if _, ok := tree.test(t, name); !ok {
				t.Errorf("%v: there is no test %s (any more)", r, name)
			}
		}
		if len(r.tests) > 0 {
			tree.spoken(t, r)
		}
	}
	t.Logf("%d items, of which %d have no test", items, without)
}

// spoken checks that a test that is said to cover an item speaks of it, by its name in Go or on the wire. That it fails
// without it is TestMutants' business.
func (tree *source) spoken(t *testing.T, r row) {
	t.Helper()
	words := map[string]bool{}
	var text strings.Builder
	for _, name := range r.tests {
		if body, ok := tree.test(t, name); ok {
			for w := range body.words {
				words[w] = true
			}
			text.WriteString(body.text)
		}
	}
	for _, w := range r.where {
		d, ok := tree.decl(w)
		if !ok {
			continue
		}
		check := func(what string, names ...string) {
			if !slices.ContainsFunc(names, func(n string) bool { return words[n] || len(n) > 1 && strings.Contains(text.String(), n) }) {
				t.Errorf("%v: %s: %s do not speak of it (by any of %q)", r, what, strings.Join(r.tests, ", "), names)
			}
		}
		switch d.kind {
		case aStruct:
			for _, item := range r.items {
				check(item, d.fields[item].name, item)
			}
		case aConst:
			if d.value != "" && len(r.items) > 0 {
				check(w, d.name, d.value)
			}
		case aVar:
			word, _, _ := strings.Cut(d.value, " ")
			check(w, d.name, word)
		}
	}
}

// TestConformanceComplete holds that everything of the protocol in the code has a row.
func TestConformanceComplete(t *testing.T) {
	tree := load(t)
	rowed := map[string]bool{} // "verto.Bye", "verto.LoginParams passwd"
	codes := map[string]row{}
	for _, r := range rows(t) {
		for _, w := range r.where {
			rowed[w] = true
			for _, item := range r.items {
				rowed[w+" "+item] = true
			}
		}
		for _, item := range r.items {
			codes[item] = r
		}
	}
	for _, w := range notOfTheWire {
		if d, ok := tree.decl(w); !ok || d.kind != aStruct {
			t.Errorf("%s of notOfTheWire is no structure", w)
		}
	}
	for _, pkg := range wirePackages {
		for name, d := range tree.packages[pkg].decls {
			w := pkg + "." + name
			switch {
			case d.kind == aStruct && !slices.Contains(notOfTheWire, w):
				for json := range d.fields {
					if !rowed[w+" "+json] {
						t.Errorf("the field %s of %s (%s) has no row. Put `%s` into the row of `%s` in docs/protocol.md, or add\n"+
							"| `%s` | `%s` | `%s.TestThatCoversIt` |", json, w, d.pos, json, w, json, w, pkg)
					}
				}
			case d.kind == aConst && d.typed == "" && d.value != "" && ast.IsExported(name) && !rowed[w]:
				t.Errorf("the constant %s (%s) has no row. Add to a table of docs/protocol.md\n| `%s` | `%s` | `%s.TestThatCoversIt` |",
					w, d.pos, d.value, w, pkg)
			}
		}
	}
	for name, d := range tree.packages["call"].decls {
		if w := "call." + name; !rowed[w] && (d.kind == aConst && (d.typed == "State" || d.typed == "" && d.value != "" && ast.IsExported(name)) ||
			d.kind == aVar && d.typed == "Cause") {
			t.Errorf("%s (%s) has no row in docs/protocol.md", w, d.pos)
		}
	}
	for name, d := range tree.packages["gateway"].decls {
		if w := "gateway." + name; d.kind == aVar && d.typed == "cause" && !rowed[w] {
			t.Errorf("%s (%s) has no row in docs/protocol.md", w, d.pos)
		}
	}
	for _, c := range quality.Conditions() {
		item := fmt.Sprintf("%d %s", c.Code, c.Name)
		r, ok := codes[item]
		switch {
		case !ok:
			t.Errorf("the condition %s has no row in docs/protocol.md", item)
		case len(r.where) == 0 && r.none == "":
			t.Errorf("%v: %s: say which constant raises it, or why nothing does", r, item)
		}
	}
	for _, r := range rows(t) {
		for _, item := range r.items {
			code, name, _ := strings.Cut(item, " ")
			if n, err := strconv.Atoi(code); err == nil && n >= 30000 {
				if c, ok := quality.Lookup(n); !ok || c.Name != name {
					t.Errorf("%v: rtc/quality has no condition %s", r, item)
				}
				for _, w := range r.where {
					if d, ok := tree.decl(w); ok && d.kind == aConst && tree.uses(d) <= 0 {
						t.Errorf("%v: nothing raises %s", r, w)
					}
				}
			}
		}
	}
}

// says tells what a row and the declaration that it names say differently.
func (d decl) says(r row) (problems []string) {
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	has := func(word string) bool {
		return regexp.MustCompile(`(^|[^\w.-])` + regexp.QuoteMeta(word) + `($|[^\w.]|\.($|\s))`).MatchString(r.text)
	}
	switch d.kind {
	case aStruct:
		for _, item := range r.items {
			if _, ok := d.fields[item]; !ok {
				wrong("%s has no field with the JSON name %s", d.name, item)
			}
		}
		if len(r.items) == 0 {
			wrong("%s is a structure: name the fields", d.name)
		}
	case aConst:
		switch {
		case d.typed == "State" && d.iota >= 0:
			if !slices.Contains(r.items, fmt.Sprintf("%d %s", d.iota, strings.ToLower(d.name))) {
				wrong("the state %s is %d", d.name, d.iota)
			}
		case d.value != "" && !has(d.value+d.unit):
			wrong("%s is %s", d.name, d.value+d.unit)
		}
	case aVar:
		if d.value != "" && !slices.Contains(r.items, d.value) {
			wrong("%s is %s", d.name, d.value)
		}
	}
	return problems
}

// uses counts the places, tests aside, that use a code: all that name it but its declaration and its line in the table
// of rtc/quality.
func (tree *source) uses(d decl) int {
	n := -1
	if d.pkg == "quality" {
		n--
	}
	for pkg, p := range tree.packages {
		for _, f := range p.files {
			ast.Inspect(f, func(node ast.Node) bool {
				switch node := node.(type) {
				case *ast.SelectorExpr:
					if exprName(node) == d.pkg+"."+d.name {
						n++
					}
				case *ast.Ident:
					if pkg == d.pkg && node.Name == d.name {
						n++
					}
				}
				return true
			})
		}
	}
	return n
}

// browserTests gives the titles of the tests that run in a browser.
func browserTests(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("../rtc/gateway/web/test/*.test.mjs")
	if err != nil || len(files) == 0 {
		t.Fatalf("no browser tests: %v", err)
	}
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}
