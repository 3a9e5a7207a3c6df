package bzimage

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Open opens a kernel file for booting: a bzImage's kernel is unpacked into memory; any
// other file, be it a vmlinux or not, is given as it is.
func Open(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is not a regular file", path), f.Close())
	}
	kernel, err := unpack(f, info.Size())
	if errors.Is(err, ErrNotBzImage) {
		return f, nil
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return kernel, nil
}

func unpack(f *os.File, size int64) (*os.File, error) {
	fd, err := unix.MemfdCreate("vmlinux", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create memory file: %w", err)
	}
	out := os.NewFile(uintptr(fd), "vmlinux")
	if err := Extract(out, f, size); err != nil {
		out.Close()
		return nil, err
	}
	return out, nil
}
