package oci_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/oci"
	"github.com/clearrun/clearrun/image/ocitest"
)

// layerOf is a layer with one file.
func layerOf(t testing.TB, name, data string) ocitest.Layer {
	return ocitest.Layer{Tar: acitest.Tar(t, acitest.Dir("etc/"), acitest.File(name, data))}
}

// packed compresses a layer.
func packed(t testing.TB, program, mediaType string, l ocitest.Layer) ocitest.Layer {
	l.Compressed, l.MediaType = acitest.Compress(t, program, l.Tar), mediaType
	return l
}

// resolve opens the layout and finds the image of that name.
func resolve(t testing.TB, dir, name string, limits image.Limits) (*oci.Artifact, error) {
	t.Helper()
	layout, err := oci.OpenLayout(dir, limits)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { layout.Close() })
	d, repo, err := layout.Find(name)
	if err != nil {
		return nil, err
	}
	if repo == "" {
		repo = "localhost/layout"
	}
	return oci.Resolve(context.Background(), layout, d, repo, limits)
}

// read is resolve, and all layers.
func read(t testing.TB, dir, name string, limits image.Limits) (*image.Image, error) {
	t.Helper()
	a, err := resolve(t, dir, name, limits)
	if err != nil {
		return nil, err
	}
	img, err := a.Read(context.Background(), t.TempDir())
	if err == nil {
		t.Cleanup(func() { img.Close() })
	}
	return img, err
}

func digestOf(t testing.TB, d v1.Descriptor) image.Digest {
	t.Helper()
	digest, err := oci.DigestOf(d)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

var fullConfig = v1.ImageConfig{
	User: "www:33", Entrypoint: []string{"/bin/app"}, Cmd: []string{"-v"}, WorkingDir: "srv",
	Env: []string{"PATH=/bin", "A=b=c", "UNSET"}, Volumes: map[string]struct{}{"/data/": {}},
	ExposedPorts: map[string]struct{}{"80": {}, "53/udp": {}, "8000-8009/tcp": {}},
	Labels:       map[string]string{"os": "lies", "a": "b", v1.AnnotationVersion: "1.2.3"}, StopSignal: "SIGQUIT",
}

func TestRead(t *testing.T) {
	l := ocitest.New(t)
	layers := []ocitest.Layer{
		layerOf(t, "etc/a", "1"),
		packed(t, "gzip", v1.MediaTypeImageLayerGzip, layerOf(t, "etc/b", "2")),
		packed(t, "zstd", v1.MediaTypeImageLayerZstd, layerOf(t, "etc/c", "3")),
		packed(t, "xz", v1.MediaTypeImageLayer+"+xz", layerOf(t, "etc/d", "4")),
		packed(t, "bzip2", "application/vnd.docker.image.rootfs.diff.tar.gzip", layerOf(t, "etc/e", "5")),
		{Tar: acitest.Tar(t)}, // as tools write for a step that changes nothing
	}
	d := l.Image(ocitest.Config(fullConfig), layers...)
	index := l.IndexOf(d)
	l.Tag(index, "example.com/app:v1")
	a, err := resolve(t, l.Dir, "example.com/app:v1", image.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []image.Digest{digestOf(t, d), digestOf(t, index)}; !reflect.DeepEqual(a.Subjects, want) {
		t.Errorf("subjects %v, want %v", a.Subjects, want)
	}
	for i, doc := range a.Documents {
		if sum := sha256.Sum256(doc); hex.EncodeToString(sum[:]) != a.Subjects[i].Hex() {
			t.Errorf("document %d is not what its digest says", i)
		}
	}
	img, err := a.Read(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	for i, layer := range img.Layers() {
		if data, err := io.ReadAll(layer.Open()); err != nil || !bytes.Equal(data, layers[i].Tar) {
			t.Errorf("layer %d: %d bytes, %v", i, len(data), err)
		}
	}
	checkMeta(t, img.Meta(), digestOf(t, d))
}

func checkMeta(t *testing.T, got image.Meta, digest image.Digest) {
	t.Helper()
	want := image.Meta{
		Digest: digest, Name: "example.com/app",
		Labels: []image.NameValue{
			{Name: "os", Value: "linux"},
			{Name: "arch", Value: "amd64"},
			{Name: "version", Value: "1.2.3"},
			{Name: "a", Value: "b"},
			{Name: v1.AnnotationVersion, Value: "1.2.3"},
		},
		Apps: []image.App{{
			Exec: []string{"/bin/app"}, DefaultArgs: []string{"-v"}, User: "www", Group: "33", WorkingDirectory: "/srv",
			Environment: []image.NameValue{{Name: "PATH", Value: "/bin"}, {Name: "A", Value: "b=c"}},
			MountPoints: []image.MountPoint{{Name: "data", Path: "/data"}},
			Ports: []image.Port{
				{Name: "53-udp", Protocol: "udp", Port: 53, Count: 1},
				{Name: "80", Protocol: "tcp", Port: 80, Count: 1},
				{Name: "8000-8009-tcp", Protocol: "tcp", Port: 8000, Count: 10},
			},
			StopSignal: "SIGQUIT",
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestPlatform(t *testing.T) {
	l := ocitest.New(t)
	config := ocitest.Config(v1.ImageConfig{Cmd: []string{"/x"}})
	on := func(d v1.Descriptor, os, arch, variant string) v1.Descriptor {
		d.Platform = &v1.Platform{OS: os, Architecture: arch, Variant: variant}
		return d
	}
	right := l.Image(config, layerOf(t, "a", "right"))
	wrong := l.Image(config, layerOf(t, "a", "wrong"))
	foreign := config
	foreign.Architecture = "arm64"
	attestation := l.Blob("application/vnd.in-toto+json", []byte("{}"))
	l.Tag(l.IndexOf(on(wrong, "linux", "arm64", "v8"), attestation, on(wrong, "linux", "amd64", "v3"),
		on(right, "linux", "amd64", ""), on(wrong, "unknown", "unknown", "")), "all")
	l.Tag(l.IndexOf(on(l.IndexOf(right), "linux", "amd64", "v1")), "nested")
	l.Tag(l.IndexOf(on(wrong, "linux", "arm64", "v8"), on(wrong, "windows", "amd64", "")), "none")
	l.Tag(l.IndexOf(), "empty")
	l.Tag(l.Image(foreign, layerOf(t, "a", "")), "foreign")
	l.Tag(on(wrong, "linux", "s390x", ""), "flat") // one name for several, as some tools write it
	l.Tag(on(right, "linux", "amd64", ""), "flat")
	for _, name := range []string{"all", "nested", "flat"} {
		if a, err := resolve(t, l.Dir, name, image.Limits{}); err != nil || a.Digest() != digestOf(t, right) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"none": "no image for linux/amd64, but for linux/arm64/v8, windows/amd64", "empty": "is empty",
		"foreign": "is for linux/arm64", "missing": `no image "missing", but: all`, "": "name one behind a colon",
	} {
		if _, err := resolve(t, l.Dir, name, image.Limits{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}

func TestFindNames(t *testing.T) {
	l := ocitest.New(t)
	d := l.Image(ocitest.Config(v1.ImageConfig{}), layerOf(t, "a", ""))
	l.Add(d, v1.AnnotationRefName, "v1", "io.containerd.image.name", "localhost:5000/org/app:v1")
	l.Tag(d, digestOf(t, d).String()+".sig") // a signature is no image to run
	l.Add(l.Blob(v1.MediaTypeImageManifest, []byte("{}")))
	for _, name := range []string{"", "v1", "localhost:5000/org/app:v1"} {
		if a, err := resolve(t, l.Dir, name, image.Limits{}); err != nil || a.Name != "localhost:5000/org/app" {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// broken has layouts each with one fault, and what must be said of it.
var broken = []struct {
	name  string
	build func(t *testing.T, l *ocitest.Layout)
	want  string
}{
	{"swapped layer", func(t *testing.T, l *ocitest.Layout) {
		m := simple(t, l)
		l.Replace(m.Layers[0], func(b []byte) []byte { return acitest.Tar(t, acitest.File("evil", string(b[:512]))) })
	}, "descriptor says"},
	{"swapped layer of the same size", func(t *testing.T, l *ocitest.Layout) {
		m := simple(t, l)
		l.Replace(m.Layers[0], func(b []byte) []byte { return bytes.Replace(b, []byte("hello"), []byte("evil!"), 1) })
	}, "its digest is another one"},
	{"truncated layer", func(t *testing.T, l *ocitest.Layout) {
		l.Replace(simple(t, l).Layers[0], func(b []byte) []byte { return b[:len(b)-1] })
	}, "descriptor says"},
	{"wrong size", func(t *testing.T, l *ocitest.Layout) {
		m := l.Manifest(ocitest.Config(v1.ImageConfig{}), layerOf(t, "a", ""))
		m.Layers[0].Size++
		l.Tag(l.JSON(v1.MediaTypeImageManifest, m), "x")
	}, "its descriptor says"},
	{"negative size", func(t *testing.T, l *ocitest.Layout) {
		m := l.Manifest(ocitest.Config(v1.ImageConfig{}), layerOf(t, "a", ""))
		m.Layers[0].Size = -1
		l.Tag(l.JSON(v1.MediaTypeImageManifest, m), "x")
	}, "size -1"},
	{"wrong diff_id", func(t *testing.T, l *ocitest.Layout) {
		c := ocitest.Config(v1.ImageConfig{})
		layer := layerOf(t, "a", "")
		layer.Compressed = acitest.Compress(t, "gzip", layerOf(t, "b", "").Tar)
		l.Tag(l.Image(c, layer), "x")
	}, "diff_id"},
	{"too few diff_ids", func(t *testing.T, l *ocitest.Layout) {
		m := l.Manifest(ocitest.Config(v1.ImageConfig{}), layerOf(t, "a", ""))
		m.Layers = append(m.Layers, m.Layers[0])
		l.Tag(l.JSON(v1.MediaTypeImageManifest, m), "x")
	}, "1 diff_ids"},
	{"missing blob", func(t *testing.T, l *ocitest.Layout) {
		os.Remove(l.Path(simple(t, l).Layers[0]))
	}, "no such file"},
	{"blob is a symlink out", func(t *testing.T, l *ocitest.Layout) {
		path := l.Path(simple(t, l).Layers[0])
		outside := filepath.Join(t.TempDir(), "blob")
		os.Rename(path, outside)
		os.Symlink(outside, path)
	}, "escapes"},
	{"blob is a folder", func(t *testing.T, l *ocitest.Layout) {
		path := l.Path(simple(t, l).Layers[0])
		os.Remove(path)
		os.Mkdir(path, 0o755)
	}, "not a regular file"},
	{"changed config", func(t *testing.T, l *ocitest.Layout) {
		l.Replace(simple(t, l).Config, func(b []byte) []byte { return bytes.Replace(b, []byte("linux"), []byte("linuX"), 1) })
	}, "its digest is another one"},
	{"changed manifest", func(t *testing.T, l *ocitest.Layout) {
		simple(t, l)
		l.Replace(l.Index.Manifests[0], func(b []byte) []byte { return bytes.Replace(b, []byte("layer"), []byte("Layer"), 1) })
	}, "its digest is another one"},
	{"oversized manifest", func(t *testing.T, l *ocitest.Layout) {
		l.Tag(l.Blob(v1.MediaTypeImageManifest, make([]byte, 5<<20)), "x")
	}, "the limit is"},
	{"oversized config", func(t *testing.T, l *ocitest.Layout) {
		m := l.Manifest(ocitest.Config(v1.ImageConfig{}), layerOf(t, "a", ""))
		m.Config.Size = 1 << 40
		l.Tag(l.JSON(v1.MediaTypeImageManifest, m), "x")
	}, "the limit is"},
	{"index in index in index", func(t *testing.T, l *ocitest.Layout) {
		d := l.Image(ocitest.Config(v1.ImageConfig{}), layerOf(t, "a", ""))
		for range 5 {
			d = l.IndexOf(d)
		}
		l.Tag(d, "x")
	}, "more than 4 indexes"},
	{"index of itself", func(t *testing.T, l *ocitest.Layout) {
		d := l.Blob(v1.MediaTypeImageIndex, []byte("{}"))
		data := []byte(`{"schemaVersion":2,"manifests":[{"mediaType":"` + d.MediaType + `","digest":"` + d.Digest.String() + `","size":2}]}`)
		os.WriteFile(l.Path(d), data, 0o644)
		l.Tag(d, "x")
	}, "its descriptor says"},
	{"manifest and index at once", func(t *testing.T, l *ocitest.Layout) {
		m := l.Manifest(ocitest.Config(v1.ImageConfig{}), layerOf(t, "a", ""))
		l.Tag(l.JSON(v1.MediaTypeImageManifest, struct {
			v1.Manifest
			Manifests []v1.Descriptor `json:"manifests"`
		}{m, []v1.Descriptor{}}), "x")
	}, "manifest and index at once"},
	{"other type than said", func(t *testing.T, l *ocitest.Layout) {
		d := l.Image(ocitest.Config(v1.ImageConfig{}), layerOf(t, "a", ""))
		d.MediaType = v1.MediaTypeImageIndex
		l.Tag(d, "x")
	}, "says to be"},
	{"schema 1", func(t *testing.T, l *ocitest.Layout) {
		l.Tag(l.Blob(v1.MediaTypeImageManifest, []byte(`{"schemaVersion":1,"fsLayers":[]}`)), "x")
	}, "schema 1"},
	{"no container image", func(t *testing.T, l *ocitest.Layout) {
		m := l.Manifest(ocitest.Config(v1.ImageConfig{}), layerOf(t, "a", ""))
		m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json"
		l.Tag(l.JSON(v1.MediaTypeImageManifest, m), "x")
	}, "is no container image"},
	{"unknown layer", func(t *testing.T, l *ocitest.Layout) {
		layer := layerOf(t, "a", "")
		layer.MediaType = v1.MediaTypeImageLayer + "+encrypted"
		l.Tag(l.Image(ocitest.Config(v1.ImageConfig{}), layer), "x")
	}, "unknown type"},
	{"no layers", func(t *testing.T, l *ocitest.Layout) {
		l.Tag(l.Image(ocitest.Config(v1.ImageConfig{})), "x")
	}, "no layers"},
	{"two archives", func(t *testing.T, l *ocitest.Layout) {
		layer := layerOf(t, "a", "")
		layer.Tar = append(layer.Tar, layer.Tar...)
		l.Tag(l.Image(ocitest.Config(v1.ImageConfig{}), layer), "x")
	}, "behind the end"},
	{"md5", func(t *testing.T, l *ocitest.Layout) {
		l.Tag(v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: "md5:00", Size: 1}, "x")
	}, "unknown algorithm"},
	{"digest that is a path", func(t *testing.T, l *ocitest.Layout) {
		l.Tag(v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: "../../../etc/passwd", Size: 1}, "x")
	}, "want <algorithm>:<hex>"},
	{"port", func(t *testing.T, l *ocitest.Layout) {
		c := v1.ImageConfig{ExposedPorts: map[string]struct{}{"0/tcp": {}}}
		l.Tag(l.Image(ocitest.Config(c), layerOf(t, "a", "")), "x")
	}, "exposed port"},
	{"volume", func(t *testing.T, l *ocitest.Layout) {
		c := v1.ImageConfig{Volumes: map[string]struct{}{"data": {}}}
		l.Tag(l.Image(ocitest.Config(c), layerOf(t, "a", "")), "x")
	}, "not an absolute path"},
	{"layout version", func(_ *testing.T, l *ocitest.Layout) {
		l.WriteFile("oci-layout", []byte(`{"imageLayoutVersion":"2.0.0"}`))
	}, "layout version"},
	{"no layout", func(_ *testing.T, l *ocitest.Layout) { os.Remove(filepath.Join(l.Dir, "oci-layout")) }, "no OCI image layout"},
	{"no index", func(*testing.T, *ocitest.Layout) {}, "index.json: no such file"},
}

// simple adds an image with one layer.
func simple(t *testing.T, l *ocitest.Layout) v1.Manifest {
	m := l.Manifest(ocitest.Config(v1.ImageConfig{}), layerOf(t, "a", "hello"))
	l.Tag(l.JSON(v1.MediaTypeImageManifest, m), "x")
	return m
}

func TestRefuse(t *testing.T) {
	for _, tc := range broken {
		t.Run(tc.name, func(t *testing.T) {
			l := ocitest.New(t)
			tc.build(t, l)
			if _, err := read(t, l.Dir, "", image.Limits{}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want it to say %q", err, tc.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	l := ocitest.New(t)
	zeros := packed(t, "gzip", v1.MediaTypeImageLayerGzip, layerOf(t, "zeros", strings.Repeat("\x00", 65<<20)))
	l.Tag(l.Image(ocitest.Config(v1.ImageConfig{}), zeros), "zeros")
	l.Tag(l.Image(ocitest.Config(v1.ImageConfig{}), layerOf(t, "a", ""), layerOf(t, "b", "")), "two")
	change := func(f func(*image.Limits)) image.Limits {
		limits := image.DefaultLimits()
		f(&limits)
		return limits
	}
	for _, tc := range []struct {
		name, image string
		limits      image.Limits
		want        string
	}{
		{"ratio", "zeros", image.Limits{}, "times its size"},
		{"ratio allowed", "zeros", change(func(l *image.Limits) { l.Ratio = 2000 }), ""},
		{"bytes", "zeros", change(func(l *image.Limits) { l.Bytes = 1 << 20 }), "more than 1048576 bytes"},
		{"bytes of all layers", "two", change(func(l *image.Limits) { l.Bytes = 3000 }), "layer 2 of 2: read archive: unpacks to more than"},
		{"entries of all layers", "two", change(func(l *image.Limits) { l.Entries = 3 }), "layer 2 of 2: more than 1 entries"},
		{"entries allowed", "two", change(func(l *image.Limits) { l.Entries = 4 }), ""},
		{"nonsense", "two", image.Limits{Bytes: 1}, "must be greater"},
	} {
		_, err := read(t, l.Dir, tc.image, tc.limits)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestNothingLeft(t *testing.T) {
	l := ocitest.New(t)
	l.Tag(l.Image(ocitest.Config(v1.ImageConfig{}), layerOf(t, "a", ""), layerOf(t, "b", "")), "x")
	a, err := resolve(t, l.Dir, "x", image.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dir := t.TempDir()
	if _, err := a.Read(ctx, dir); err == nil {
		t.Error("read in spite of the context's end")
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestArchive(t *testing.T) {
	l := ocitest.New(t)
	d := l.Image(ocitest.Config(v1.ImageConfig{}), layerOf(t, "a", "hello"))
	l.Tag(d, "v1")
	plain := l.Tar()
	for name, data := range map[string][]byte{"plain": plain, "gzip": acitest.Compress(t, "gzip", plain)} {
		layout, err := oci.OpenArchive(context.Background(), spooled(t, data), t.TempDir(), image.Limits{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer layout.Close()
		root, _, err := layout.Find("v1")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		a, err := oci.Resolve(context.Background(), layout, root, "localhost/a", image.Limits{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		img, err := a.Read(context.Background(), t.TempDir())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if img.Digest() != digestOf(t, d) {
			t.Errorf("%s: digest %s", name, img.Digest())
		}
		img.Close()
	}
	for name, data := range map[string][]byte{
		"truncated":     plain[:len(plain)/2],
		"twice":         acitest.Tar(t, acitest.File("a", ""), acitest.File("./a", "")),
		"FIFO":          acitest.Tar(t, acitest.Entry{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "a"}}),
		"out":           acitest.Tar(t, acitest.File("../a", "")),
		"no layout":     acitest.Tar(t, acitest.File("a", "")),
		"symlink loop":  acitest.Tar(t, acitest.Link(tar.TypeSymlink, "oci-layout", "index.json"), acitest.Link(tar.TypeSymlink, "index.json", "oci-layout")),
		"too many":      many(t),
		"not a tar":     []byte("hello"),
		"gzip, cut off": acitest.Compress(t, "gzip", plain)[:100],
	} {
		limits := image.DefaultLimits()
		limits.Entries = 10
		if layout, err := oci.OpenArchive(context.Background(), spooled(t, data), t.TempDir(), limits); err == nil {
			layout.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func many(t *testing.T) []byte {
	var list []acitest.Entry
	for i := range 11 {
		list = append(list, acitest.File(strings.Repeat("x", i+1), ""))
	}
	return acitest.Tar(t, list...)
}

// spooled is an open file with data in it.
func spooled(t testing.TB, data []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestSignatures(t *testing.T) {
	const (
		payload = "application/vnd.dev.cosign.simplesigning.v1+json"
		bundle  = "application/vnd.dev.sigstore.bundle.v0.3+json"
	)
	l := ocitest.New(t)
	d := l.Image(ocitest.Config(v1.ImageConfig{}), layerOf(t, "a", ""))
	index := l.IndexOf(d)
	l.Tag(index, "v1")
	signed := func(text, signature string) v1.Descriptor {
		layer := l.Blob(payload, []byte(text))
		layer.Annotations = map[string]string{"dev.cosignproject.cosign/signature": signature}
		return layer
	}
	manifest := func(subject *v1.Descriptor, annotations map[string]string, layers ...v1.Descriptor) v1.Descriptor {
		return l.JSON(v1.MediaTypeImageManifest, v1.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, ArtifactType: bundle,
			Config: l.Blob(v1.MediaTypeEmptyJSON, []byte("{}")), Layers: layers, Subject: subject, Annotations: annotations,
		})
	}
	// By cosign's tag, for the manifest: two good ones, one that is not base64, one of another kind.
	l.Tag(manifest(nil, nil, signed("one", "AQ=="), signed("two", "Ag=="), signed("bad", "?"), l.Blob("text/plain", []byte("x"))),
		digestOf(t, d).String()+".sig")
	// By subject, for the index.
	l.Add(manifest(&index, nil, l.Blob(bundle, []byte(`{"a":1}`))))
	// By the referrers tag: a signature, and an attestation of something else.
	const predicate = "dev.sigstore.bundle.predicateType"
	other := manifest(&d, map[string]string{predicate: "https://slsa.dev/provenance/v1"}, l.Blob(bundle, []byte(`{"b":1}`)))
	l.Tag(l.IndexOf(manifest(&d, map[string]string{predicate: "https://sigstore.dev/cosign/sign/v1"}, l.Blob(bundle, []byte(`{"c":1}`))), other),
		digestOf(t, d).String())
	// For another image.
	l.Tag(manifest(nil, nil, signed("three", "Aw==")), "sha256-"+strings.Repeat("0", 64)+".sig")
	a, err := resolve(t, l.Dir, "v1", image.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.Signatures(context.Background())
	want := image.Signatures{
		Simple:  []image.SimpleSigning{{Payload: []byte("one"), Signature: []byte{1}}, {Payload: []byte("two"), Signature: []byte{2}}},
		Bundles: [][]byte{[]byte(`{"c":1}`), []byte(`{"a":1}`)},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}
