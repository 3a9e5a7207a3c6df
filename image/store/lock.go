package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image"
)

// fileLock is an exclusive flock on a file that exists only while somebody wants it.
// The kernel gives it back when the process dies, however it dies.
type fileLock struct {
	store *Store
	name  string
	file  *os.File
}

// lockSource waits until no other run renders the same bytes.
func (s *Store) lockSource(ctx context.Context, source image.Digest) (*fileLock, error) {
	name := filepath.Join(locksDir, source.String())
	for {
		f, err := s.root.OpenFile(name, os.O_CREATE|os.O_RDWR, fileMode)
		if err != nil {
			return nil, err
		}
		if err := flock(ctx, f, unix.LOCK_EX); err != nil {
			return nil, errors.Join(fmt.Errorf("wait for another run that renders this image: %w", err), f.Close())
		}
		// The holder before us has deleted the file; then the lock is on nothing.
		if s.stillNamed(name, f) {
			return &fileLock{s, name, f}, nil
		}
		f.Close()
	}
}

func (s *Store) stillNamed(name string, f *os.File) bool {
	there, err := s.root.Lstat(name)
	if err != nil {
		return false
	}
	open, err := f.Stat()
	return err == nil && os.SameFile(there, open)
}

// release deletes the file while the lock is held, then gives the lock back.
func (l *fileLock) release() {
	l.store.root.Remove(l.name)
	l.file.Close()
}

// Waiting for a lock looks again after these pauses: flock cannot be interrupted by
// a context.
const (
	lockPauseMin = time.Millisecond
	lockPauseMax = 100 * time.Millisecond
)

// flock takes a lock, unix.LOCK_EX or unix.LOCK_SH, or returns the context's error.
func flock(ctx context.Context, f *os.File, how int) error {
	for pause := lockPauseMin; ; pause = min(2*pause, lockPauseMax) {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// tmpEntry is the folder of one running Put. It is locked as long as its process
// lives; an unlocked one was left by a process that died.
type tmpEntry struct {
	store *Store
	name  string   // below the store's root
	dir   *os.File // holds the lock
}

// entry is the folder that will be renamed into place.
func (t *tmpEntry) entry() string { return filepath.Join(t.name, "entry") }

func (t *tmpEntry) remove() {
	t.store.root.RemoveAll(t.name)
	t.dir.Close()
}

// newTmp makes a locked folder. The lock on tmp itself keeps sweep away between the
// making and the locking.
func (s *Store) newTmp() (*tmpEntry, error) {
	guard, err := s.guardTmp()
	if err != nil {
		return nil, err
	}
	defer guard.Close()
	path, err := os.MkdirTemp(s.path(tmpDir), "put-*") // mode 0700
	if err != nil {
		return nil, err
	}
	name := filepath.Join(tmpDir, filepath.Base(path))
	dir, err := s.root.Open(name)
	if err == nil {
		if err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			return &tmpEntry{s, name, dir}, nil
		}
		err = errors.Join(err, dir.Close())
	}
	return nil, errors.Join(err, s.root.RemoveAll(name))
}

// guardTmp serializes making and sweeping folders in tmp. Both take moments.
func (s *Store) guardTmp() (*os.File, error) { return s.guard(tmpDir) }

// guard locks one of the store's folders against other processes that guard it.
func (s *Store) guard(dir string) (*os.File, error) {
	guard, err := s.root.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := flock(context.Background(), guard, unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, guard.Close())
	}
	return guard, nil
}

// sweep removes the folders in tmp that no living process holds.
func (s *Store) sweep() error {
	guard, err := s.guardTmp()
	if err != nil {
		return err
	}
	defer guard.Close()
	entries, err := fs.ReadDir(s.root.FS(), tmpDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := s.sweepOne(filepath.Join(tmpDir, e.Name())); err != nil {
			return fmt.Errorf("clear away %s: %w", s.path(filepath.Join(tmpDir, e.Name())), err)
		}
	}
	return nil
}

func (s *Store) sweepOne(name string) error {
	if info, err := s.root.Lstat(name); err == nil && info.IsDir() {
		dir, err := s.root.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // whoever took out an image was faster
		}
		if err != nil {
			return err
		}
		defer dir.Close()
		err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil // its process lives
		}
		if err != nil {
			return err
		}
	}
	err := s.root.RemoveAll(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
