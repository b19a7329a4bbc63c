package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// isPublic says whether others can import the package and have a use for it.
func isPublic(p pkg) bool {
	return p.Name != "main" && !strings.Contains("/"+p.name()+"/", "/internal/")
}

func TestEveryExportedNameIsDocumented(t *testing.T) {
	t.Parallel()
	public := 0
	for _, p := range listPackages(t, "") {
		if !isPublic(p) {
			continue
		}
		public++
		var files []*ast.File
		fset := token.NewFileSet()
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
			require.NoError(t, err)
			files = append(files, f)
		}
		for _, problem := range undocumented(files) {
			t.Errorf("undocumented in %s: %s", p.name(), problem)
		}
	}
	require.Greater(t, public, 10)
}

// undocumented gives what a package's documentation lacks, in words. Packages,
// types, functions and methods need a comment of their own that begins with their
// name; methods of interfaces need any. Constants and variables may share one, and
// fields are for their type's comment.
func undocumented(files []*ast.File) (problems []string) {
	missing := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	overview := false
	for _, f := range files {
		overview = overview || f.Doc != nil && strings.HasPrefix(f.Doc.Text(), "Package "+f.Name.Name+" ")
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if recv := receiver(d); ast.IsExported(d.Name.Name) && (recv == "" || ast.IsExported(recv)) && !names(d.Doc, d.Name) {
					missing("%s", strings.TrimPrefix(recv+"."+d.Name.Name, "."))
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						problems = append(problems, undocumentedType(d, s)...)
					case *ast.ValueSpec:
						for _, n := range s.Names {
							if n.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
								missing("%s", n.Name)
							}
						}
					}
				}
			}
		}
	}
	if !overview {
		missing("no comment that begins with \"Package %s \"", files[0].Name.Name)
	}
	return problems
}

// undocumentedType is undocumented for a type.
func undocumentedType(d *ast.GenDecl, s *ast.TypeSpec) (problems []string) {
	if !s.Name.IsExported() {
		return nil
	}
	if !names(s.Doc, s.Name) && (d.Lparen.IsValid() || !names(d.Doc, s.Name)) {
		problems = append(problems, s.Name.Name)
	}
	i, ok := s.Type.(*ast.InterfaceType)
	if !ok {
		return problems
	}
	for _, m := range i.Methods.List {
		for _, n := range m.Names {
			if n.IsExported() && m.Doc == nil && m.Comment == nil {
				problems = append(problems, s.Name.Name+"."+n.Name)
			}
		}
	}
	return problems
}

// names says whether the comment begins with the name.
func names(doc *ast.CommentGroup, name *ast.Ident) bool {
	if doc == nil {
		return false
	}
	first, _, _ := strings.Cut(strings.ReplaceAll(doc.Text(), "\n", " "), " ")
	return strings.TrimRight(first, ",.:") == name.Name
}

// receiver gives the name of a method's receiver type, "" for a function.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	for e := d.Recv.List[0].Type; ; {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

func TestAMissingCommentIsNamed(t *testing.T) {
	t.Parallel()
	for src, want := range map[string][]string{
		"// Package p is fine.\npackage p": nil,
		"package p":                        {`no comment that begins with "Package p "`},
		"// Package p is.\npackage p\nfunc F() {}\nfunc f() {}":                         {"F"},
		"// Package p is.\npackage p\n// It is another's comment.\nfunc F() {}":         {"F"},
		"// Package p is.\npackage p\n// F is.\nfunc F() {}":                            nil,
		"// Package p is.\npackage p\ntype t[A any] struct{}\nfunc (*t[A]) F() {}":      nil,
		"// Package p is.\npackage p\n// T is.\ntype T[A any] int\nfunc (*T[A]) F() {}": {"T.F"},
		"// Package p is.\npackage p\n// T is.\ntype T interface { A(); b() }":          {"T.A"},
		"// Package p is.\npackage p\n// T is.\ntype T interface {\n// A is.\nA()\n}":   nil,
		"// Package p is.\npackage p\n// T and U are.\ntype (\nT int\nU int\n)":         {"T", "U"},
		"// Package p is.\npackage p\nconst A, b = 1, 2\nvar B = 3 // comes third":      {"A"},
		"// Package p is.\npackage p\n// The letters.\nconst (\nA = 1\nB = 2\n)":        nil,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "p.go", src, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		require.Equal(t, want, undocumented([]*ast.File{f}), src)
	}
}
