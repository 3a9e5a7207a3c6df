package houserules

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
)

// fault is where a file breaks a rule, and how.
type fault struct {
	line int
	text string
}

// rules hold for every file. Each has a snippet that breaks it once, so that a rule
// that finds nothing is known to look.
var rules = []struct {
	name  string
	check func(source) []fault
	// path and text of the file that breaks the rule.
	path, text string
}{
	{"imports", checkImports, "virtio/a.go", `package virtio; import _ "` + module + `trust"`},
	{"unsafe", checkUnsafe, "vmm/a.go", `package vmm; import _ "unsafe"`},
	{"cgo", checkCgo, "vmm/a.go", `package vmm; import "C"`},
	{"init", checkInit, "vmm/a.go", `package vmm; func init() {}`},
	{"names", checkName, "vmm/a.go", `package helpers`},
	{"panics", checkPanic, "virtio/block/a.go", `package block; func f() { panic("x") }`},
	{"sleeps", checkSleep, "vmm/a_test.go", `package vmm; import "time"; func f() { time.Sleep(1) }`},
	{"documented functions", checkDocs, "vmm/a.go", `package vmm; func F() {}`},
	{"documented methods", checkDocs, "vmm/a.go", "package vmm\n// T is one.\ntype T int\nfunc (T) M() {}"},
	{"documented types", checkDocs, "vmm/a.go", `package vmm; type T int`},
	{"documented constants", checkDocs, "vmm/a.go", `package vmm; const C = 1`},
	{"parameters", checkParameters, "vmm/a.go", `package vmm; func f(a, b, c, d, e, f, g int) {}`},
	{"length", checkLength, "vmm/a.go", "package vmm\n" + strings.Repeat("\n", maxLines)},
	{"long functions", checkLength, "vmm/a.go", "package vmm\nfunc f() {" + strings.Repeat("\n", maxFuncLines) + "}"},
}

func TestRules(t *testing.T) {
	files := tree(t)
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			if got := rule.check(snippet(t, rule.path, rule.text)); len(got) != 1 {
				t.Fatalf("found %v in a file that breaks the rule once", got)
			}
			for _, s := range files {
				for _, f := range rule.check(s) {
					t.Errorf("%s:%d: %s", s.path, f.line, f.text)
				}
			}
		})
	}
}

func checkUnsafe(s source) []fault {
	if strings.HasSuffix(strings.TrimSuffix(s.path, "_test.go"), "_unsafe") || strings.HasSuffix(s.path, "_unsafe.go") {
		return nil
	}
	return s.importFault("unsafe", "unsafe code stands in files named *_unsafe.go")
}

func checkCgo(s source) []fault { return s.importFault("C", "no cgo") }

func (s source) importFault(path, why string) []fault {
	for i, p := range s.imports() {
		if p == path {
			return []fault{{s.at(s.ast.Imports[i]), why}}
		}
	}
	return nil
}

// functions gives the declared functions and methods.
func (s source) functions() []*ast.FuncDecl {
	var list []*ast.FuncDecl
	for _, d := range s.ast.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			list = append(list, f)
		}
	}
	return list
}

func checkInit(s source) []fault {
	for _, f := range s.functions() {
		if f.Recv == nil && f.Name.Name == "init" && !s.isTest() {
			return []fault{{s.at(f), "no init functions: nothing happens by importing"}}
		}
	}
	return nil
}

func checkName(s source) []fault {
	name := strings.TrimSuffix(s.ast.Name.Name, "_test")
	for _, n := range []string{name, path.Base(s.dir())} {
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "types", "misc"}, n) {
			return []fault{{1, "package " + n + " says nothing of what is in it"}}
		}
	}
	return nil
}

// mayPanic lists the files of the monitor with an invariant whose breach must stop
// it, and which no guest can reach.
var mayPanic = map[string]string{
	"vmm/guestmem/memory_unsafe.go": "ring addresses are checked for alignment when the queue is set up",
}

func checkPanic(s source) (faults []fault) {
	if s.isTest() || mayPanic[s.path] != "" || !matches("vmm/...", s.dir()) && !matches("virtio/...", s.dir()) {
		return nil
	}
	ast.Inspect(s.ast, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if f, ok := call.Fun.(*ast.Ident); ok && f.Name == "panic" {
				faults = append(faults, fault{s.at(n), "the monitor does not panic: return an error"})
			}
		}
		return true
	})
	return faults
}

func checkSleep(s source) (faults []fault) {
	if !s.isTest() {
		return nil
	}
	ast.Inspect(s.ast, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" {
				faults = append(faults, fault{s.at(n), "a test waits for what it expects, it does not sleep"})
			}
		}
		return true
	})
	return faults
}

// selfEvident are methods whose name and signature say it all.
var selfEvident = []string{"Error", "String", "Unwrap"}

func checkDocs(s source) (faults []fault) {
	if s.isTest() {
		return nil
	}
	undocumented := func(n ast.Node, name string) {
		faults = append(faults, fault{s.at(n), name + " has no doc comment"})
	}
	for _, f := range s.functions() {
		if f.Name.IsExported() && f.Doc == nil && (f.Recv == nil ||
			ast.IsExported(receiver(f)) && !slices.Contains(selfEvident, f.Name.Name)) {
			undocumented(f, f.Name.Name)
		}
	}
	for _, d := range s.ast.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Doc == nil && !enumeration(g) {
			for _, spec := range g.Specs {
				if name := bare(spec); name != "" {
					undocumented(spec, name)
				}
			}
		}
	}
	return faults
}

// enumeration reports whether a block holds the values of one named type, whose
// comment is theirs.
func enumeration(g *ast.GenDecl) bool {
	if g.Tok != token.CONST || !g.Lparen.IsValid() {
		return false
	}
	first, ok := g.Specs[0].(*ast.ValueSpec)
	return ok && first.Type != nil && ast.IsExported(fmt.Sprint(first.Type))
}

// receiver gives the name of a method's type.
func receiver(f *ast.FuncDecl) string {
	t := f.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// bare gives the exported name that a declaration without a comment declares.
func bare(spec ast.Spec) string {
	switch x := spec.(type) {
	case *ast.TypeSpec:
		if x.Name.IsExported() && x.Doc == nil && x.Comment == nil {
			return x.Name.Name
		}
	case *ast.ValueSpec:
		for _, n := range x.Names {
			if n.IsExported() && x.Doc == nil && x.Comment == nil {
				return n.Name
			}
		}
	}
	return ""
}

// maxParameters is what a reader of a call can keep apart; more make a struct.
const maxParameters = 6

func checkParameters(s source) (faults []fault) {
	for _, f := range s.functions() {
		if n := f.Type.Params.NumFields(); n > maxParameters {
			faults = append(faults, fault{s.at(f), fmt.Sprintf("%s has %d parameters, more than %d", f.Name.Name, n, maxParameters)})
		}
	}
	return faults
}

// How long files and functions may get at most; both are mostly far shorter. A
// test's function may be a long table.
const (
	maxLines     = 600
	maxFuncLines = 80
)

func checkLength(s source) (faults []fault) {
	if s.lines > maxLines {
		faults = append(faults, fault{maxLines, fmt.Sprintf("%d lines, more than %d", s.lines, maxLines)})
	}
	for _, f := range s.functions() {
		first, last := s.line(f.Pos()), s.line(f.End())
		if n := last - first + 1; n > maxFuncLines && !s.isTest() {
			faults = append(faults, fault{first, fmt.Sprintf("%s has %d lines, more than %d", f.Name.Name, n, maxFuncLines)})
		}
	}
	return faults
}

func (s source) line(p token.Pos) int { return s.fset.Position(p).Line }

// TestPackageComments: some file of each package says what it is, for whom, what not.
func TestPackageComments(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range tree(t) {
		if !s.isTest() {
			documented[s.dir()] = documented[s.dir()] || s.ast.Doc != nil
		}
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("package %s has no package comment", dir)
		}
	}
}
