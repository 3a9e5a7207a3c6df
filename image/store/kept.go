package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/clearrun/clearrun/image"
)

// keptDir has a folder for each reference whose image is kept as distributed, because its
// signature can be checked in no other way. The symlink sourceLink in it says by its
// target which source that is.
const (
	keptDir    = "kept"
	sourceLink = "source"
)

// downloadsDir has layers on their way from registries. They are swept away by whoever
// puts them there, or by Prune.
const downloadsDir = "downloads"

// DownloadsDir is the folder for what is not complete yet.
func (s *Store) DownloadsDir() string { return s.path(downloadsDir) }

// KeptDir is the folder for the distributed files of a reference. It need not be there.
func (s *Store) KeptDir(ref string) string { return s.path(keptName(ref)) }

func keptName(ref string) string {
	sum := sha256.Sum256([]byte(ref))
	return filepath.Join(keptDir, hex.EncodeToString(sum[:]))
}

// Keep makes KeptDir, and has its files stay until the source's image goes. The files
// are not believed: whoever reads them checks them.
func (s *Store) Keep(ref string, source image.Digest) error {
	name := keptName(ref)
	if err := s.root.MkdirAll(name, dirMode); err != nil {
		return s.explain(err)
	}
	fresh := filepath.Join(name, fmt.Sprintf("%s.%d", sourceLink, os.Getpid()))
	s.root.Remove(fresh) // of a process that died here
	if err := s.root.Symlink(source.String(), fresh); err != nil {
		return s.explain(err)
	}
	return s.explain(s.root.Rename(fresh, filepath.Join(name, sourceLink)))
}

// keptSizes adds up the files that are kept for each source, in bytes. Those on their way
// in count once the image is there.
func (s *Store) keptSizes() map[string]uint64 {
	sizes := make(map[string]uint64)
	for _, name := range s.names(keptDir) {
		source, err := s.root.Readlink(filepath.Join(name, sourceLink))
		if err != nil {
			continue
		}
		size, err := s.sizeOf(name)
		if err == nil { // else it is gone meanwhile
			sizes[source] += size
		}
	}
	return sizes
}

// dropKept forgets the files of sources that the store does not know any more.
func (s *Store) dropKept() error {
	var errs []error
	for _, name := range s.names(keptDir) {
		source, err := s.root.Readlink(filepath.Join(name, sourceLink))
		if err == nil {
			_, err = s.root.Lstat(filepath.Join(sourcesDir, filepath.Base(source)))
		}
		if errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, s.root.RemoveAll(name))
		}
	}
	return errors.Join(errs...)
}

// dropDownloads deletes what broken downloads have left. One that runs has its file open
// and does without the name.
func (s *Store) dropDownloads() error {
	var errs []error
	for _, name := range s.names(downloadsDir) {
		if err := s.root.Remove(name); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
