package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/rootfs"
)

// The layout below the store's folder.
const (
	version    = "v1"
	imagesDir  = "images"  // <digest>/{meta.json,root.img}
	sourcesDir = "sources" // <digest of the distributed bytes>
	tmpDir     = "tmp"     // one folder per running Put, locked by it
	locksDir   = "locks"   // one file per source being rendered

	metaFile = "meta.json"
	rootFile = "root.img"
)

// ErrNotFound says that the store does not hold what was asked for.
var ErrNotFound = errors.New("not in the store")

// ErrInUse says that a run has the image open.
var ErrInUse = errors.New("is in use by a run")

// Store is a folder of rendered images. Its methods may be used concurrently, by any
// number of processes.
type Store struct {
	dir  string   // absolute, with the version
	root *os.Root // of dir; nothing outside is ever touched
	key  []byte
	// quota bounds the bytes of all images together; 0: it does not.
	quota uint64
}

// Exists reports whether there is such a store already, for those who would not make one.
func (o Options) Exists() bool {
	o, err := o.withDefaults()
	if err != nil {
		return false
	}
	info, err := os.Stat(filepath.Join(o.Dir, version))
	return err == nil && info.IsDir()
}

// Open opens the store, makes it if need be, and clears away what killed processes
// have left.
func Open(o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(o.Dir, version)
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{dir: dir, root: root}
	if s.quota, err = o.quota(); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.Close())
	}
	if err := s.prepare(o.KeyFile); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.Close())
	}
	return s, nil
}

func (s *Store) prepare(keyFile string) error {
	for _, name := range []string{".", imagesDir, sourcesDir, tmpDir, locksDir} {
		if err := s.root.Mkdir(name, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		info, err := s.root.Lstat(name)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%s is not a folder", s.path(name))
		}
		if err := checkOwner(s.path(name), info); err != nil {
			return err
		}
	}
	var err error
	if s.key, err = loadKey(keyFile); err != nil {
		return err
	}
	return s.sweep()
}

// Dir returns the store's folder.
func (s *Store) Dir() string { return s.dir }

// Close releases the folder. Entries stay open.
func (s *Store) Close() error { return s.root.Close() }

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// Entry is a rendered image whose record and hash tree were found intact.
type Entry struct {
	Digest image.Digest // of the image
	Info   rootfs.Info
	Meta   image.Meta
	Path   string // of the root image, for messages
	// FSVerity is the digest on record of File that the kernel has confirmed: by fs-verity it
	// lets nobody read anything else there. Zero: it checks nothing.
	FSVerity rootfs.Hash

	file      *os.File
	closeOnce sync.Once
}

// File returns the root image, open for reading only: the very file whose tree was
// checked, whatever Path names by now. It stays the Entry's. As long as any copy of the
// descriptor is open, in whatever process, nothing takes the image out of the store.
func (e *Entry) File() *os.File { return e.file }

// Close closes the root image. Close is idempotent.
func (e *Entry) Close() error {
	var err error
	e.closeOnce.Do(func() { err = e.file.Close() })
	return err
}

// Get returns the image with the given digest, or ErrNotFound. An entry that is not
// as it was written is an error that says how to get rid of it.
func (s *Store) Get(digest image.Digest) (*Entry, error) {
	entry, err := s.get(digest)
	if err == nil {
		s.touch(digest)
	}
	return entry, err
}

// get is Get, but does not count as a use of the image.
func (s *Store) get(digest image.Digest) (*Entry, error) {
	if digest.IsZero() {
		return nil, errors.New("store: no digest")
	}
	dir := filepath.Join(imagesDir, digest.String())
	info, err := s.root.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := checkOwner(s.path(dir), info); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if !info.IsDir() {
		return nil, s.refuse(dir, dir, errors.New("is not a folder"))
	}
	entry, name, err := s.open(dir, digest)
	if errors.Is(err, fs.ErrNotExist) {
		if _, gone := s.root.Lstat(dir); errors.Is(gone, fs.ErrNotExist) {
			return nil, ErrNotFound // taken out meanwhile
		}
	}
	if err != nil {
		return nil, s.refuse(filepath.Join(dir, name), dir, err)
	}
	return entry, nil
}

// open reads and checks an entry. On error, name is the file at fault.
func (s *Store) open(dir string, digest image.Digest) (e *Entry, name string, err error) {
	var rec imageRecord
	if err := s.readRecord(filepath.Join(dir, metaFile), purposeImage, &rec); err != nil {
		return nil, metaFile, err
	}
	if rec.Image.Digest != digest {
		return nil, metaFile, fmt.Errorf("is about another image, %s", rec.Image.Digest)
	}
	if err := errors.Join(rec.Image.Validate(), rec.Root.Validate()); err != nil {
		return nil, metaFile, err
	}
	f, info, err := s.openFile(filepath.Join(dir, rootFile))
	if err != nil {
		return nil, rootFile, err
	}
	if err = s.hold(filepath.Join(dir, rootFile), f); err != nil {
		return nil, rootFile, errors.Join(err, f.Close())
	}
	var verity rootfs.Hash
	if info.Size() != int64(rec.Root.Size) {
		err = fmt.Errorf("was changed: %d bytes, %d were written", info.Size(), rec.Root.Size)
	} else {
		verity, err = verify(f, rec)
	}
	if err != nil {
		return nil, rootFile, errors.Join(err, f.Close())
	}
	return &Entry{
		Digest: digest,
		Info:   rec.Root,
		Meta:   rec.Image,
		Path:   s.path(filepath.Join(dir, rootFile)),

		FSVerity: verity,
		file:     f,
	}, "", nil
}

// verify asks the kernel for the file's fs-verity digest, if one is on record. A copy of the
// file need not have one: then, as for all other files, the hash tree is checked.
func verify(f *os.File, rec imageRecord) (verity rootfs.Hash, err error) {
	if rec.FSVerity == nil {
		return verity, rootfs.VerifyTree(f, rec.Root)
	}
	verity, err = rootfs.MeasureFSVerity(f)
	switch {
	case errors.Is(err, rootfs.ErrNoFSVerity):
		return verity, rootfs.VerifyTree(f, rec.Root)
	case err == nil && verity != *rec.FSVerity:
		err = fmt.Errorf("was changed: its fs-verity digest is %s, not %s", verity, rec.FSVerity)
	}
	return verity, err
}

// Lookup returns the image that was rendered from the distributed bytes with the
// digest source, or ErrNotFound.
func (s *Store) Lookup(source image.Digest) (*Entry, error) {
	if source.IsZero() {
		return nil, errors.New("store: no digest")
	}
	var rec sourceRecord
	name := filepath.Join(sourcesDir, source.String())
	err := s.readRecord(name, purposeSource, &rec)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err == nil && rec.Source != source {
		err = fmt.Errorf("is about other bytes, %s", rec.Source)
	}
	if err == nil && rec.Image.IsZero() {
		err = errors.New("names no image")
	}
	if err != nil {
		return nil, s.refuse(name, name, err)
	}
	return s.Get(rec.Image)
}

// refuse words the error for something in the store that cannot be believed.
func (s *Store) refuse(file, remove string, err error) error {
	return fmt.Errorf("store: %s: %w: nothing runs from it; find out who wrote it, then delete %s and run again",
		s.path(file), err, s.path(remove))
}

func (s *Store) readRecord(name, purpose string, v any) error {
	f, info, err := s.openFile(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if info.Size() > recordMax {
		return fmt.Errorf("is too large: %d bytes", info.Size())
	}
	data, err := io.ReadAll(io.LimitReader(f, recordMax))
	if err != nil {
		return err
	}
	return unseal(s.key, purpose, data, v)
}

// openFile opens a regular file of ours for reading.
func (s *Store) openFile(name string) (*os.File, fs.FileInfo, error) {
	// A FIFO would block the open, a symlink lead astray.
	if info, err := s.root.Lstat(name); err != nil || !info.Mode().IsRegular() {
		return nil, nil, errors.Join(err, notRegular(info))
	}
	f, err := s.root.Open(name)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = errors.Join(notRegular(info), checkOwner(s.path(name), info))
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

func notRegular(info fs.FileInfo) error {
	if info != nil && !info.Mode().IsRegular() {
		return errors.New("is not a regular file")
	}
	return nil
}
