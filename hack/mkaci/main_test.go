package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/aci"
)

// folder makes a small root filesystem, with the given time on its files.
func folder(t *testing.T, when time.Time) string {
	t.Helper()
	root := t.TempDir()
	for name, data := range map[string]string{"bin/hello": "#!", "etc/conf": "x=1", "empty": ""} {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(data), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, when, when); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("hello", filepath.Join(root, "bin/hi")); err != nil {
		t.Fatal(err)
	}
	return root
}

func pack(t *testing.T, root string, more ...string) ([]byte, error) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.aci")
	o, err := parse(append([]string{
		"-name", "example.com/hello", "-version", "1.0", "-root", root, "-o", out,
		"-exec", `["/bin/hello","a b"]`, "-user", "1000", "-group", "100", "-env", "A=b=c", "-dir", "/srv",
	}, more...))
	if err == nil {
		err = build(o)
	}
	if err != nil {
		if _, statErr := os.Stat(out); statErr == nil {
			t.Error("half an image was left behind")
		}
		return nil, err
	}
	return os.ReadFile(out)
}

func TestReproducibleAndReadable(t *testing.T) {
	var ids []image.Digest
	for _, compression := range []string{"none", "gzip", "bzip2", "xz"} {
		a, err := pack(t, folder(t, time.Unix(1, 0)), "-compress", compression)
		if err != nil {
			t.Fatal(err)
		}
		b, err := pack(t, folder(t, time.Unix(2, 5)), "-compress", compression)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s: the same folder gave other bytes", compression)
		}
		img, _, err := aci.Read(context.Background(), bytes.NewReader(a), t.TempDir(), image.Limits{})
		if err != nil {
			t.Errorf("%s: %v", compression, err)
			continue
		}
		defer img.Close()
		ids = append(ids, img.Digest())
		app := img.Meta().Apps[0]
		version, _ := img.Meta().Label("version")
		if img.Name() != "example.com/hello" || version != "1.0" || strings.Join(app.Exec, "|") != "/bin/hello|a b" ||
			app.User != "1000" || app.Group != "100" || app.WorkingDirectory != "/srv" ||
			app.Environment[0] != (image.NameValue{Name: "A", Value: "b=c"}) {
			t.Errorf("%s: got %+v", compression, img.Meta())
		}
	}
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("the image ID depends on the compression: %v", ids)
		}
	}
}

func TestRefuse(t *testing.T) {
	root := folder(t, time.Unix(1, 0))
	for _, more := range [][]string{
		{"-compress", "zip"},
		{"-name", "Not A Name"},
		{"-exec", "/bin/hello"},
		{"-env", "A"},
		{"-dir", "srv"},
		{"-root", filepath.Join(root, "missing")},
		{"stray"},
	} {
		if _, err := pack(t, root, more...); err == nil {
			t.Errorf("%q: accepted", more)
		}
	}
}
