package aci

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/compression"
	"github.com/clearrun/clearrun/image/spool"
)

// bufferSize is that of the buffers behind the decompressor.
const bufferSize = 256 << 10

// Read reads an ACI to its last byte and returns its image, and the sha512 of the
// bytes that it read. A caller who verified a signature compares that digest with
// the one verified: the image is of these bytes, whatever the file holds now.
//
// The uncompressed tar goes to an unlinked file in tmpDir (empty: the system's own),
// which goes away with the Image. Read fails if ctx ends.
func Read(ctx context.Context, r io.Reader, tmpDir string, limits image.Limits) (*image.Image, image.Digest, error) {
	limits, err := limits.OrDefault()
	if err != nil {
		return nil, image.Digest{}, err
	}
	file, err := spool.New(tmpDir)
	if err != nil {
		return nil, image.Digest{}, err
	}
	meta, source, size, err := unpack(ctx, r, file, limits)
	if err != nil {
		return nil, image.Digest{}, errors.Join(err, file.Close())
	}
	layer, err := image.NewLayer(meta.Digest, rootName, file, size)
	if err != nil {
		return nil, image.Digest{}, errors.Join(err, file.Close())
	}
	img, err := image.New(meta, []image.Layer{layer}, file)
	return img, source, err
}

// unpack writes the uncompressed tar to file and checks it on the way.
func unpack(ctx context.Context, r io.Reader, file *os.File, limits image.Limits) (image.Meta, image.Digest, int64, error) {
	var none image.Digest
	sourceHash, tarHash := sha512.New(), sha512.New()
	body, err := compression.NewReader(io.TeeReader(image.ContextReader{Ctx: ctx, R: r}, sourceHash), limits)
	if err != nil {
		return image.Meta{}, none, 0, fmt.Errorf("not an ACI: %w", err)
	}
	defer body.Close()
	out := bufio.NewWriterSize(file, bufferSize)
	meta, err := scan(bufio.NewReaderSize(io.TeeReader(body, io.MultiWriter(tarHash, out)), bufferSize), limits)
	if err != nil {
		return image.Meta{}, none, 0, err
	}
	if err := errors.Join(out.Flush(), body.Finish()); err != nil {
		return image.Meta{}, none, 0, err
	}
	meta.Digest = digestOf(tarHash)
	return meta, digestOf(sourceHash), body.Size(), nil
}

// scan reads the tar to its last byte, checks every entry and parses the manifest.
func scan(r io.Reader, limits image.Limits) (image.Meta, error) {
	var meta image.Meta
	var haveManifest bool
	paths := make(tree)
	tr := tar.NewReader(r)
	for entries := 0; ; entries++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return meta, image.ArchiveError(err)
		}
		if entries >= limits.Entries {
			return meta, fmt.Errorf("more than %d entries (--max-image-files raises the limit)", limits.Entries)
		}
		p, err := paths.add(h)
		if err != nil {
			return meta, err
		}
		if p == manifestName {
			if meta, err = readManifest(tr, h.Size, limits.Manifest); err != nil {
				return meta, err
			}
			haveManifest = true
		}
	}
	if !haveManifest {
		return meta, errors.New("not an ACI: no manifest")
	}
	if paths[rootName] == kindAbsent {
		return meta, errors.New("not an ACI: no rootfs")
	}
	return meta, image.DrainZeros(r)
}

func readManifest(r io.Reader, size, limit int64) (image.Meta, error) {
	if size > limit {
		return image.Meta{}, fmt.Errorf("manifest: %d bytes, the limit is %d", size, limit)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return image.Meta{}, fmt.Errorf("manifest: %w", image.ArchiveError(err))
	}
	return parseManifest(data)
}

func digestOf(h hash.Hash) image.Digest {
	return image.SumSHA512([sha512.Size]byte(h.Sum(nil)))
}
