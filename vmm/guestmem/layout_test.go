package guestmem

import "testing"

func TestLayoutDoesNotOverlap(t *testing.T) {
	type area struct {
		name       string
		base, size uint64
	}
	// Ascending: each must end before the next begins.
	areas := []area{
		{"MP floating pointer", MPFloatingBase, MPFloatingSize},
		{"BIOS data area", 0x400, 0x100},
		{"GDT", GDTBase, GDTSize},
		{"MP table", MPTableBase, MPTableSize},
		{"zero page", ZeroPageBase, ZeroPageSize},
		{"page tables", PageTableBase, PageTableSize},
		{"command line", CommandLineBase, CommandLineSize},
		{"EBDA, video and firmware", LowMemoryEnd, HighMemoryBase - LowMemoryEnd},
		{"high memory below the kernel", HighMemoryBase, KernelBase - HighMemoryBase},
		{"kernel and RAM", KernelBase, HoleBase - KernelBase},
	}
	for i := range VirtioMMIOMax {
		areas = append(areas, area{"virtio device", VirtioMMIO(i), VirtioMMIOStride})
	}
	areas = append(areas,
		area{"stop-watch", StopWatchMMIO, PageSize},
		area{"IOAPIC", IOAPICBase, IOAPICSize},
		area{"LAPIC", LAPICBase, LAPICSize},
		area{"identity map", IdentityMapBase, IdentityMapSize},
		area{"TSS", TSSBase, TSSSize},
		area{"RAM above the hole", HoleEnd, MaxSize},
	)
	var end uint64
	for i, a := range areas {
		if a.base < end {
			t.Errorf("%s at %#x overlaps %s, which ends at %#x", a.name, a.base, areas[i-1].name, end)
		}
		end = a.base + a.size
	}
}

func TestDevicesLieInTheHole(t *testing.T) {
	for _, base := range []uint64{VirtioMMIO(0), VirtioMMIO(VirtioMMIOMax - 1), StopWatchMMIO, IOAPICBase, LAPICBase, IdentityMapBase, TSSBase} {
		if base < HoleBase || base >= HoleEnd || base%PageSize != 0 {
			t.Errorf("%#x is not a page of the MMIO hole", base)
		}
	}
}

func TestInterruptLines(t *testing.T) {
	// Not 8: the machine has no CMOS clock whose alarm could want it.
	taken := map[uint32]string{0: "PIT", 1: "keyboard", 2: "cascade", SerialGSI: "COM1", 13: "FPU"}
	for i := range VirtioMMIOMax {
		gsi := VirtioGSI(i)
		if name, ok := taken[gsi]; ok {
			t.Errorf("slot %d: GSI %d belongs to the %s", i, gsi, name)
		}
		if gsi > GSIMax {
			t.Errorf("slot %d: GSI %d is past the IOAPIC", i, gsi)
		}
	}
}
