package houserules

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"testing"
)

// Names in ARCHITECTURE.md that must be real: pkg.Name, Type.Method, and Go files.
var (
	quotedName = regexp.MustCompile("`([A-Za-z]\\w*)\\.([A-Za-z]\\w*)`")
	quotedPath = regexp.MustCompile("`((?:cmd|vmrun|pod|trust|image|vmm|virtio|guest|hack|test)/[\\w./-]+)`")
)

// TestArchitectureNamesWhatExists keeps the walk through the code true to the code.
func TestArchitectureNamesWhatExists(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	declared := declarations(tree(t))
	names := quotedName.FindAllStringSubmatch(string(data), -1)
	if len(names) < 20 {
		t.Fatalf("only %d names found in ARCHITECTURE.md", len(names))
	}
	for _, m := range names {
		if name := m[1] + "." + m[2]; !declared[name] && m[2] != "json" {
			t.Errorf("ARCHITECTURE.md names %s, which does not exist", name)
		}
	}
	for _, m := range quotedPath.FindAllStringSubmatch(string(data), -1) {
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil && !planned[m[1]] {
			t.Errorf("ARCHITECTURE.md names %s: %v", m[1], err)
		}
	}
}

// planned are the paths that ARCHITECTURE.md says are not there yet.
var planned = map[string]bool{"virtio/net": true, "virtio/balloon": true}

// declarations gives pkg.Name, Type.Method and file.go for all that is declared.
func declarations(files []source) map[string]bool {
	declared := map[string]bool{}
	for _, s := range files {
		pkg := s.ast.Name.Name + "."
		declared[path.Base(s.path)] = true
		for _, d := range s.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					declared[pkg+d.Name.Name] = true
				} else {
					declared[receiver(d)+"."+d.Name.Name] = true
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if t, ok := spec.(*ast.TypeSpec); ok {
						declared[pkg+t.Name.Name] = true
					}
				}
			}
		}
	}
	return declared
}
