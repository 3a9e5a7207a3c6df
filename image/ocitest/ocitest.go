// Package ocitest makes OCI image layouts for tests, well formed and not. It is
// imported by tests alone.
package ocitest

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layout is a layout folder in the making.
type Layout struct {
	Dir   string
	Index v1.Index

	t testing.TB
}

// New makes an empty layout.
func New(t testing.TB) *Layout {
	t.Helper()
	l := &Layout{Dir: t.TempDir(), t: t, Index: v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}}}
	l.WriteFile(v1.ImageLayoutFile, []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return l
}

// WriteFile writes any file of the layout.
func (l *Layout) WriteFile(name string, data []byte) {
	l.t.Helper()
	path := filepath.Join(l.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// Path is where the blob with that digest lies.
func (l *Layout) Path(d v1.Descriptor) string {
	return filepath.Join(l.Dir, v1.ImageBlobsDir, d.Digest.Algorithm().String(), d.Digest.Encoded())
}

// Blob adds a blob.
func (l *Layout) Blob(mediaType string, data []byte) v1.Descriptor {
	l.t.Helper()
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	l.WriteFile(filepath.Join(v1.ImageBlobsDir, "sha256", d.Digest.Encoded()), data)
	return d
}

// JSON adds a blob that holds v.
func (l *Layout) JSON(mediaType string, v any) v1.Descriptor {
	l.t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.Blob(mediaType, data)
}

// Layer is one as distributed, and what it unpacks to.
type Layer struct {
	MediaType  string // empty: an uncompressed OCI layer
	Compressed []byte // nil: Tar itself
	Tar        []byte
}

// Config is a config for this platform. Diff IDs are left to Image.
func Config(c v1.ImageConfig) v1.Image {
	return v1.Image{Platform: v1.Platform{OS: "linux", Architecture: "amd64"}, Config: c, RootFS: v1.RootFS{Type: "layers"}}
}

// Manifest adds config and layers and returns the manifest, which is not added yet.
func (l *Layout) Manifest(config v1.Image, layers ...Layer) v1.Manifest {
	l.t.Helper()
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Layers: []v1.Descriptor{}}
	for _, layer := range layers {
		if layer.MediaType == "" {
			layer.MediaType = v1.MediaTypeImageLayer
		}
		if layer.Compressed == nil {
			layer.Compressed = layer.Tar
		}
		m.Layers = append(m.Layers, l.Blob(layer.MediaType, layer.Compressed))
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(layer.Tar))
	}
	m.Config = l.JSON(v1.MediaTypeImageConfig, config)
	return m
}

// Image adds a whole image and returns its manifest's descriptor.
func (l *Layout) Image(config v1.Image, layers ...Layer) v1.Descriptor {
	l.t.Helper()
	return l.JSON(v1.MediaTypeImageManifest, l.Manifest(config, layers...))
}

// IndexOf adds an index.
func (l *Layout) IndexOf(list ...v1.Descriptor) v1.Descriptor {
	l.t.Helper()
	return l.JSON(v1.MediaTypeImageIndex, v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: list,
	})
}

// Add puts an entry into the layout's index and writes it. Annotations come as
// key, value.
func (l *Layout) Add(d v1.Descriptor, annotations ...string) {
	l.t.Helper()
	for i := 0; i < len(annotations); i += 2 {
		if d.Annotations == nil {
			d.Annotations = make(map[string]string)
		}
		d.Annotations[annotations[i]] = annotations[i+1]
	}
	l.Index.Manifests = append(l.Index.Manifests, d)
	data, err := json.Marshal(l.Index)
	if err != nil {
		l.t.Fatal(err)
	}
	l.WriteFile(v1.ImageIndexFile, data)
}

// Tag is Add with a name.
func (l *Layout) Tag(d v1.Descriptor, name string) {
	l.t.Helper()
	l.Add(d, v1.AnnotationRefName, name)
}

// Tar packs the layout.
func (l *Layout) Tar() []byte {
	l.t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.AddFS(os.DirFS(l.Dir)); err != nil {
		l.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		l.t.Fatal(err)
	}
	return buf.Bytes()
}

// Replace writes other content over a blob.
func (l *Layout) Replace(d v1.Descriptor, change func([]byte) []byte) {
	l.t.Helper()
	f, err := os.Open(l.Path(d))
	if err != nil {
		l.t.Fatal(err)
	}
	data, err := io.ReadAll(f)
	f.Close()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(l.Path(d), change(data), 0o644); err != nil {
		l.t.Fatal(err)
	}
}
