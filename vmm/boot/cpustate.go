package boot

import (
	"encoding/binary"
	"fmt"

	"github.com/bobuhiro11/gokvm/kvm"

	"github.com/clearrun/clearrun/vmm/guestmem"
)

// Control register and EFER bits (Intel SDM volume 3, sections 2.5 and 2.2.1).
const (
	cr0PE = 1 << 0
	cr0MP = 1 << 1
	cr0ET = 1 << 4
	cr0NE = 1 << 5
	cr0WP = 1 << 16
	cr0PG = 1 << 31

	cr4PAE = 1 << 5

	eferLME = 1 << 8
	eferLMA = 1 << 10

	rflagsFixed = 1 << 1
)

// Page table entry bits (Intel SDM volume 3, table 4-15 on).
const (
	ptePresent  = 1 << 0
	pteWritable = 1 << 1
	pteHuge     = 1 << 7
	hugePage    = 2 << 20
	pteCount    = 512
)

// Segment selectors that boot.rst asks for: __BOOT_CS and __BOOT_DS.
const (
	bootCS = 0x10
	bootDS = 0x18
	bootTR = 0x20

	segCode    = 0xb // execute/read, accessed
	segData    = 0x3 // read/write, accessed
	segTSSBusy = 0xb
	flatLimit  = 0xffffffff

	gdtCode = 0x00af9b000000ffff // 64-bit code, ring 0
	gdtData = 0x00cf93000000ffff
	gdtTSS  = 0x00008b0000000000
)

// WritePageTables maps the first GiB of guest-physical memory to itself in
// pages of 2 MiB: the kernel's entry code uses it until it has its own.
func WritePageTables(mem *guestmem.GuestMemory) error {
	tables, err := mem.Slice(guestmem.PageTableBase, 3*pageSize)
	if err != nil {
		return fmt.Errorf("write page tables: %w", err)
	}
	le := binary.LittleEndian
	pdpt := uint64(guestmem.PageTableBase) + pageSize
	pd := pdpt + pageSize
	le.PutUint64(tables, pdpt|ptePresent|pteWritable)
	le.PutUint64(tables[pageSize:], pd|ptePresent|pteWritable)
	for i := range uint64(pteCount) {
		le.PutUint64(tables[2*pageSize+i*8:], i*hugePage|ptePresent|pteWritable|pteHuge)
	}
	gdt, err := mem.Slice(guestmem.GDTBase, 6*8)
	if err != nil {
		return fmt.Errorf("write GDT: %w", err)
	}
	le.PutUint64(gdt[bootCS:], gdtCode)
	le.PutUint64(gdt[bootDS:], gdtData)
	le.PutUint64(gdt[bootTR:], gdtTSS)
	return nil
}

// EntryRegisters are the first vCPU's general registers at the 64-bit entry.
func EntryRegisters(entry uint64) *kvm.Regs {
	return &kvm.Regs{RIP: entry, RSI: guestmem.ZeroPageBase, RFLAGS: rflagsFixed}
}

// SetEntryState puts the first vCPU's special registers into 64-bit mode over
// the tables of WritePageTables; the other fields stay as KVM reset them.
func SetEntryState(s *kvm.Sregs) {
	code := kvm.Segment{Limit: flatLimit, Selector: bootCS, Typ: segCode, Present: 1, S: 1, L: 1, G: 1}
	data := kvm.Segment{Limit: flatLimit, Selector: bootDS, Typ: segData, Present: 1, S: 1, DB: 1, G: 1}
	s.CS, s.DS, s.ES, s.FS, s.GS, s.SS = code, data, data, data, data, data
	s.TR = kvm.Segment{Selector: bootTR, Typ: segTSSBusy, Present: 1}
	s.GDT = kvm.Descriptor{Base: guestmem.GDTBase, Limit: 6*8 - 1}
	s.IDT = kvm.Descriptor{}
	s.CR0 = cr0PE | cr0MP | cr0ET | cr0NE | cr0WP | cr0PG
	s.CR3 = guestmem.PageTableBase
	s.CR4 = cr4PAE
	s.EFER = eferLME | eferLMA
}
