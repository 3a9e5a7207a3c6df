package bundle

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Executable gives a part as a sealed file in memory, fit for execve: whoever runs it
// cannot change it, nor the clearrun executable through it.
func (b *Bundle) Executable(name string) (*os.File, error) {
	part, err := b.Part(name)
	if err != nil {
		return nil, err
	}
	return Seal("clearrun-"+name, func(f *os.File) error { return Copy(f, b.File, part.Offset, part.Size) })
}

// Seal makes a sealed file in memory, readable from its start.
func Seal(name string, fill func(*os.File) error) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	if err := fill(f); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Copy copies size bytes at offset of from to f, inside the kernel.
func Copy(f, from *os.File, offset, size int64) error {
	for end := offset + size; offset < end; {
		n, err := unix.Sendfile(int(f.Fd()), int(from.Fd()), &offset, int(end-offset))
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
	}
	return nil
}
