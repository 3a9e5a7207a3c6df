package houserules

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// inMakefile finds what the Makefile runs: ./hack/program and hack/script.sh.
var inMakefile = regexp.MustCompile(`\bhack/[\w./-]+`)

func TestMakefileNamesWhatExists(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	named := inMakefile.FindAllString(string(data), -1)
	if len(named) < 5 {
		t.Fatalf("only %q found in the Makefile", named)
	}
	for _, path := range named {
		info, err := os.Stat(filepath.Join(root, path))
		switch {
		case err != nil:
			t.Errorf("the Makefile runs %s: %v", path, err)
		case !info.IsDir() && info.Mode()&0o111 == 0:
			t.Errorf("the Makefile runs %s, which is not executable", path)
		}
	}
}

// targets are those of the Makefile that people and CI rely on.
var targets = strings.Fields("help build demo test test-vm test-debian lint fuzz bench bench-baseline kernel kernel-verify clean")

func TestMakefileExplainsItsTargets(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	var explained []string
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):.*## \S`).FindAllStringSubmatch(string(data), -1) {
		explained = append(explained, m[1])
	}
	if !slices.Equal(explained, targets) {
		t.Errorf("make help lists %q, want %q", explained, targets)
	}
}
