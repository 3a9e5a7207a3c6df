// Package spool makes scratch files that vanish with their last user, for the
// readers and writers of images. Nothing is left behind, however the process ends.
package spool

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// New returns an empty file in dir (empty: the system's temporary folder) that has no
// name and is readable by nobody else. Its name, for messages, is dir.
func New(dir string) (*os.File, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), dir), nil
	}
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return nil, fmt.Errorf("scratch file in %s: %w", dir, err)
	}
	// Some file systems know no O_TMPFILE.
	f, err := os.CreateTemp(dir, ".clearrun-*")
	if err != nil {
		return nil, fmt.Errorf("scratch file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("scratch file: %w", err), f.Close())
	}
	return f, nil
}
