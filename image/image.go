package image

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// Layer is one archive of an image's root filesystem: an uncompressed tar of
// known digest, read at random.
type Layer struct {
	// DiffID is the digest of the uncompressed tar, to its last byte.
	DiffID Digest
	// Root is the folder in the tar that becomes "/": "rootfs" in an ACI. Entries
	// outside of it belong to the format. Empty: the tar's own root.
	Root string

	tar  io.ReaderAt
	size int64
	// plain says that no name in the tar is a whiteout.
	plain bool
}

// NewLayer describes size bytes of uncompressed tar.
func NewLayer(diffID Digest, root string, tar io.ReaderAt, size int64) (Layer, error) {
	if diffID.IsZero() {
		return Layer{}, errors.New("layer: no digest")
	}
	if tar == nil || size < 0 {
		return Layer{}, errors.New("layer: no archive")
	}
	return Layer{DiffID: diffID, Root: root, tar: tar, size: size}, nil
}

// Open returns the uncompressed tar from its first byte. Any number of readers may
// be open at once; they end with the Image.
func (l Layer) Open() *io.SectionReader {
	return io.NewSectionReader(l.tar, 0, l.size)
}

// HasWhiteouts tells whether names in the tar that begin with ".wh." hide files of the
// layers below (OCI image-spec, layer.md). In an ACI, whose root is a folder of the
// tar, they are files like others.
func (l Layer) HasWhiteouts() bool { return l.Root == "" && !l.plain }

// Plain returns the layer without whiteouts: all names in it are of files.
func (l Layer) Plain() Layer {
	l.plain = true
	return l
}

// Image is an image whose bytes were read to the end and found well formed. It does
// not change; what its methods return are copies.
type Image struct {
	meta   Meta
	layers []Layer

	closeOnce sync.Once
	backing   io.Closer
}

// New makes an Image. backing, which may be nil, is what the layers read from; the
// Image owns it from here on, also if New fails.
func New(meta Meta, layers []Layer, backing io.Closer) (*Image, error) {
	img := &Image{meta: meta.clone(), layers: append([]Layer(nil), layers...), backing: backing}
	if err := img.check(); err != nil {
		return nil, errors.Join(err, img.Close())
	}
	return img, nil
}

func (i *Image) check() error {
	if err := i.meta.Validate(); err != nil {
		return err
	}
	if len(i.layers) == 0 {
		return fmt.Errorf("image %s: no layers", i.meta.Name)
	}
	return nil
}

// Digest names the image: the sha512 of the uncompressed tar for an ACI.
func (i *Image) Digest() Digest { return i.meta.Digest }

// Name returns the image's name.
func (i *Image) Name() Name { return i.meta.Name }

// Meta returns all that can be said of the image without its files.
func (i *Image) Meta() Meta { return i.meta.clone() }

// Layers returns the layers, lowest first.
func (i *Image) Layers() []Layer { return append([]Layer(nil), i.layers...) }

// Close gives up the bytes that the layers read from. Close is idempotent.
func (i *Image) Close() error {
	var err error
	i.closeOnce.Do(func() {
		if i.backing != nil {
			err = i.backing.Close()
		}
	})
	return err
}
