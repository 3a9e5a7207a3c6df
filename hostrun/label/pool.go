package label

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Pool hands out pairs, each to one holder at a time. It is a file; a lease is an open
// file description lock (fcntl(2), F_OFD_SETLK) on the byte that stands for the pair. So it
// ends with the last process that has the lease's descriptor, however that one ends, and
// nothing needs to be cleaned up.
//
// The file's content is where the next search begins, so that a pair comes up again only when
// all others have been used: what was made under it may still lie somewhere, and processes
// of a killed container may take a moment to end.
type Pool struct {
	path         string
	perm         os.FileMode
	first, count int // the range of pairs, by index
}

// Where a pool's file has its locks: leaseBase and on for the pairs, cursorLock for the
// content. None of these bytes needs to exist.
const (
	cursorSize = 8
	cursorLock = 0
	leaseBase  = 4096
)

// rootPairs are the pairs with a category below c512, for root. The others are for users,
// so that no user can take the last one from root.
const rootPairs = 392960

// rootPool is that of root, and userPool that of all other users of a host, in dir.
func rootPool(dir string) Pool { return Pool{filepath.Join(dir, "root"), 0o600, 0, rootPairs} }

func userPool(dir string) Pool {
	return Pool{filepath.Join(dir, "users"), 0o666, rootPairs, pairs - rootPairs}
}

// errTaken is a pair that somebody else has.
var errTaken = errors.New("it belongs to a running container")

// open opens the file anew: locks belong to an opened file, and each lease has its own.
func (p Pool) open() (*os.File, error) {
	f, err := os.OpenFile(p.path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, p.perm)
	if err != nil {
		return nil, err
	}
	// The umask has had its say. Somebody else's file is as its owner wants it.
	if st, err := f.Stat(); err == nil && st.Mode().Perm() != p.perm {
		_ = f.Chmod(p.perm)
	}
	return f, nil
}

// lock takes the lock of one byte, without waiting.
func lock(f *os.File, kind int16, at int64) error {
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Whence: unix.SEEK_SET, Start: at, Len: 1})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return errTaken
	}
	return err
}

// next leases a pair that nobody has.
func (p Pool) next() (Pair, *os.File, error) {
	f, err := p.open()
	if err != nil {
		return Pair{}, nil, fmt.Errorf("open the record of categories: %w", err)
	}
	pair, err := p.search(f)
	if err != nil {
		f.Close()
		return Pair{}, nil, err
	}
	return pair, f, nil
}

func (p Pool) search(f *os.File) (Pair, error) {
	start := p.begin(f)
	defer func() { _ = lock(f, unix.F_UNLCK, cursorLock) }()
	for n := range p.count {
		offset := (start + n) % p.count
		err := lock(f, unix.F_WRLCK, leaseBase+int64(p.first+offset))
		if err == errTaken {
			continue
		}
		if err != nil {
			return Pair{}, fmt.Errorf("lock categories in %s: %w", p.path, err)
		}
		if err := writeCursor(f, offset+1); err != nil {
			return Pair{}, fmt.Errorf("write %s: %w", p.path, err)
		}
		return pairAt(p.first + offset), nil
	}
	return Pair{}, fmt.Errorf("all %d category pairs belong to running containers: end some of them first", p.count)
}

// cursorPatience bounds the wait for the cursor. Who holds it needs it for a moment; one
// who is stopped, or keeps it out of malice, must not stop others: leases are safe without.
const cursorPatience = 2 * time.Second

// begin gives the offset at which the search begins, and keeps others from the same one.
func (p Pool) begin(f *os.File) int {
	deadline := time.Now().Add(cursorPatience)
	for delay := 100 * time.Microsecond; lock(f, unix.F_WRLCK, cursorLock) == errTaken && time.Now().Before(deadline); delay = min(2*delay, 10*time.Millisecond) {
		time.Sleep(delay)
	}
	var b [cursorSize]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return 0 // a new file
	}
	return int(binary.BigEndian.Uint64(b[:]) % uint64(p.count)) // whatever is in there
}

func writeCursor(f *os.File, offset int) error {
	var b [cursorSize]byte
	binary.BigEndian.PutUint64(b[:], uint64(offset))
	_, err := f.WriteAt(b[:], 0)
	return err
}

// share leases a certain pair, which others that ask for it by name may have as well. While
// anyone has it, nobody gets it from next.
func (p Pool) share(pair Pair) (*os.File, error) {
	i := pair.index()
	if i < p.first || i >= p.first+p.count {
		return nil, fmt.Errorf("level %s is not for %s to choose: root has the pairs with a category below c512, users the others", pair.Level(), who())
	}
	f, err := p.open()
	if err != nil {
		return nil, fmt.Errorf("open the record of categories: %w", err)
	}
	if err := lock(f, unix.F_RDLCK, leaseBase+int64(i)); err != nil {
		f.Close()
		return nil, fmt.Errorf("level %s: %w", pair.Level(), err)
	}
	return f, nil
}

func who() string {
	if os.Geteuid() == 0 {
		return "root"
	}
	return "a user"
}
