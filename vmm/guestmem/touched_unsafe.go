package guestmem

import (
	"encoding/binary"
	"fmt"
	"io"
	"unsafe"
)

// /proc/self/pagemap (Documentation/admin-guide/mm/pagemap.rst): 64 bits a page.
const (
	pagemapEntry   = 8
	pagemapPresent = 1 << 63
	pagemapSwapped = 1 << 62

	// pagemapChunk is how many pages one read covers.
	pagemapChunk = 8 << 10
)

// Touched is how many bytes of the guest's RAM this process has mapped: what the guest, or
// this process for it, has touched. Pages of a file that are merely cached do not count;
// their neighbours that the host's kernel maps along with a touched one do. pagemap is
// /proc/self/pagemap.
func (m *GuestMemory) Touched(pagemap io.ReaderAt) (uint64, error) {
	var pages uint64
	entries := make([]byte, pagemapChunk*pagemapEntry)
	for _, r := range m.regions {
		page := int64(uintptr(unsafe.Pointer(unsafe.SliceData(r.Bytes))) / PageSize)
		for left := len(r.Bytes) / PageSize; left > 0; {
			n := min(left, pagemapChunk)
			if _, err := pagemap.ReadAt(entries[:n*pagemapEntry], page*pagemapEntry); err != nil {
				return 0, fmt.Errorf("read pagemap: %w", err)
			}
			for i := range n {
				if binary.LittleEndian.Uint64(entries[i*pagemapEntry:])&(pagemapPresent|pagemapSwapped) != 0 {
					pages++
				}
			}
			page += int64(n)
			left -= n
		}
	}
	return pages * PageSize, nil
}
