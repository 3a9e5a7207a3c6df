package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/clearrun/clearrun/image"
)

// Remove takes an image out of the store, with all that points at it. One that a run has
// open stays, and the error is ErrInUse; if there is none, it is ErrNotFound.
func (s *Store) Remove(digest image.Digest) error {
	if err := s.take(digest); err != nil {
		return fmt.Errorf("store: image %s: %w", digest.Short(), err)
	}
	return s.dropPointers(func(d image.Digest) bool { return d == digest })
}

// take takes the image out. Its name goes first, in one step: who is killed here leaves
// something in tmp, which the next Open clears away.
func (s *Store) take(digest image.Digest) error {
	dir := filepath.Join(imagesDir, digest.String())
	if _, err := s.root.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	release, err := s.seize(dir)
	if err != nil {
		return err
	}
	defer release()
	// No folder is made for it: there must be a way out of a full disk. The name is new,
	// since another process may still be at work on what had the same digest.
	away := filepath.Join(tmpDir, "removed-"+rand.Text())
	err = s.root.Rename(dir, away)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	if err := s.syncDir(imagesDir); err != nil {
		return err
	}
	err = s.root.RemoveAll(away)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another process swept it
	}
	return err
}

// dropPointers forgets the sources and references of images for which gone is true.
func (s *Store) dropPointers(gone func(image.Digest) bool) error {
	var errs []error
	for _, rec := range s.eachSource(nil) {
		if gone(rec.Image) {
			errs = append(errs, s.root.Remove(filepath.Join(sourcesDir, rec.Source.String())))
		}
	}
	for _, r := range s.eachReference(nil) {
		if gone(r.Digest()) {
			errs = append(errs, s.root.Remove(referenceName(r.Ref)))
		}
	}
	errs = slices.DeleteFunc(errs, func(err error) bool { return errors.Is(err, fs.ErrNotExist) })
	if err := errors.Join(append(errs, s.dropKept())...); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// PruneOptions say what Prune takes out.
type PruneOptions struct {
	All       bool          // also images that a reference to a registry means
	OlderThan time.Duration // only images that were not used for so long
	DryRun    bool          // take out nothing, only say what would be
}

// Prune takes out the images that nobody uses, records that point at none, and what broken downloads
// have left. Images of
// references stay, unless all are asked for, and damaged ones do: they are evidence. It
// returns what was taken out.
func (s *Store) Prune(ctx context.Context, o PruneOptions) ([]Item, error) {
	items, err := s.List()
	if err != nil {
		return nil, err
	}
	limit := time.Now().Add(-o.OlderThan)
	var removed []Item
	for _, item := range items {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		if item.InUse || item.Problem != "" || len(item.References) > 0 && !o.All || item.Used.After(limit) {
			continue
		}
		if !o.DryRun {
			err := s.Remove(item.Digest)
			if errors.Is(err, ErrInUse) || errors.Is(err, ErrNotFound) {
				continue // somebody was faster
			}
			if err != nil {
				return removed, err
			}
		}
		removed = append(removed, item)
	}
	if o.DryRun {
		return removed, nil
	}
	gone := func(d image.Digest) bool {
		_, err := s.root.Lstat(filepath.Join(imagesDir, d.String()))
		return errors.Is(err, fs.ErrNotExist)
	}
	return removed, errors.Join(s.dropPointers(gone), s.dropDownloads())
}

// QuotaError says that an image does not fit the store's quota.
type QuotaError struct {
	Quota, Size uint64 // of the store and of the new image, bytes
	Busy        uint64 // of images that are in use
}

func (e *QuotaError) Error() string {
	return fmt.Sprintf("the store's quota is %s; the image takes %s, and images of %s are in use: "+
		"raise the quota (--store-quota, or quota in store.yaml), or end what runs",
		image.AboutSize(e.Quota), image.AboutSize(e.Size), image.AboutSize(e.Busy))
}

// makeRoom takes out images until one of size bytes, with the given digest, fits the
// quota: first those that no reference means, and of these the ones not used for
// longest. If that cannot be enough, it takes out none.
func (s *Store) makeRoom(ctx context.Context, digest image.Digest, size uint64) error {
	items, err := s.List()
	if err != nil {
		return err
	}
	total, busy := size, uint64(0)
	var idle []Item
	for _, item := range items {
		switch {
		case item.Digest == digest:
			return nil // is there already, and stays
		case item.InUse || item.Problem != "":
			busy += item.Size
		default:
			idle = append(idle, item)
		}
		total += item.Size
	}
	if size+busy > s.quota {
		return &QuotaError{s.quota, size, busy}
	}
	slices.SortFunc(idle, func(a, b Item) int {
		if c := cmp.Compare(min(len(a.References), 1), min(len(b.References), 1)); c != 0 {
			return c
		}
		return a.Used.Compare(b.Used)
	})
	for _, item := range idle {
		if total <= s.quota {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		err := s.Remove(item.Digest)
		if errors.Is(err, ErrInUse) {
			busy += item.Size // since a moment
			continue
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		total -= item.Size
	}
	if total > s.quota {
		return &QuotaError{s.quota, size, busy}
	}
	return nil
}
