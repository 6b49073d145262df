package cmd_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// source is our code as the conformance tests see it: declarations by the name of their package.
type source struct {
	fset     *token.FileSet
	packages map[string]*codeOf
}

type codeOf struct {
	dir      string
	files    []*ast.File // tests aside
	decls    map[string]decl
	tests    map[string][]ast.Node // of test files: what a name stands for
	testdata string
}

type declKind int

const (
	aStruct declKind = iota + 1 // with JSON names
	aConst
	aVar
	aFunc
	aField
)

// decl is one declaration.
type decl struct {
	kind      declKind
	pkg, name string
	pos       token.Position
	typed     string // the type that stands with it
	iota      int    // of a constant without a value of its own, else -1
	// value of a constant literal, a duration in its unit, or of a cause: "USER_BUSY 17".
	value, unit string
	float       bool
	fields      map[string]field // by JSON name
	at          ast.Node         // what a mutant changes
}

type field struct {
	name string
	tag  *ast.BasicLit
}

var load = func() func(t *testing.T) *source {
	once := sync.OnceValues(loadSource)
	return func(t *testing.T) *source {
		t.Helper()
		s, err := once()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}()

// codeDirs are the packages that the tables may speak of.
var codeDirs = []string{
	"rtc/verto", "rtc/call", "rtc/quality", "rtc/gateway", "rtc/media", "rtc/gateway/relay", "rtc/gateway/web",
	"cmd/sidetone/internal/appliance", "cmd/sidetone/internal/control", "cmd/e2e", "provisioning/identity",
}

func loadSource() (*source, error) {
	s := &source{fset: token.NewFileSet(), packages: map[string]*codeOf{}}
	for _, dir := range codeDirs {
		p := &codeOf{dir: dir, decls: map[string]decl{}, tests: map[string][]ast.Node{}}
		s.packages[filepath.Base(dir)] = p
		paths, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			f, err := parser.ParseFile(s.fset, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			if strings.HasSuffix(path, "_test.go") {
				p.addTests(f)
				continue
			}
			p.files = append(p.files, f)
			s.addDecls(p, filepath.Base(dir), f)
		}
		var data strings.Builder
		err = filepath.WalkDir(filepath.Join("..", dir, "testdata"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && filepath.Ext(path) == ".json" {
				b, _ := os.ReadFile(path)
				data.Write(b)
			}
			return nil // a package may have none
		})
		if err != nil {
			return nil, err
		}
		p.testdata = data.String()
	}
	return s, nil
}

func (s *source) addDecls(p *codeOf, pkg string, f *ast.File) {
	for _, top := range f.Decls {
		switch top := top.(type) {
		case *ast.FuncDecl:
			name := top.Name.Name
			if top.Recv != nil {
				name = receiver(top) + "." + name
			}
			p.decls[name] = decl{kind: aFunc, pkg: pkg, name: name, pos: s.fset.Position(top.Pos()), at: top}
		case *ast.GenDecl:
			var typed string
			for i, spec := range top.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					st, ok := spec.Type.(*ast.StructType)
					if !ok {
						continue
					}
					d := decl{kind: aStruct, pkg: pkg, name: spec.Name.Name, pos: s.fset.Position(spec.Pos()), fields: jsonFields(st)}
					if len(d.fields) > 0 {
						p.decls[spec.Name.Name] = d
					}
				case *ast.ValueSpec:
					if spec.Type != nil || len(spec.Values) > 0 {
						typed = exprName(spec.Type)
					}
					for j, name := range spec.Names {
						d := decl{kind: aConst, pkg: pkg, name: name.Name, typed: typed, iota: -1, pos: s.fset.Position(name.Pos())}
						if top.Tok == token.VAR {
							d.kind = aVar
						} else {
							d.iota = i
						}
						if j < len(spec.Values) {
							d.at = spec.Values[j]
							d.evaluate(spec.Values[j])
						}
						p.decls[name.Name] = d
					}
				}
			}
		}
	}
}

func receiver(f *ast.FuncDecl) string {
	e := f.Recv.List[0].Type
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	return exprName(e)
}

func exprName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return exprName(e.X) + "." + e.Sel.Name
	}
	return ""
}

// evaluate finds what a value says: a literal, "20 * time.Second", or the words and number of a cause.
func (d *decl) evaluate(e ast.Expr) {
	units := map[string]string{"time.Second": " s", "time.Millisecond": " ms", "time.Minute": " min"}
	switch e := e.(type) {
	case *ast.BasicLit:
		d.value, d.float = literal(e), e.Kind == token.FLOAT
	case *ast.UnaryExpr:
		if lit, ok := e.X.(*ast.BasicLit); ok && e.Op == token.SUB {
			d.value = "-" + lit.Value
		}
	case *ast.SelectorExpr:
		if unit := units[exprName(e)]; unit != "" {
			d.value, d.unit = "1", unit
		}
	case *ast.BinaryExpr:
		lit, ok := e.X.(*ast.BasicLit)
		if unit := units[exprName(e.Y)]; ok && unit != "" && e.Op == token.MUL {
			d.value, d.unit = lit.Value, unit
		}
	case *ast.CompositeLit:
		d.typed = exprName(e.Type)
		var word, code string
		ast.Inspect(e, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok {
				switch {
				case lit.Kind == token.STRING && word == "":
					word, d.at = literal(lit), lit
				case lit.Kind == token.INT && code == "":
					code = lit.Value
				}
			}
			return true
		})
		if strings.EqualFold(d.typed, "cause") {
			d.value = word + " " + code
		}
	}
}

func literal(l *ast.BasicLit) string {
	if l.Kind == token.STRING {
		s, _ := strconv.Unquote(l.Value)
		return s
	}
	return l.Value
}

func jsonFields(st *ast.StructType) map[string]field {
	fields := map[string]field{}
	for _, f := range st.Fields.List {
		if f.Tag == nil || len(f.Names) == 0 {
			continue
		}
		tag, _ := strconv.Unquote(f.Tag.Value)
		name, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
		if name != "" && name != "-" {
			fields[name] = field{f.Names[0].Name, f.Tag}
		}
	}
	return fields
}

func (p *codeOf) addTests(f *ast.File) {
	for _, top := range f.Decls {
		switch top := top.(type) {
		case *ast.FuncDecl:
			p.tests[top.Name.Name] = append(p.tests[top.Name.Name], top)
		case *ast.GenDecl:
			for _, spec := range top.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						p.tests[name.Name] = append(p.tests[name.Name], spec)
					}
				case *ast.TypeSpec:
					p.tests[spec.Name.Name] = append(p.tests[spec.Name.Name], spec)
				}
			}
		}
	}
}

// decl finds "verto.Bye", "verto.line.ping" (a method) or "verto.LoginParams".
func (s *source) decl(where string) (decl, bool) {
	pkg, name, _ := strings.Cut(where, ".")
	p := s.packages[pkg]
	if p == nil {
		return decl{}, false
	}
	d, ok := p.decls[name]
	return d, ok
}

// spoken is what a test says: the names in it and in what it uses of its package's test files, and its texts.
type spoken struct {
	words map[string]bool
	text  string
}

// test finds "verto.TestX", "verto.TestX/name of a subtest", or "web: title of a test in the browser".
func (s *source) test(t *testing.T, name string) (spoken, bool) {
	t.Helper()
	if title, ok := strings.CutPrefix(name, "web: "); ok {
		all := browserTests(t)
		return spoken{text: all}, strings.Contains(all, strconv.Quote(title)) || strings.Contains(all, "`"+title+"`")
	}
	pkg, rest, _ := strings.Cut(name, ".")
	fn, sub, _ := strings.Cut(rest, "/")
	p := s.packages[pkg]
	if p == nil || !strings.HasPrefix(fn, "Test") && !strings.HasPrefix(fn, "Fuzz") || len(p.tests[fn]) == 0 {
		return spoken{}, false
	}
	out := spoken{words: map[string]bool{}}
	var text strings.Builder
	done := map[string]bool{fn: true}
	for todo := []string{fn}; len(todo) > 0; todo = todo[1:] {
		for _, node := range p.tests[todo[0]] {
			ast.Inspect(node, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.Ident:
					out.words[n.Name] = true
					if _, ok := p.tests[n.Name]; ok && !done[n.Name] {
						done[n.Name] = true
						todo = append(todo, n.Name)
					}
				case *ast.BasicLit:
					text.WriteString(literal(n) + "\n")
				}
				return true
			})
		}
	}
	out.text = text.String()
	if strings.Contains(out.text, "testdata") {
		out.text += p.testdata
	}
	return out, sub == "" || strings.Contains(out.text, sub)
}
