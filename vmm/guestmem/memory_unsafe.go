package guestmem

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// addressOf gives the host address at which b starts.
func addressOf(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// mapOver replaces the pages under ram by those of the file.
// Preconditions: ram and offset are page aligned.
func mapOver(ram []byte, fd int, offset int64) error {
	_, err := unix.MmapPtr(fd, offset, unsafe.Pointer(unsafe.SliceData(ram)), uintptr(len(ram)),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED)
	return err
}

// word gives b's start as a pointer that must be a multiple of align. RAM is
// mapped at page boundaries, so alignment in guest and host agree.
func word(b []byte, align uintptr) unsafe.Pointer {
	p := unsafe.Pointer(unsafe.SliceData(b))
	if uintptr(p)%align != 0 {
		panic("guestmem: misaligned access")
	}
	return p
}

// load16 reads the aligned 32-bit word around b, because Go has no 16-bit
// atomics. The word never crosses a page, so it is mapped if b is.
func load16(b []byte) uint16 {
	p := word(b, 2)
	odd := uintptr(p) % 4
	v := atomic.LoadUint32((*uint32)(unsafe.Add(p, -int(odd))))
	return uint16(v >> (8 * odd))
}

func load32(b []byte) uint32 { return atomic.LoadUint32((*uint32)(word(b, 4))) }

func store32(b []byte, v uint32) { atomic.StoreUint32((*uint32)(word(b, 4)), v) }

// store16 is one aligned MOVW, which x86 performs at once and after all
// earlier stores. A compare-and-swap of the word around it would let a guest
// that writes the other half keep the monitor busy.
//
//go:noinline
func store16(b []byte, v uint16) { *(*uint16)(word(b, 2)) = v }

// Fence orders all earlier stores before all later loads: what a queue needs
// between announcing something and looking whether the other side had already
// passed the point.
func Fence() {
	var w atomic.Uint32
	w.Add(1)
}
