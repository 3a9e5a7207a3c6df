package houserules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	// root is the repository, seen from this package.
	root = "../.."
	// module is the prefix of our own import paths.
	module = "github.com/clearrun/clearrun/"
)

// source is one Go file of the repository.
type source struct {
	path  string // from the root, with slashes
	lines int
	ast   *ast.File
	fset  *token.FileSet
}

func (s source) dir() string  { return filepath.ToSlash(filepath.Dir(s.path)) }
func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// at gives the line of a node.
func (s source) at(n ast.Node) int { return s.fset.Position(n.Pos()).Line }

// imports lists the paths that the file imports.
func (s source) imports() []string {
	var paths []string
	for _, spec := range s.ast.Imports {
		// The parser has checked the quotes.
		path, _ := strconv.Unquote(spec.Path.Value)
		paths = append(paths, path)
	}
	return paths
}

func parse(path string, text any) (source, error) {
	s := source{path: path, fset: token.NewFileSet()}
	var err error
	s.ast, err = parser.ParseFile(s.fset, filepath.Join(root, path), text, parser.ParseComments|parser.SkipObjectResolution)
	if err == nil {
		s.lines = s.fset.File(s.ast.Pos()).LineCount()
	}
	return s, err
}

// tree is all Go files of the repository, without what was built.
func tree(t *testing.T) []source {
	t.Helper()
	var files []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path, err = filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() && (path == "build" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != ".") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		s, err := parse(filepath.ToSlash(path), nil)
		files = append(files, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("only %d Go files found: the tests look in the wrong place", len(files))
	}
	return files
}

// snippet parses a file that exists only in a test.
func snippet(t *testing.T, path, text string) source {
	t.Helper()
	s, err := parse(path, text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
