package guestmem

// Window is a checked range of guest memory that is shared with the guest
// while both sides run: its accesses are single, aligned and ordered.
//
// Loads have acquire, stores release semantics; Store32 and Fence are full
// barriers. Offsets come from the caller's own arithmetic, never from the
// guest: one outside of the window, or misaligned, panics.
type Window struct {
	bytes []byte
}

// Window checks that the n bytes at gpa are RAM and gpa is a multiple of
// align, a power of two of at least 2. The error is an *AccessError.
func (m *GuestMemory) Window(gpa, n, align uint64) (Window, error) {
	if gpa%align != 0 {
		return Window{}, &AccessError{GPA: gpa, Len: n, Reason: "misaligned"}
	}
	b, err := m.Slice(gpa, n)
	return Window{bytes: b}, err
}

// Len is the size of the window in bytes.
func (w Window) Len() int { return len(w.bytes) }

// Load16 reads the little-endian 16-bit value at off, once.
func (w Window) Load16(off int) uint16 { return load16(w.bytes[off : off+2]) }

// Load32 reads the little-endian 32-bit value at off, once.
func (w Window) Load32(off int) uint32 { return load32(w.bytes[off : off+4]) }

// Store16 writes the 16-bit value at off, and nothing beside it. It is not a
// full barrier: see Fence.
func (w Window) Store16(off int, v uint16) { store16(w.bytes[off:off+2], v) }

// Store32 writes the 32-bit value at off.
func (w Window) Store32(off int, v uint32) { store32(w.bytes[off:off+4], v) }

// Load16 reads the 16-bit value at gpa, which must be even.
func (m *GuestMemory) Load16(gpa uint64) (uint16, error) {
	w, err := m.Window(gpa, 2, 2)
	if err != nil {
		return 0, err
	}
	return w.Load16(0), nil
}

// Load32 reads the 32-bit value at gpa, a multiple of 4.
func (m *GuestMemory) Load32(gpa uint64) (uint32, error) {
	w, err := m.Window(gpa, 4, 4)
	if err != nil {
		return 0, err
	}
	return w.Load32(0), nil
}

// Store16 writes the 16-bit value at gpa, which must be even.
func (m *GuestMemory) Store16(gpa uint64, v uint16) error {
	w, err := m.Window(gpa, 2, 2)
	if err != nil {
		return err
	}
	w.Store16(0, v)
	return nil
}

// Store32 writes the 32-bit value at gpa, a multiple of 4.
func (m *GuestMemory) Store32(gpa uint64, v uint32) error {
	w, err := m.Window(gpa, 4, 4)
	if err != nil {
		return err
	}
	w.Store32(0, v)
	return nil
}
