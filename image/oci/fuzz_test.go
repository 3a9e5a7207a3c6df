package oci

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clearrun/clearrun/image"
)

// memory is a layout's files in memory.
type memory map[string][]byte

func (m memory) open(name string) (io.ReadCloser, int64, error) {
	data, ok := m[name]
	if !ok {
		return nil, 0, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(data)), int64(len(data)), nil
}

func (m memory) Close() error { return nil }

// blob adds a blob and returns what a descriptor says of it.
func (m memory) blob(data []byte) []byte {
	d := digest.FromBytes(data)
	m["blobs/sha256/"+d.Encoded()] = data
	return fmt.Appendf(nil, `"digest":"%s","size":%d`, d, len(data))
}

// FuzzLayout puts foreign bytes in the place of each document on the way to an image.
// CONFIG and MANIFEST in them stand for digest and size of the other documents.
func FuzzLayout(f *testing.F) {
	f.Add([]byte(`{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",MANIFEST,"annotations":{"org.opencontainers.image.ref.name":"localhost:5000/a:1"}}]}`),
		[]byte(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json",CONFIG},"layers":[],"subject":{MANIFEST}}`),
		[]byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers"},"config":{"User":"a:b","ExposedPorts":{"1-2/tcp":{}},"Volumes":{"/a":{}}}}`))
	f.Fuzz(func(t *testing.T, index, manifest, config []byte) {
		m := memory{layoutFile: []byte(`{"imageLayoutVersion":"1.0.0"}`)}
		manifest = bytes.ReplaceAll(manifest, []byte("CONFIG"), m.blob(config))
		m[indexFile] = bytes.ReplaceAll(index, []byte("MANIFEST"), m.blob(manifest))
		l, err := newLayout(m, image.Limits{})
		if err != nil {
			return
		}
		ctx := context.Background()
		d, _, err := l.Find("")
		if err != nil {
			d = v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromBytes(manifest), Size: int64(len(manifest))}
		}
		a, err := Resolve(ctx, l, d, "localhost/a", image.Limits{})
		if err != nil {
			return
		}
		if _, err := a.Signatures(ctx); err != nil {
			t.Log(err)
		}
		if meta, err := a.Meta(); err == nil && meta.Digest != a.Digest() {
			t.Error("the digest is another one")
		}
	})
}
