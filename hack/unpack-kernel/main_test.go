package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/ulikunitz/xz"
)

// keptDir is where the repository keeps its kernel.
const keptDir = "../../guest/kernel-config"

// TestKeptKernel proves without a compiler that the kernel, its provenance and its
// inputs in this tree belong together; make kernel-verify does so with one.
func TestKeptKernel(t *testing.T) {
	p, err := readProvenance(keptDir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.unpack(keptDir); err != nil {
		t.Error(err)
	}
	if err := p.checkInputs(keptDir); err != nil {
		t.Error(err)
	}
}

// newDir makes a folder with a small kernel in it, all of whose parts belong together.
func newDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	kernel := bytes.Repeat([]byte("kernel"), 1000)
	var packed bytes.Buffer
	w, err := xz.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(kernel); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"vmlinux.xz":        packed.String(),
		"source":            "# comment with = in it\npackage=linux\nversion=1\nsha256=abc\n",
		"config.fragment":   "CONFIG_64BIT=y\n",
		"patches/1.patch":   "one",
		"patches/2.patch":   "two",
		"patches/README.md": "not a patch",
	}
	if err := os.Mkdir(filepath.Join(dir, "patches"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		write(t, filepath.Join(dir, name), content)
	}
	provenance, err := json.Marshal(map[string]any{
		"source":     map[string]any{"package": "linux", "version": "1", "sha256": "abc"},
		"config":     map[string]any{"fragment": digest([]byte(files["config.fragment"])), "config": "unknown"},
		"patches":    []patch{{"1.patch", digest([]byte("one"))}, {"2.patch", digest([]byte("two"))}},
		"tools":      map[string]any{"compiler": "gcc", "linker": "ld"},
		"vmlinux":    artifact{digest(kernel), int64(len(kernel))},
		"compressed": map[string]any{"file": "vmlinux.xz", "sha256": digest(packed.Bytes()), "size": packed.Len()},
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "provenance.json"), string(provenance))
	return dir
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestUnpack(t *testing.T) {
	dir := newDir(t)
	out := filepath.Join(dir, "out")
	if err := run(dir, out); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil || !bytes.Equal(got, bytes.Repeat([]byte("kernel"), 1000)) {
		t.Errorf("got %d bytes, error %v", len(got), err)
	}
}

func TestRefuseChangedKernel(t *testing.T) {
	dir := newDir(t)
	path := filepath.Join(dir, "vmlinux.xz")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	write(t, path, string(data))
	out := filepath.Join(dir, "out")
	if err := run(dir, out); err == nil {
		t.Error("a changed kernel was unpacked")
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("something was written")
	}
}

func TestInputs(t *testing.T) {
	for _, tc := range []struct {
		name, file, content string
	}{
		{"other source", "source", "package=linux\nversion=2\nsha256=abc\n"},
		{"other fragment", "config.fragment", "CONFIG_64BIT=n\n"},
		{"other patch", "patches/1.patch", "changed"},
		{"further patch", "patches/3.patch", "three"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := newDir(t)
			p, err := readProvenance(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.checkInputs(dir); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			write(t, filepath.Join(dir, tc.file), tc.content)
			if err := p.checkInputs(dir); err == nil {
				t.Error("the change went unnoticed")
			}
		})
	}
}
