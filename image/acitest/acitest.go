// Package acitest makes App Container Images for tests, well formed and not. It is
// imported by tests alone.
package acitest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"testing"
	"time"
)

// Entry is one member of an archive.
type Entry struct {
	tar.Header
	Data string
}

// Manifest is a minimal one. app is JSON, or empty for an image without an app.
func Manifest(name, app string) Entry {
	m := fmt.Sprintf(`{"acKind":"ImageManifest","acVersion":"0.8.11","name":%q`, name)
	if app != "" {
		m += `,"app":` + app
	}
	return File("manifest", m+"}")
}

// File is a regular file of root's.
func File(name, data string) Entry {
	return Entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, data}
}

// Dir is a folder of root's.
func Dir(name string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}}
}

// Link is a symlink or, with typeflag tar.TypeLink, a hard link.
func Link(typeflag byte, name, target string) Entry {
	return Entry{Header: tar.Header{Typeflag: typeflag, Name: name, Linkname: target, Mode: 0o777}}
}

// Tar packs the entries in the given order.
func Tar(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		h := e.Header
		h.Size = int64(len(e.Data))
		if h.ModTime.IsZero() {
			h.ModTime = time.Unix(1_000_000_000, 0)
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatalf("entry %q: %v", h.Name, err)
		}
		if _, err := io.WriteString(w, e.Data); err != nil {
			t.Fatalf("entry %q: %v", h.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// Compress runs the program of that name (gzip, bzip2, xz) over data.
func Compress(t testing.TB, program string, data []byte) []byte {
	t.Helper()
	cmd := exec.Command(program, "-c")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return out
}
