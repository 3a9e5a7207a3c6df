package guestmem

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Resident is how many bytes of the guest's RAM are in the host's RAM now
// (mincore(2)).
func (m *GuestMemory) Resident() uint64 {
	var pages uint64
	vec := make([]byte, residentChunk/PageSize)
	for _, r := range m.regions {
		for b := r.Bytes; len(b) > 0; b = b[min(len(b), residentChunk):] {
			n := min(len(b), residentChunk)
			_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(n),
				uintptr(unsafe.Pointer(&vec[0])))
			if errno != 0 {
				return 0
			}
			for _, v := range vec[:n/PageSize] {
				pages += uint64(v & 1)
			}
		}
	}
	return pages * PageSize
}

// residentChunk is how much memory one mincore call covers.
const residentChunk = 64 * MiB
