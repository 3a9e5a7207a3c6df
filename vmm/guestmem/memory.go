package guestmem

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// MaxSize bounds the RAM of one guest. It keeps every sum of addresses far
// from overflow, and no host gives one guest more.
const MaxSize = 1 << 40

// hugePage is the size of a transparent huge page. KVM can map one only if
// guest and host addresses are congruent modulo it.
const hugePage = 2 * MiB

// Region is one piece of RAM: Bytes appears to the guest at GPA.
type Region struct {
	GPA   uint64
	Bytes []byte
}

// GuestMemory is the RAM of one guest, off the Go heap. Its methods other
// than Close may be called concurrently.
type GuestMemory struct {
	size    uint64
	regions []Region

	closing sync.Once
	mapping []byte // what mmap returned; regions are parts of it
}

// AccessError reports a range that is not wholly RAM of one region, or that
// an operation's alignment rules out.
type AccessError struct {
	GPA, Len uint64
	Reason   string
}

func (e *AccessError) Error() string {
	return fmt.Sprintf("guest memory [%#x, +%d bytes): %s", e.GPA, e.Len, e.Reason)
}

// New maps size bytes of zeroed RAM, a multiple of PageSize. RAM above
// HoleBase continues at HoleEnd. Host memory is used only once it is touched.
func New(size uint64) (*GuestMemory, error) {
	if size == 0 || size%PageSize != 0 || size > MaxSize {
		return nil, fmt.Errorf("guest memory of %d bytes: not a multiple of %d up to %d", size, PageSize, uint64(MaxSize))
	}
	mapping, err := unix.Mmap(-1, 0, int(size+hugePage), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes of guest memory: %w", size, err)
	}
	start := (hugePage - addressOf(mapping)%hugePage) % hugePage
	return &GuestMemory{size: size, mapping: mapping, regions: split(mapping[start : start+size : start+size])}, nil
}

// split lays ram around the MMIO hole.
func split(ram []byte) []Region {
	if uint64(len(ram)) <= HoleBase {
		return []Region{{GPA: 0, Bytes: ram}}
	}
	return []Region{
		{GPA: 0, Bytes: ram[:HoleBase:HoleBase]},
		{GPA: HoleEnd, Bytes: ram[HoleBase:]},
	}
}

// Size is the amount of RAM in bytes.
func (m *GuestMemory) Size() uint64 { return m.size }

// Regions lists the RAM in ascending order of address, for KVM's memory slots
// and the E820 map.
func (m *GuestMemory) Regions() []Region { return append([]Region(nil), m.regions...) }

// Slice gives the n bytes at gpa. The guest may change them at any moment.
// They must not be used after Close. The error is an *AccessError.
func (m *GuestMemory) Slice(gpa, n uint64) ([]byte, error) {
	for i := range m.regions {
		r := &m.regions[i]
		size := uint64(len(r.Bytes))
		if gpa < r.GPA || gpa-r.GPA > size {
			continue
		}
		// Subtractions only: gpa+n may wrap around.
		off := gpa - r.GPA
		if n > size-off {
			continue
		}
		return r.Bytes[off : off+n : off+n], nil
	}
	return nil, &AccessError{GPA: gpa, Len: n, Reason: "not RAM"}
}

// MapFile places length bytes of a file at gpa, private to this guest and
// writable, without copying them: untouched pages are shared through the
// page cache. All three must be multiples of PageSize, except that length may
// reach into the file's last, partial page, whose rest reads as zeros.
//
// Pages past the end of the file would kill the monitor when touched, so they
// are refused; the file must not shrink while the guest lives.
func (m *GuestMemory) MapFile(gpa uint64, fd int, offset, length int64) error {
	if offset < 0 || length <= 0 || offset%PageSize != 0 || length%PageSize != 0 || gpa%PageSize != 0 {
		return &AccessError{GPA: gpa, Len: uint64(length), Reason: "file mapping is not page aligned"}
	}
	ram, err := m.Slice(gpa, uint64(length))
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("map file at %#x: %w", gpa, err)
	}
	pages := (st.Size + PageSize - 1) / PageSize * PageSize
	if offset > pages || length > pages-offset {
		return fmt.Errorf("map file at %#x: bytes [%d, +%d) are past its end at %d", gpa, offset, length, st.Size)
	}
	if err := mapOver(ram, fd, offset); err != nil {
		return fmt.Errorf("map file at %#x: %w", gpa, err)
	}
	return nil
}

// Close releases the RAM. VCPUs and devices must have stopped before.
func (m *GuestMemory) Close() error {
	var err error
	m.closing.Do(func() {
		m.regions = nil
		err = unix.Munmap(m.mapping)
		m.mapping = nil
	})
	return err
}
