package slots

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Pool hands out slots, each to one holder at a time. It is a file; a lease is an open
// file description lock (fcntl(2), F_OFD_SETLK) on the byte that stands for the slot. So it
// ends with the last process that has the lease's descriptor, however that one ends, and
// nothing needs to be cleaned up.
//
// The file's content is where the next search begins, so that a slot comes up again only when
// all others have been used: what was made under it may still lie somewhere, and processes
// of a killed container may take a moment to end.
type Pool struct {
	Path         string
	Perm         os.FileMode
	First, Count int // the range of slots
}

// Where a pool's file has its locks: leaseBase and on for the slots, cursorLock for the
// content. None of these bytes needs to exist.
const (
	cursorSize = 8
	cursorLock = 0
	leaseBase  = 4096
)

// ErrTaken is a slot that somebody else has.
var ErrTaken = errors.New("it belongs to a running container")

// ErrNone is for a pool all of whose slots are taken.
var ErrNone = errors.New("none is free")

// Open opens the file anew: locks belong to an opened file, and each lease has its own.
func (p Pool) Open() (*os.File, error) {
	f, err := os.OpenFile(p.Path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, p.Perm)
	if err != nil {
		return nil, err
	}
	// The umask has had its say. Somebody else's file is as its owner wants it.
	if st, err := f.Stat(); err == nil && st.Mode().Perm() != p.Perm {
		_ = f.Chmod(p.Perm)
	}
	return f, nil
}

// lock takes the lock of one byte, without waiting.
func lock(f *os.File, kind int16, at int64) error {
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Whence: unix.SEEK_SET, Start: at, Len: 1})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return ErrTaken
	}
	return err
}

// Next leases a slot that nobody has.
func (p Pool) Next() (slot int, lease *os.File, err error) {
	f, err := p.Open()
	if err != nil {
		return 0, nil, err
	}
	if slot, err = p.search(f); err != nil {
		f.Close()
		return 0, nil, err
	}
	return slot, f, nil
}

func (p Pool) search(f *os.File) (int, error) {
	start := p.begin(f)
	defer func() { _ = lock(f, unix.F_UNLCK, cursorLock) }()
	for n := range p.Count {
		offset := (start + n) % p.Count
		err := lock(f, unix.F_WRLCK, leaseBase+int64(p.First+offset))
		if err == ErrTaken {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("lock a slot in %s: %w", p.Path, err)
		}
		if err := writeCursor(f, offset+1); err != nil {
			return 0, fmt.Errorf("write %s: %w", p.Path, err)
		}
		return p.First + offset, nil
	}
	return 0, ErrNone
}

// cursorPatience bounds the wait for the cursor. Who holds it needs it for a moment; one
// who is stopped, or keeps it out of malice, must not stop others: leases are safe without.
const cursorPatience = 2 * time.Second

// begin gives the offset at which the search begins, and keeps others from the same one.
func (p Pool) begin(f *os.File) int {
	deadline := time.Now().Add(cursorPatience)
	for delay := 100 * time.Microsecond; lock(f, unix.F_WRLCK, cursorLock) == ErrTaken && time.Now().Before(deadline); delay = min(2*delay, 10*time.Millisecond) {
		time.Sleep(delay)
	}
	var b [cursorSize]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return 0 // a new file
	}
	return int(binary.BigEndian.Uint64(b[:]) % uint64(p.Count)) // whatever is in there
}

func writeCursor(f *os.File, offset int) error {
	var b [cursorSize]byte
	binary.BigEndian.PutUint64(b[:], uint64(offset))
	_, err := f.WriteAt(b[:], 0)
	return err
}

// Share leases a certain slot of the pool's range, which others that ask for it may have as well. While
// anyone has it, nobody gets it from Next.
func (p Pool) Share(slot int) (*os.File, error) {
	f, err := p.Open()
	if err != nil {
		return nil, err
	}
	if err := lock(f, unix.F_RDLCK, leaseBase+int64(slot)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
