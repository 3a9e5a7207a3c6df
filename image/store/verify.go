package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/rootfs"
)

// Problem is something in the store that is not as it was written.
type Problem struct {
	File string `json:"file"`
	Text string `json:"problem"`
}

// Verified is what a Verify has read, and what it found.
type Verified struct {
	Images   int       `json:"images"`
	Bytes    uint64    `json:"bytes"` // hashed, of root images
	Problems []Problem `json:"problems,omitempty"`
}

// problemsMax bounds what is told of one file.
const problemsMax = 20

// Verify reads and hashes all of the images for which want is true (nil: of all of them) and,
// if want is nil, every record of the store. progress, if set, is told each image before
// it is read. The error is that of ctx, or of listing the store; what is wrong with the
// store's content is in the result.
func (s *Store) Verify(ctx context.Context, want func(image.Digest) bool, progress func(image.Digest)) (Verified, error) {
	var v Verified
	bad := func(name string, err error) { v.Problems = append(v.Problems, Problem{s.path(name), err.Error()}) }
	entries, err := fs.ReadDir(s.root.FS(), imagesDir)
	if err != nil {
		return v, fmt.Errorf("store: %w", err)
	}
	for _, e := range entries {
		digest, err := image.ParseDigest(e.Name())
		if err != nil || digest.String() != e.Name() {
			bad(filepath.Join(imagesDir, e.Name()), errors.New("does not belong here"))
			continue
		}
		if want != nil && !want(digest) {
			continue
		}
		if progress != nil {
			progress(digest)
		}
		if err := s.verifyImage(ctx, digest, &v, bad); err != nil {
			return v, err
		}
	}
	if want == nil {
		s.eachSource(bad)
		s.eachReference(bad)
	}
	return v, nil
}

// verifyImage reads and hashes one image.
func (s *Store) verifyImage(ctx context.Context, digest image.Digest, v *Verified, bad func(string, error)) error {
	dir := filepath.Join(imagesDir, digest.String())
	for _, name := range s.names(dir) {
		if !slices.Contains([]string{metaFile, rootFile}, filepath.Base(name)) {
			bad(name, errors.New("does not belong here"))
		}
	}
	e, err := s.get(digest)
	if errors.Is(err, ErrNotFound) {
		return nil // taken out meanwhile
	}
	if err != nil {
		bad(dir, err)
		return nil
	}
	defer e.Close()
	v.Images++
	v.Bytes += e.Info.Size
	count := 0
	err = rootfs.Verify(ctx, e.File(), e.Info, func(err error) {
		if count++; count <= problemsMax {
			bad(filepath.Join(dir, rootFile), err)
		}
	})
	if more := count - problemsMax; more > 0 {
		bad(filepath.Join(dir, rootFile), fmt.Errorf("%d more blocks were changed", more))
	}
	return err
}
