package oci_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/oci"
)

// run runs a program, which must succeed.
func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// built is a layout folder that umoci has made, with two layers; the image is "v1".
func built(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	layout, file := filepath.Join(dir, "layout"), filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "umoci", "init", "--layout", layout)
	run(t, "umoci", "new", "--image", layout+":v1")
	for _, name := range []string{"/etc/one", "/etc/two"} {
		run(t, "umoci", "insert", "--rootless", "--image", layout+":v1", file, name)
	}
	run(t, "umoci", "config", "--image", layout+":v1", "--config.entrypoint", "/etc/one", "--config.cmd", "-v",
		"--config.user", "1:2", "--config.env", "A=b", "--config.workingdir", "/etc")
	return layout
}

// TestTools reads what umoci and skopeo make of one image.
func TestTools(t *testing.T) {
	layout := built(t)
	dir := t.TempDir()
	copied := func(to string, flags ...string) string {
		args := append([]string{"copy", "--quiet", "--insecure-policy"}, flags...)
		run(t, "skopeo", append(args, "oci:"+layout+":v1", to)...)
		return to
	}
	want, err := read(t, layout, "v1", image.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	app := want.Meta().Apps[0]
	if !reflect.DeepEqual(app.Exec, []string{"/etc/one"}) || !reflect.DeepEqual(app.DefaultArgs, []string{"-v"}) || app.User != "1" || app.Group != "2" {
		t.Errorf("umoci's image has %+v", app)
	}
	ctx := context.Background()
	for _, tc := range []struct{ name, to string }{
		{"zstd", copied("oci:"+filepath.Join(dir, "zstd")+":v1", "--dest-compress-format", "zstd", "--dest-compress")},
		{"archive", copied("oci-archive:" + filepath.Join(dir, "a.tar") + ":v1")},
		{"docker", copied("docker-archive:" + filepath.Join(dir, "d.tar") + ":example.com/app:v1")},
	} {
		img, err := readCopy(t, ctx, tc.to)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		var got, diffs []image.Digest
		for i, l := range img.Layers() {
			got, diffs = append(got, l.DiffID), append(diffs, want.Layers()[i].DiffID)
		}
		if !reflect.DeepEqual(got, diffs) || !reflect.DeepEqual(img.Meta().Apps, want.Meta().Apps) {
			t.Errorf("%s: layers %v, app %+v; want %v, %+v", tc.name, got, img.Meta().Apps, diffs, want.Meta().Apps)
		}
	}
}

// readCopy reads what skopeo calls TRANSPORT:PATH:TAG.
func readCopy(t *testing.T, ctx context.Context, name string) (*image.Image, error) {
	parts := strings.SplitN(name, ":", 3)
	if parts[0] == "oci" {
		return read(t, parts[1], parts[2], image.Limits{})
	}
	f, err := os.Open(parts[1])
	if err != nil {
		return nil, err
	}
	var a *oci.Artifact
	if parts[0] == "docker-archive" {
		a, err = oci.ResolveDockerArchive(ctx, f, parts[2], t.TempDir(), image.Limits{})
	} else if l, err2 := oci.OpenArchive(ctx, f, t.TempDir(), image.Limits{}); err2 != nil {
		err = err2
	} else {
		d, _, err2 := l.Find(parts[2])
		if err2 != nil {
			return nil, err2
		}
		a, err = oci.Resolve(ctx, l, d, "localhost/a", image.Limits{})
	}
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { a.Close() })
	img, err := a.Read(ctx, t.TempDir())
	if err == nil {
		t.Cleanup(func() { img.Close() })
	}
	return img, err
}
