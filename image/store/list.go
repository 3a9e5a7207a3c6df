package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/rootfs"
)

// Item is what can be said of an image in the store without reading its root.
type Item struct {
	Digest     image.Digest   `json:"digest"`
	Name       image.Name     `json:"name,omitempty"`
	Size       uint64         `json:"size"` // of its files, and of what is kept as distributed, bytes
	Rendered   time.Time      `json:"rendered"`
	Used       time.Time      `json:"used"` // the last time
	InUse      bool           `json:"inUse"`
	References []string       `json:"references,omitempty"` // of registries that mean this image
	Sources    []image.Digest `json:"sources,omitempty"`    // of distributed bytes that held it
	// Problem says why the image cannot be used, as far as a look tells. If it is about the
	// record, what follows is empty.
	Problem string       `json:"problem,omitempty"`
	Meta    *image.Meta  `json:"image,omitempty"`
	Root    *rootfs.Info `json:"root,omitempty"`
}

// List describes all images, by name and then by digest. Damaged ones are among them.
func (s *Store) List() ([]Item, error) {
	entries, err := fs.ReadDir(s.root.FS(), imagesDir)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	index, kept := s.index(), s.keptSizes()
	var items []Item
	for _, e := range entries {
		digest, err := image.ParseDigest(e.Name())
		if err != nil || digest.String() != e.Name() {
			continue // not ours; Verify tells
		}
		item, err := s.item(digest)
		if item.Problem != "" {
			_, err = s.root.Lstat(filepath.Join(imagesDir, e.Name()))
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // taken out meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		item.References, item.Sources = index.references[digest], index.sources[digest]
		for _, source := range item.Sources {
			item.Size += kept[source.String()]
		}
		items = append(items, item)
	}
	slices.SortFunc(items, func(a, b Item) int {
		if c := strings.Compare(string(a.Name), string(b.Name)); c != 0 {
			return c
		}
		return strings.Compare(a.Digest.String(), b.Digest.String())
	})
	return items, nil
}

// item describes one image. Its error is fs.ErrNotExist if there is none.
func (s *Store) item(digest image.Digest) (Item, error) {
	dir := filepath.Join(imagesDir, digest.String())
	item := Item{Digest: digest}
	size, err := s.sizeOf(dir)
	if err != nil {
		return item, err
	}
	item.Size = size
	release, err := s.seize(dir)
	switch {
	case errors.Is(err, ErrInUse):
		item.InUse = true
	case err != nil:
		return item, err
	default:
		release()
	}
	if info, err := s.root.Lstat(filepath.Join(dir, rootFile)); err == nil {
		item.Rendered = info.ModTime().UTC()
	}
	if info, err := s.root.Lstat(filepath.Join(dir, metaFile)); err == nil {
		item.Used = info.ModTime().UTC()
	}
	var rec imageRecord
	err = s.readRecord(filepath.Join(dir, metaFile), purposeImage, &rec)
	if err == nil && rec.Image.Digest != digest {
		err = fmt.Errorf("is about another image, %s", rec.Image.Digest)
	}
	if err != nil {
		item.Problem = fmt.Sprintf("%s %v", s.path(filepath.Join(dir, metaFile)), err)
		return item, nil
	}
	item.Name, item.Meta, item.Root = rec.Image.Name, &rec.Image, &rec.Root
	if problem := s.rootProblem(dir, rec.Root); problem != nil {
		item.Problem = fmt.Sprintf("%s %v", s.path(filepath.Join(dir, rootFile)), problem)
	}
	return item, nil
}

// rootProblem tells what is wrong with a root image at first sight.
func (s *Store) rootProblem(dir string, want rootfs.Info) error {
	f, info, err := s.openFile(filepath.Join(dir, rootFile))
	if err != nil {
		return err
	}
	f.Close()
	if info.Size() != int64(want.Size) {
		return fmt.Errorf("was changed: %d bytes, %d were written", info.Size(), want.Size)
	}
	return nil
}

// sizeOf adds up the files in a folder, or is the size of what is there instead.
func (s *Store) sizeOf(dir string) (uint64, error) {
	info, err := s.root.Lstat(dir)
	if err != nil {
		return 0, err
	}
	if !info.IsDir() {
		return uint64(info.Size()), nil
	}
	var sum uint64
	err = fs.WalkDir(s.root.FS(), dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += uint64(info.Size())
		}
		return err
	})
	return sum, err
}

// pointers are who points at which image.
type pointers struct {
	references map[image.Digest][]string
	sources    map[image.Digest][]image.Digest
}

// index reads the records that can be believed; Verify tells of the others.
func (s *Store) index() pointers {
	p := pointers{make(map[image.Digest][]string), make(map[image.Digest][]image.Digest)}
	for _, r := range s.eachReference(nil) {
		p.references[r.Digest()] = append(p.references[r.Digest()], r.Ref)
	}
	for _, rec := range s.eachSource(nil) {
		p.sources[rec.Image] = append(p.sources[rec.Image], rec.Source)
	}
	for _, list := range p.references {
		slices.Sort(list)
	}
	return p
}

// names lists what is in one of the store's folders, with the folder.
func (s *Store) names(dir string) []string {
	entries, _ := fs.ReadDir(s.root.FS(), dir) // the folder is missing as long as it has nothing
	var names []string
	for _, e := range entries {
		names = append(names, filepath.Join(dir, e.Name()))
	}
	return names
}

// eachReference reads all references, and calls bad, if set, for each that cannot be
// believed.
func (s *Store) eachReference(bad func(name string, err error)) []Reference {
	var list []Reference
	for _, name := range s.names(referencesDir) {
		r, err := s.readReference(name)
		if err == nil && referenceName(r.Ref) != name {
			err = fmt.Errorf("is about another reference, %s", r.Ref)
		}
		if err == nil {
			list = append(list, r)
		} else if bad != nil && !errors.Is(err, fs.ErrNotExist) {
			bad(name, err)
		}
	}
	return list
}

// eachSource reads all records of sources, likewise.
func (s *Store) eachSource(bad func(name string, err error)) []sourceRecord {
	var list []sourceRecord
	for _, name := range s.names(sourcesDir) {
		var rec sourceRecord
		err := s.readRecord(name, purposeSource, &rec)
		if err == nil && rec.Source.String() != filepath.Base(name) {
			err = fmt.Errorf("is about other bytes, %s", rec.Source)
		}
		if err == nil {
			list = append(list, rec)
		} else if bad != nil && !errors.Is(err, fs.ErrNotExist) {
			bad(name, err)
		}
	}
	return list
}

// prefixMin is how many hex digits of a digest name an image.
const prefixMin = 6

// Find returns the images that word names: a reference to a registry in full, an image's
// name, or its digest, of which the first digits do, with or without the algorithm.
func (s *Store) Find(word string) ([]Item, error) {
	items, err := s.List()
	if err != nil {
		return nil, err
	}
	var found []Item
	for _, item := range items {
		if string(item.Name) == word || slices.Contains(item.References, word) || isPrefix(word, item.Digest) {
			found = append(found, item)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("image %q: %w", word, ErrNotFound)
	}
	return found, nil
}

// isPrefix tells whether word is the start of a digest, in the form of appc or of OCI.
func isPrefix(word string, digest image.Digest) bool {
	digits := word
	for _, separator := range []string{"-", ":"} {
		if rest, ok := strings.CutPrefix(word, string(digest.Algorithm())+separator); ok {
			digits = rest
		}
	}
	return len(digits) >= prefixMin && strings.HasPrefix(digest.Hex(), digits)
}
