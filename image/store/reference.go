package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/clearrun/clearrun/image"
)

// referencesDir has one file per reference that was pulled from a registry, named by
// the reference's sha256.
const referencesDir = "references"

// purposeReference is what the MAC of a reference is for.
const purposeReference = "clearrun store reference v1\n"

// Reference is what a reference to a registry meant when it was last pulled, with all
// that is needed to judge it again without the registry.
type Reference struct {
	Ref  string     `json:"ref"`  // in full: docker://HOST/REPO:TAG
	Name image.Name `json:"name"` // without the tag
	// Subjects are the digests of the manifest, which names the image in the store, and
	// of the indexes that it was chosen from. Documents are their very bytes.
	Subjects   []image.Digest   `json:"subjects"`
	Documents  [][]byte         `json:"documents"`
	Config     []byte           `json:"config"` // as distributed
	Signatures image.Signatures `json:"signatures"`
	Pulled     time.Time        `json:"pulled"`
}

// Digest names the image.
func (r Reference) Digest() image.Digest { return r.Subjects[0] }

// Validate reports what makes r unusable, such as a document that is not what its
// digest says.
func (r Reference) Validate() error {
	if r.Ref == "" || len(r.Subjects) == 0 || len(r.Subjects) != len(r.Documents) {
		return errors.New("reference: incomplete")
	}
	if _, err := image.ParseName(string(r.Name)); err != nil {
		return err
	}
	for i, d := range r.Subjects {
		if d.IsZero() {
			return errors.New("reference: incomplete")
		}
		sum := d.Algorithm().New()
		sum.Write(r.Documents[i])
		if hex.EncodeToString(sum.Sum(nil)) != d.Hex() {
			return fmt.Errorf("reference %s: the manifest is not what its digest says", r.Ref)
		}
	}
	return nil
}

func referenceName(ref string) string {
	sum := sha256.Sum256([]byte(ref))
	return filepath.Join(referencesDir, hex.EncodeToString(sum[:]))
}

// PutReference keeps r in place of what was known of r.Ref. It appears complete or not
// at all.
func (s *Store) PutReference(r Reference) error {
	if err := r.Validate(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	record, err := seal(s.key, purposeReference, r)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if len(record) > recordMax {
		return fmt.Errorf("store: reference %s: %d bytes, the limit is %d", r.Ref, len(record), recordMax)
	}
	tmp, err := s.newTmp()
	if err != nil {
		return s.explain(err)
	}
	defer tmp.remove()
	if err := s.root.Mkdir(referencesDir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return s.explain(err)
	}
	name := filepath.Join(tmp.name, "reference")
	if err := s.writeFile(name, record); err != nil {
		return s.explain(err)
	}
	if err := s.root.Rename(name, referenceName(r.Ref)); err != nil {
		return s.explain(err)
	}
	return s.explain(s.syncDir(referencesDir))
}

// Reference returns what is known of a reference, or ErrNotFound. That it is known does
// not mean that the store still has the image.
func (s *Store) Reference(ref string) (Reference, error) {
	name := referenceName(ref)
	r, err := s.readReference(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Reference{}, ErrNotFound
	}
	if err == nil && r.Ref != ref {
		err = fmt.Errorf("is about another reference, %s", r.Ref)
	}
	if err != nil {
		return Reference{}, s.refuse(name, name, err)
	}
	return r, nil
}

func (s *Store) readReference(name string) (Reference, error) {
	var r Reference
	if err := s.readRecord(name, purposeReference, &r); err != nil {
		return Reference{}, err
	}
	return r, r.Validate()
}

// References lists all that are known, by name.
func (s *Store) References() ([]Reference, error) {
	entries, err := fs.ReadDir(s.root.FS(), referencesDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	var list []Reference
	for _, e := range entries {
		name := filepath.Join(referencesDir, e.Name())
		r, err := s.readReference(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, s.refuse(name, name, err)
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b Reference) int {
		if a.Ref < b.Ref {
			return -1
		}
		return 1
	})
	return list, nil
}

// RemoveReference forgets a reference, or returns ErrNotFound. The image stays.
func (s *Store) RemoveReference(ref string) error {
	err := s.root.Remove(referenceName(ref))
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return s.syncDir(referencesDir)
}

// Has reports whether the store seems to have the image of the distributed bytes with the
// digest source. Lookup knows for sure.
func (s *Store) Has(source image.Digest) bool {
	var rec sourceRecord
	if err := s.readRecord(filepath.Join(sourcesDir, source.String()), purposeSource, &rec); err != nil {
		return false
	}
	_, err := s.root.Lstat(filepath.Join(imagesDir, rec.Image.String()))
	return err == nil
}
