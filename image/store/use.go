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

// holdWait bounds how long an opener waits for one who looks whether the image is in
// use, which takes moments.
const holdWait = 10 * time.Second

// hold marks a root image as in use: a shared lock, which lasts as long as any copy of the
// descriptor is open. f was opened under name; if it was taken out of the store before
// the lock was there, the error is fs.ErrNotExist.
func (s *Store) hold(name string, f *os.File) error {
	ctx, cancel := context.WithTimeout(context.Background(), holdWait)
	defer cancel()
	if err := flock(ctx, f, unix.LOCK_SH); err != nil {
		return fmt.Errorf("mark as in use: %w", err)
	}
	if !s.stillNamed(name, f) {
		return fmt.Errorf("%s was taken out: %w", s.path(name), fs.ErrNotExist)
	}
	return nil
}

// seize takes the exclusive lock on the image in dir, so that nobody can begin to use it, or
// returns ErrInUse. What is there need not be whole; what cannot be locked, nobody uses.
func (s *Store) seize(dir string) (release func(), err error) {
	f, _, err := s.openFile(filepath.Join(dir, rootFile))
	if err != nil {
		return func() {}, nil
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrInUse
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// touch notes that the image was used now. A store that cannot be written to keeps
// no such notes.
func (s *Store) touch(digest image.Digest) {
	now := time.Now()
	s.root.Chtimes(filepath.Join(imagesDir, digest.String(), metaFile), now, now)
}
