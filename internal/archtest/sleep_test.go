package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A test that sleeps is slow, or fails on a slow machine, or both: unless the time is
// that of a synctest bubble.
func TestTestsSleepInBubblesOnly(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	packages := map[string]map[string]*ast.File{}
	fset := token.NewFileSet()
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bench"):
			return filepath.SkipDir // bench measures
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		if packages[dir] == nil {
			packages[dir] = map[string]*ast.File{}
		}
		packages[dir][path] = f
		return nil
	}))
	require.Greater(t, len(packages), 10)
	for _, files := range packages {
		for _, at := range awake(files) {
			t.Errorf("%s: time.Sleep outside a synctest bubble", fset.Position(at))
		}
	}
}

// awake gives where tests of a package sleep outside a bubble. A bubble is what is
// given to synctest.Test, or to a function that gives what it is given to that. So is
// a function that is only mentioned within bubbles, and one whose comment says that it
// is called in a bubble.
func awake(files map[string]*ast.File) (at []token.Pos) {
	bubbles := map[string]bool{"synctest.Test": true}
	for range 3 { // helpers of helpers
		for _, f := range files {
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil && takesTest(fn) && calls(fn.Body, bubbles) {
					bubbles[fn.Name.Name] = true
				}
			}
		}
	}
	// Where each function is mentioned, and where it is slept, outside bubbles.
	type place struct {
		in string
		at token.Pos
	}
	sleeps, mentions := []place{}, map[string][]string{}
	for _, f := range files {
		for _, d := range f.Decls {
			in := ""
			if fn, ok := d.(*ast.FuncDecl); ok {
				if strings.Contains(strings.Join(strings.Fields(fn.Doc.Text()), " "), "called in a bubble") {
					continue
				}
				in = fn.Name.Name
			}
			outside(d, bubbles, func(n ast.Node) {
				switch n := n.(type) {
				case *ast.SelectorExpr:
					if callee(n) == "time.Sleep" {
						sleeps = append(sleeps, place{in, n.Pos()})
					}
					mentions[n.Sel.Name] = append(mentions[n.Sel.Name], in)
				case *ast.Ident:
					if n.Name != in {
						mentions[n.Name] = append(mentions[n.Name], in)
					}
				}
			})
		}
	}
	var runsAwake func(name string, seen map[string]bool) bool
	runsAwake = func(name string, seen map[string]bool) bool {
		if name == "" || strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz") || strings.HasPrefix(name, "Benchmark") || strings.HasPrefix(name, "Example") {
			return true
		}
		if seen[name] {
			return false
		}
		seen[name] = true
		for _, by := range mentions[name] {
			if runsAwake(by, seen) {
				return true
			}
		}
		return false
	}
	for _, s := range sleeps {
		if runsAwake(s.in, map[string]bool{}) {
			at = append(at, s.at)
		}
	}
	return at
}

// takesTest says whether a function takes another one to run.
func takesTest(fn *ast.FuncDecl) bool {
	for _, p := range fn.Type.Params.List {
		if _, ok := p.Type.(*ast.FuncType); ok {
			return true
		}
	}
	return false
}

func calls(body ast.Node, names map[string]bool) (found bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok && names[callee(c.Fun)] {
			found = true
		}
		return !found
	})
	return found
}

// outside visits what is not within the arguments of a bubble.
func outside(root ast.Node, bubbles map[string]bool, visit func(ast.Node)) {
	ast.Inspect(root, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok && bubbles[callee(c.Fun)] {
			return false
		}
		if n != nil {
			visit(n)
		}
		return true
	})
}

// callee names what is called: a function, one of a package, or a method.
func callee(fun ast.Expr) string {
	switch f := fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok && (x.Name == "synctest" || x.Name == "time") {
			return x.Name + "." + f.Sel.Name
		}
		return f.Sel.Name
	case *ast.IndexExpr:
		return callee(f.X)
	}
	return ""
}

func TestASleepOutsideABubbleIsFound(t *testing.T) {
	t.Parallel()
	const helper = "\nfunc bubble(f func()) { synctest.Test(t, f) }"
	for src, want := range map[string]int{
		"func TestA(t *testing.T) { time.Sleep(1) }":                                                          1,
		"func TestA(t *testing.T) { synctest.Test(t, func() { time.Sleep(1) }); time.Sleep(2) }":              1,
		"func TestA(t *testing.T) { bubble(func() { time.Sleep(1) }) }" + helper:                              0,
		"func nap() { time.Sleep(1) }\nfunc TestA(t *testing.T) { bubble(func() { nap() }) }" + helper:        0,
		"func nap() { time.Sleep(1) }\nfunc TestA(t *testing.T) { nap() }" + helper:                           1,
		"func nap() { time.Sleep(1) }\nfunc two() { nap() }\nfunc FuzzA(f *testing.F) { two() }":              1,
		"type c int\nfunc (c) nap() { time.Sleep(1) }\nfunc TestA(t *testing.T) { c.nap(); c(1).nap() }":      1,
		"// nap is called in a\n// bubble.\nfunc nap() { time.Sleep(1) }\nfunc TestA(t *testing.T) { nap() }": 0,
		"func run(f func()) { f() }\nfunc TestA(t *testing.T) { run(func() { time.Sleep(1) }) }":              1,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "p_test.go", "package p\n"+src, parser.SkipObjectResolution|parser.ParseComments)
		require.NoError(t, err)
		require.Len(t, awake(map[string]*ast.File{"p_test.go": f}), want, src)
	}
}
