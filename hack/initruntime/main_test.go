package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEditsFitThisRelease(t *testing.T) {
	dir, err := runtimeSource()
	if err != nil {
		t.Fatal(err)
	}
	files, err := apply(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range edits {
		found := false
		for path, text := range files {
			found = found || filepath.Base(path) == e.file && strings.Contains(text, e.new)
		}
		if !found {
			t.Errorf("%s is without %q", e.file, e.new)
		}
	}
}

func TestOtherRuntimeIsRefused(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"package runtime\n", edits[0].old + edits[0].old} {
		if err := os.WriteFile(filepath.Join(dir, edits[0].file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := apply(dir); err == nil {
			t.Errorf("edits apply to %q", text)
		}
	}
}
