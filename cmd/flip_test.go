//go:build long

package cmd_test

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// flip is one place of a file that is read as something else.
type flip struct {
	what       string
	file       string
	line       int
	start, end int // bytes of file that become text
	text       string
}

func (f flip) String() string {
	return fmt.Sprintf("%s:%d: %s", filepath.Base(f.file), f.line, f.what)
}

// opposites are what an operator becomes: its other side, and its boundary.
var opposites = map[token.Token][]token.Token{
	token.LAND: {token.LOR}, token.LOR: {token.LAND},
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL},
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
}

// flips gives all that can be flipped in a file: conditions of if, for and switch are negated, operators turned, negations
// left out, and returns out of the middle of a function dropped.
func flips(t *testing.T, file string) (all []flip) {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, file, src, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	offset := func(p token.Pos) int { return fset.Position(p).Offset }
	add := func(what string, from, to token.Pos, text string) {
		all = append(all, flip{what, file, fset.Position(from).Line, offset(from), offset(to), text})
	}
	negate := func(e ast.Expr) {
		text := string(src[offset(e.Pos()):offset(e.End())])
		add("not: "+text, e.Pos(), e.End(), "!("+text+")")
	}
	drop := func(list []ast.Stmt) {
		if len(list) == 0 {
			return
		}
		if r, ok := list[len(list)-1].(*ast.ReturnStmt); ok {
			add("without: "+string(src[offset(r.Pos()):offset(r.End())]), r.Pos(), r.End(), "")
		}
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			negate(n.Cond)
			drop(n.Body.List)
		case *ast.ForStmt:
			if n.Cond != nil {
				negate(n.Cond)
			}
		case *ast.SwitchStmt:
			for _, c := range n.Body.List {
				c := c.(*ast.CaseClause)
				if n.Tag == nil {
					for _, e := range c.List {
						negate(e)
					}
				}
				drop(c.Body)
			}
		case *ast.UnaryExpr:
			if n.Op == token.NOT {
				add("without !: "+string(src[offset(n.Pos()):offset(n.End())]), n.OpPos, n.X.Pos(), "")
			}
		case *ast.BinaryExpr:
			for _, op := range opposites[n.Op] {
				add(fmt.Sprintf("%s for %s: %s", op, n.Op, src[offset(n.Pos()):offset(n.End())]), n.OpPos, n.OpPos+token.Pos(len(n.Op.String())), op.String())
			}
		}
		return true
	})
	return all
}

// TestDoorMutants flips what decides over the door, one thing at a time. The package's tests must fail each time: what can
// be turned round unnoticed is not tested. A flip that does not compile, or is the same text as another, is none.
func TestDoorMutants(t *testing.T) {
	const dir = "board/door"
	files, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
	if out, err := testWith(t, dir, nil, "-failfast"); err != nil {
		t.Fatalf("the tests fail while nothing is flipped: %v\n%s", err, out)
	}
	var all []flip
	for _, f := range files {
		all = append(all, flips(t, f)...)
	}
	var mu sync.Mutex
	var flipped, broken int
	var survived []string
	work := make(chan flip)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for f := range work {
				out, err := f.test(t, dir)
				mu.Lock()
				switch {
				case strings.Contains(out, "[build failed]"):
					broken++
				case err == nil:
					survived = append(survived, f.String())
					fallthrough
				default:
					flipped++
				}
				mu.Unlock()
			}
		})
	}
	begin := time.Now()
	for _, f := range all {
		work <- f
	}
	close(work)
	workers.Wait()
	slices.Sort(survived)
	t.Logf("%d flipped, %d survived; %d more do not compile; %s", flipped, len(survived), broken, time.Since(begin).Round(time.Second))
	for _, s := range survived {
		t.Errorf("no test fails with %s", s)
	}
	if flipped < 50 {
		t.Errorf("only %d flips: is anything left of %s?", flipped, dir)
	}
}

// test runs the package's tests with the flip.
func (f flip) test(t *testing.T, dir string) (string, error) {
	src, err := os.ReadFile(f.file)
	if err != nil {
		t.Error(err)
		return "", nil
	}
	flags, err := overlay(t.TempDir(), f.file, slices.Concat(src[:f.start], []byte(f.text), src[f.end:]))
	if err != nil {
		t.Error(err)
		return "", nil
	}
	return testWith(t, dir, flags, "-failfast")
}

// testWith runs all tests of a package, without vet and its opinion of odd conditions. A flip may make one run for ever.
func testWith(t *testing.T, dir string, flags []string, more ...string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	args := slices.Concat([]string{"test", "-count=1", "-timeout=90s", "-vet=off", "-ldflags=-s -w"}, more, flags, []string{"./" + dir})
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = ".."
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}
