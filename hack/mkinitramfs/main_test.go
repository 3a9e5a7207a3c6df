package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"
)

func TestArchive(t *testing.T) {
	program := []byte("\x7fELF\x00 not a multiple of four")
	dir := t.TempDir()
	in, out := filepath.Join(dir, "program"), filepath.Join(dir, "out.cpio")
	if err := os.WriteFile(in, program, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(in, out); err != nil {
		t.Fatal(err)
	}
	archive, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	again, err := pack(program)
	if err != nil || !bytes.Equal(archive, again) {
		t.Errorf("a second archive of the same program differs (%v)", err)
	}
	got, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(archive)))
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		name         string
		mode         uint64
		major, minor uint64
	}{
		{"dev", unix.S_IFDIR | 0o755, 0, 0},
		{"dev/console", unix.S_IFCHR | 0o600, 5, 1},
		{"dev/null", unix.S_IFCHR | 0o666, 1, 3},
		{"dev/port", unix.S_IFCHR | 0o600, 1, 4},
		{"image", unix.S_IFDIR | 0o755, 0, 0},
		{"overlay", unix.S_IFDIR | 0o755, 0, 0},
		{"root", unix.S_IFDIR | 0o755, 0, 0},
		{"init", unix.S_IFREG | 0o755, 0, 0},
	}
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i].Info
		if strings.TrimRight(g.Name, "\x00") != w.name || g.Mode != w.mode || g.Rmajor != w.major || g.Rminor != w.minor || g.UID|g.GID|g.MTime != 0 {
			t.Errorf("record %d is %v, want %+v", i, g, w)
		}
	}
	content, err := io.ReadAll(io.NewSectionReader(got[len(got)-1].ReaderAt, 0, 1<<20))
	if err != nil || !bytes.Equal(content, program) {
		t.Errorf("/init holds %q (%v), want the program", content, err)
	}
	if at := bytes.Index(archive, program); at%pageSize != 0 {
		t.Errorf("/init starts at %#x, which is not a page", at)
	}
}

func TestMissingProgramIsAnError(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out.cpio")
	if err := run(filepath.Join(dir, "none"), out); err == nil {
		t.Error("packed a program that does not exist")
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("left an archive behind")
	}
}
