package vmm

import (
	"encoding/binary"
	"fmt"

	gokvm "github.com/bobuhiro11/gokvm/kvm"

	"github.com/clearrun/clearrun/vmm/guestmem"
	"github.com/clearrun/clearrun/vmm/kvm"
)

// hostCmdLine is what the guest kernel must be told of its host. On a PVM host
// KVM_SET_CPUID2 hides nothing, so that the kernel's own patch (pvm_host, see
// guest/kernel-config/patches) keeps it from what the emulator lacks.
func hostCmdLine(h kvm.Host) []string {
	if h == kvm.PVM {
		// A timer interrupt costs milliseconds there: no sleep is finer than a
		// tick anyway, and trying keeps the guest busy with nothing else.
		return []string{"pvm_host", "highres=off"}
	}
	return nil
}

// pvm finishes the instructions that the emulator of a PVM host gives up on:
// guest user mode runs natively there, guest kernel mode is emulated. KVM then
// exits with the guest's state intact and RIP still on the instruction.
type pvm struct {
	vcpu *kvm.VCPU
	mem  *guestmem.GuestMemory
	ext  *extendedState
}

func newPVM(v *kvm.VCPU, mem *guestmem.GuestMemory, supported []gokvm.CPUIDEntry2) *pvm {
	return &pvm{vcpu: v, mem: mem, ext: newExtendedState(v.XSAVESize(), supported)}
}

// Instruction encodings (Intel SDM volume 2). All operands are (%rdi), the only
// form in which Linux uses them.
const (
	opINT3      = 0xcc
	opFWAIT     = 0x9b
	opTwoByte   = 0x0f
	rexW        = 0x48
	opGroup15   = 0xae // XSAVE /4, XRSTOR /5, XSAVEOPT /6
	opGroup7    = 0x01
	modXSAVE    = 4<<3 | modRDI
	modXRSTOR   = 5<<3 | modRDI
	modXSAVEOPT = 6<<3 | modRDI
	modRDI      = 7
	modXGETBV   = 0xd0
	modXSETBV   = 0xd1
)

// Exception vectors (Intel SDM volume 3, table 6-1).
const (
	vectorBP = 3
	vectorUD = 6
	vectorGP = 13
	vectorPF = 14

	pfWrite = 1 << 1 // page fault error code: a write
	pfProt  = 1 << 0 // the page is present
	cplMask = 3
)

// emulate runs one instruction in the emulator's place. It reports false for
// one that it does not know either.
func (p *pvm) emulate(insn []byte) (bool, error) {
	regs, err := p.vcpu.Registers()
	if err != nil {
		return false, fmt.Errorf("get registers: %w", err)
	}
	sregs, err := p.vcpu.SpecialRegisters()
	if err != nil {
		return false, fmt.Errorf("get special registers: %w", err)
	}
	if sregs.CS.Selector&cplMask != 0 {
		// User mode runs natively: only an access to a device's registers, which
		// no kernel maps for a process, brings one of its instructions here.
		return true, p.inject(exception{vector: vectorUD})
	}
	if len(insn) == 0 {
		return false, nil
	}
	switch insn[0] {
	case opINT3:
		regs.RIP++
		return true, p.finish(regs, &exception{vector: vectorBP})
	case opFWAIT:
		regs.RIP++
		return true, p.finish(regs, nil)
	}
	prefix := 0
	if insn[0] == rexW {
		prefix = 1
	}
	op := insn[prefix:]
	if len(op) < 3 || op[0] != opTwoByte {
		return false, nil
	}
	fault, known := p.emulateExtended(op[1], op[2], regs, sregs)
	if !known {
		return false, nil
	}
	if fault == nil {
		regs.RIP += uint64(prefix) + 3
	} else if fault.vector == vectorPF {
		sregs.CR2 = fault.address
		if err := p.vcpu.SetSpecialRegisters(sregs); err != nil {
			return false, fmt.Errorf("set CR2: %w", err)
		}
	}
	return true, p.finish(regs, fault)
}

// emulateExtended runs the XSAVE family.
func (p *pvm) emulateExtended(op, mod byte, regs *gokvm.Regs, sregs *gokvm.Sregs) (fault *exception, known bool) {
	mask := regs.RDX<<32 | regs.RAX&0xffffffff
	switch {
	case op == opGroup7 && mod == modXSETBV:
		if uint32(regs.RCX) != 0 || p.vcpu.SetExtendedControl(mask) != nil {
			return &exception{vector: vectorGP, hasCode: true}, true
		}
		return nil, true
	case op == opGroup7 && mod == modXGETBV:
		xcr0, err := p.vcpu.ExtendedControl()
		if uint32(regs.RCX) != 0 || err != nil {
			return &exception{vector: vectorGP, hasCode: true}, true
		}
		regs.RAX, regs.RDX = xcr0&0xffffffff, xcr0>>32
		return nil, true
	case op == opGroup15 && (mod == modXSAVE || mod == modXSAVEOPT):
		return p.xsave(regs.RDI, mask, sregs.CR3), true
	case op == opGroup15 && mod == modXRSTOR:
		return p.xrstor(regs.RDI, mask, sregs.CR3), true
	}
	return nil, false
}

// exception is a fault or trap to deliver to the guest.
type exception struct {
	vector  uint8
	hasCode bool
	code    uint32
	address uint64 // CR2 of a page fault
}

// finish writes the registers back and delivers e, if there is one.
func (p *pvm) finish(regs *gokvm.Regs, e *exception) error {
	if err := p.vcpu.SetRegisters(regs); err != nil {
		return fmt.Errorf("set registers: %w", err)
	}
	if e == nil {
		return nil
	}
	return p.inject(*e)
}

func (p *pvm) inject(e exception) error {
	events, err := p.vcpu.Events()
	if err != nil {
		return fmt.Errorf("get vCPU events: %w", err)
	}
	events.E = gokvm.Exception{Inject: 1, Nr: e.vector, ErrorCode: e.code}
	if e.hasCode {
		events.E.HadErrorCode = 1
	}
	if err := p.vcpu.SetEvents(events); err != nil {
		return fmt.Errorf("inject exception %d: %w", e.vector, err)
	}
	return nil
}

// Page table walk (Intel SDM volume 3, section 4.5: 4-level paging).
const (
	pageSize     = guestmem.PageSize
	ptLevels     = 4
	ptIndexBits  = 9
	ptIndexMask  = 1<<ptIndexBits - 1
	pageBits     = 12
	ptePresent   = 1 << 0
	pteWritable  = 1 << 1
	pteHuge      = 1 << 7
	pteAddrMask  = 0x000ffffffffff000
	canonicalTop = 47
)

// span gives the guest memory behind n bytes at a linear address, a slice for
// each page, or the page fault that the processor would raise.
func (p *pvm) span(linear uint64, n int, cr3 uint64, write bool) ([][]byte, *exception) {
	var parts [][]byte
	for n > 0 {
		gpa, fault := p.walk(linear, cr3, write)
		if fault != nil {
			return nil, fault
		}
		size := min(n, int(pageSize-linear%pageSize))
		b, err := p.mem.Slice(gpa, uint64(size))
		if err != nil {
			return nil, &exception{vector: vectorGP, hasCode: true}
		}
		parts = append(parts, b)
		linear += uint64(size)
		n -= size
	}
	return parts, nil
}

// walk translates one linear address. KVM_TRANSLATE would not tell whether the
// page may be written, and writing through a copy-on-write page would corrupt
// another process.
func (p *pvm) walk(linear, cr3 uint64, write bool) (uint64, *exception) {
	fault := &exception{vector: vectorPF, hasCode: true, address: linear}
	if write {
		fault.code |= pfWrite
	}
	if top := int64(linear) >> canonicalTop; top != 0 && top != -1 {
		return 0, &exception{vector: vectorGP, hasCode: true}
	}
	table := cr3 & pteAddrMask
	for level := ptLevels - 1; ; level-- {
		shift := pageBits + level*ptIndexBits
		b, err := p.mem.Slice(table+(linear>>shift&ptIndexMask)*8, 8)
		if err != nil {
			return 0, fault
		}
		pte := binary.LittleEndian.Uint64(b)
		if pte&ptePresent == 0 {
			return 0, fault
		}
		if write && pte&pteWritable == 0 {
			fault.code |= pfProt
			return 0, fault
		}
		if level == 0 || pte&pteHuge != 0 {
			inPage := uint64(1)<<shift - 1
			return pte&pteAddrMask&^inPage | linear&inPage, nil
		}
		table = pte & pteAddrMask
	}
}
