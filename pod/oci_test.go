package pod_test

import (
	"context"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/ocitest"
	"github.com/clearrun/clearrun/pod"
)

// ociImage is a layout with one image, named v1, and its manifest.
func ociImage(t testing.TB, text string) (*ocitest.Layout, v1.Descriptor) {
	t.Helper()
	l := ocitest.New(t)
	config := ocitest.Config(v1.ImageConfig{Entrypoint: []string{"/bin/app"}, Cmd: []string{"-v"}, User: "1000"})
	d := l.Image(config, ocitest.Layer{Tar: acitest.Tar(t, acitest.File("bin/app", text))})
	l.Tag(d, "v1")
	return l, d
}

// unverified opens a reference without looking at signatures.
func (h *host) unverified(reference string, change ...func(*pod.Options)) (*pod.Pod, error) {
	o := pod.Options{
		Path: reference, Store: h.store, Keyring: h.keys, InsecureNoVerify: true,
		Progress: func(step string) { h.steps = append(h.steps, step) },
	}
	for _, c := range change {
		c(&o)
	}
	return pod.Open(context.Background(), o)
}

func TestOpenOCI(t *testing.T) {
	h := newHost(t)
	l, d := ociImage(t, "one")
	h.write("a.tar", l.Tar())
	for _, tc := range []struct {
		reference string
		name      image.Name // given by the user
		want      string
		warm      bool
	}{
		{"oci:" + l.Dir + ":v1", "example.com/given", "example.com/given", false},
		{"oci-archive:" + h.path("a.tar"), "", "localhost/a", true},
		{"oci-archive:" + h.path("a.tar") + ":v1", "localhost:5000/b", "localhost:5000/b", true},
	} {
		h.steps = nil
		p, err := h.unverified(tc.reference, func(o *pod.Options) { o.Name = tc.name })
		if err != nil {
			t.Fatalf("%s: %v", tc.reference, err)
		}
		defer p.Close()
		// The same bytes may have another name each time: the one that is asked for counts.
		if p.Name != tc.want || p.Image.Name != image.Name(tc.want) {
			t.Errorf("%s: named %s, %s", tc.reference, p.Name, p.Image.Name)
		}
		if got := p.Verdict.ImageDigest().Hex(); got != d.Digest.Encoded() {
			t.Errorf("%s: digest %s, want that of the manifest, %s", tc.reference, got, d.Digest)
		}
		if !reflect.DeepEqual(p.App.Exec, []string{"/bin/app", "-v"}) || p.App.User != "1000" {
			t.Errorf("%s: app %+v", tc.reference, p.App)
		}
		if rendered := len(h.steps) > 0; rendered == tc.warm {
			t.Errorf("%s: rendered: %v", tc.reference, rendered)
		}
	}
}

func TestOpenOCIRefuses(t *testing.T) {
	h := newHost(t)
	l, _ := ociImage(t, "one")
	other, od := ociImage(t, "two")
	other.Replace(od, func(b []byte) []byte { return append(b[:len(b)-1], ' ') })
	h.write("a.aci", []byte("x"))
	for _, tc := range []struct{ name, reference, want string }{
		{"no such image", "oci:" + l.Dir + ":v2", `no image "v2"`},
		{"no layout", "oci:" + h.dir, "no OCI image layout"},
		{"no folder", "oci:" + h.path("none"), "no such file"},
		{"changed", "oci:" + other.Dir, "changed or damaged"},
		{"no archive", "oci-archive:" + h.path("a.aci"), "neither a tar"},
		{"no docker archive", "docker-archive:" + h.path("a.aci"), "neither a tar"},
		{"no reference", "oci:", "want oci:PATH"},
	} {
		if p, err := h.unverified(tc.reference); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, %v; want %q", tc.name, p, err, tc.want)
		}
	}
	// Without the option, nobody vouches for it.
	_, err := pod.Open(context.Background(), pod.Options{Path: "oci:" + l.Dir, Store: h.store, Keyring: h.keys})
	if err == nil {
		t.Error("an unsigned image was opened")
	}
	if entries, err := os.ReadDir(h.store.Dir() + "/images"); !errors.Is(err, os.ErrNotExist) && len(entries) > 0 {
		t.Errorf("the store keeps %v", entries)
	}
}

func TestDockerArguments(t *testing.T) {
	h := newHost(t)
	l, _ := ociImage(t, "one")
	for _, tc := range []struct {
		overrides pod.Overrides
		want      []string
	}{
		{pod.Overrides{}, []string{"/bin/app", "-v"}},
		{pod.Overrides{Args: []string{"-q", "x"}}, []string{"/bin/app", "-q", "x"}},
		{pod.Overrides{Entrypoint: []string{"/bin/sh"}}, []string{"/bin/sh"}},
		{pod.Overrides{Entrypoint: []string{"/bin/sh"}, Args: []string{"-c", "x"}}, []string{"/bin/sh", "-c", "x"}},
	} {
		p, err := h.unverified("oci:"+l.Dir, func(o *pod.Options) { o.Overrides = tc.overrides })
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(p.App.Exec, tc.want) {
			t.Errorf("%+v: got %q, want %q", tc.overrides, p.App.Exec, tc.want)
		}
		p.Close()
	}
}
