package boot

import (
	"fmt"
	"io"
	"os"

	"github.com/clearrun/clearrun/vmm/guestmem"
)

// Section is a part of an open file: the kernel or the initramfs inside the
// clearrun executable, or a whole file.
type Section struct {
	File   *os.File
	Offset int64 // page aligned, where the bytes are to be mapped and not copied
	Size   int64
}

const pageSize = guestmem.PageSize

// Loaded says where a kernel lies in guest memory.
type Loaded struct {
	Entry  uint64 // guest-physical address of startup_64
	End    uint64 // first byte behind the kernel and its bss
	Copied uint64 // bytes that had to be copied; the rest is mapped
}

// LoadKernel puts an uncompressed vmlinux into guest memory at its physical
// addresses. Whole pages are mapped privately from the file, so that every VM
// of a host shares the kernel's text through the page cache.
func LoadKernel(mem *guestmem.GuestMemory, k Section) (Loaded, error) {
	exe, err := parseELF(io.NewSectionReader(k.File, k.Offset, k.Size), uint64(k.Size))
	if err != nil {
		return Loaded{}, fmt.Errorf("guest kernel: %w", err)
	}
	l := Loaded{Entry: exe.entry}
	for _, s := range exe.segments {
		if s.gpa < guestmem.KernelBase {
			return Loaded{}, fmt.Errorf("guest kernel: segment at %#x lies below %#x", s.gpa, uint64(guestmem.KernelBase))
		}
		if _, err := mem.Slice(s.gpa, s.memSize); err != nil {
			return Loaded{}, fmt.Errorf("guest kernel does not fit into guest memory, give it more (--memory): %w", err)
		}
		n, err := place(mem, s.gpa, Section{File: k.File, Offset: k.Offset + int64(s.offset), Size: int64(s.fileSize)})
		if err != nil {
			return Loaded{}, fmt.Errorf("load guest kernel segment at %#x: %w", s.gpa, err)
		}
		l.Copied += n
		l.End = max(l.End, s.gpa+s.memSize)
	}
	return l, nil
}

// LoadInitramfs puts the initramfs at the top of the RAM below the MMIO hole,
// clear of what ends at kernelEnd.
func LoadInitramfs(mem *guestmem.GuestMemory, initramfs Section, kernelEnd uint64) (gpa, copied uint64, err error) {
	low := uint64(len(mem.Regions()[0].Bytes))
	size := (uint64(initramfs.Size) + pageSize - 1) &^ (pageSize - 1)
	if size > low || low-size < kernelEnd {
		return 0, 0, fmt.Errorf("initramfs of %d bytes does not fit beside the kernel in %d bytes of guest memory, give it more (--memory)", initramfs.Size, low)
	}
	gpa = low - size
	copied, err = place(mem, gpa, initramfs)
	if err != nil {
		return 0, 0, fmt.Errorf("load initramfs: %w", err)
	}
	return gpa, copied, nil
}

// place maps the whole pages of a section at gpa and copies what is left: the
// tail, since the rest of its page must stay zero, or everything where file
// and memory are not aligned to each other.
func place(mem *guestmem.GuestMemory, gpa uint64, s Section) (copied uint64, err error) {
	mapped := int64(0)
	if gpa%pageSize == 0 && s.Offset%pageSize == 0 && s.Size >= pageSize {
		mapped = s.Size &^ (pageSize - 1)
		if err := mem.MapFile(gpa, int(s.File.Fd()), s.Offset, mapped); err != nil {
			return 0, err
		}
	}
	rest := s.Size - mapped
	if rest == 0 {
		return 0, nil
	}
	b, err := mem.Slice(gpa+uint64(mapped), uint64(rest))
	if err != nil {
		return 0, err
	}
	if _, err := s.File.ReadAt(b, s.Offset+mapped); err != nil {
		return 0, err
	}
	return uint64(rest), nil
}
