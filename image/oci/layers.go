package oci

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/compression"
	"github.com/clearrun/clearrun/image/spool"
)

// bufferSize is that of the buffers behind the decompressor.
const bufferSize = 256 << 10

// Read reads all layers to their last byte and returns the image. Each layer as
// distributed is what the manifest says, and each uncompressed tar what the config
// says (diff_ids).
//
// The tars go to unlinked files in tmpDir (empty: the system's own), which go away
// with the Image. Read fails if ctx ends.
func (a *Artifact) Read(ctx context.Context, tmpDir string) (*image.Image, error) {
	meta, err := a.Meta()
	if err != nil {
		return nil, err
	}
	if len(a.layers) == 0 {
		return nil, errNoLayers
	}
	var files fileList
	var layers []image.Layer
	left := a.limits
	for i, l := range a.layers {
		made, err := l.read(ctx, tmpDir, &left, &files)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("layer %d of %d: %w", i+1, len(a.layers), err), files.Close())
		}
		layers = append(layers, made)
	}
	return image.New(meta, layers, files)
}

// fileList closes several files at once.
type fileList []*os.File

// Close closes all of them.
func (l fileList) Close() error {
	var errs []error
	for _, f := range l {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// read unpacks one layer into a scratch file, within what is left of the limits.
func (l layer) read(ctx context.Context, tmpDir string, left *image.Limits, files *fileList) (image.Layer, error) {
	r, closer, err := l.open(ctx)
	if err != nil {
		return image.Layer{}, err
	}
	defer closer.Close()
	file, err := spool.New(tmpDir)
	if err != nil {
		return image.Layer{}, err
	}
	*files = append(*files, file)
	size, err := l.unpack(r, file, left)
	if err != nil {
		return image.Layer{}, err
	}
	return image.NewLayer(l.diffID, "", file, size)
}

func (l layer) unpack(r io.Reader, file *os.File, left *image.Limits) (int64, error) {
	body, err := compression.NewReader(r, *left)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	sum := l.diffID.Algorithm().New()
	out := bufio.NewWriterSize(file, bufferSize)
	entries, err := scan(bufio.NewReaderSize(io.TeeReader(body, io.MultiWriter(sum, out)), bufferSize), left.Entries)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(out.Flush(), body.Finish()); err != nil {
		return 0, err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != l.diffID.Hex() {
		return 0, fmt.Errorf("unpacks to %s-%.12s, but the config says %s (diff_id)", l.diffID.Algorithm(), got, l.diffID.Short())
	}
	left.Bytes -= body.Size()
	left.Entries -= entries
	return body.Size(), nil
}

// scan reads a tar to its last byte and counts its entries. Behind its end there may
// be padding and nothing else: some readers of tar go on there.
func scan(r *bufio.Reader, most int) (entries int, err error) {
	tr := tar.NewReader(r)
	for {
		_, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return entries, image.DrainZeros(r)
		}
		if err != nil {
			return entries, image.ArchiveError(err)
		}
		if entries++; entries > most {
			return entries, fmt.Errorf("more than %d entries (--max-image-files raises the limit)", most)
		}
	}
}
