package houserules

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNoProgramIsKept looks for what a compiler has left among the files of the repository: each clone would carry
// it for ever.
func TestNoProgramIsKept(t *testing.T) {
	cmd := exec.Command("git", "ls-files", "-z")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("not a checkout of git: %v", err)
	}
	paths := strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
	if len(paths) < 50 {
		t.Fatalf("only %d files found: the test looks in the wrong place", len(paths))
	}
	for _, path := range paths {
		f, err := os.Open(filepath.Join(root, path))
		if os.IsNotExist(err) {
			continue // deleted, which is still to be committed
		}
		if err != nil {
			t.Fatal(err)
		}
		magic := make([]byte, 4)
		_, _ = io.ReadFull(f, magic) // shorter files are none
		f.Close()
		if bytes.Equal(magic, []byte("\x7fELF")) {
			t.Errorf("%s is a program: delete it (git rm)", path)
		}
	}
}
