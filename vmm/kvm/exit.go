package kvm

import "fmt"

// String names the exit reason as statistics show it.
func (r ExitReason) String() string {
	if s, ok := exitNames[r]; ok {
		return s
	}
	return fmt.Sprintf("exit-%d", uint32(r))
}

// IOExit is a port access (5, KVM_EXIT_IO). Data lies in the shared page: for
// a read the handler fills it, and the next Run completes the instruction.
type IOExit struct {
	Port  uint16
	Size  int // bytes of one access: 1, 2 or 4
	Write bool
	Data  []byte // Size times the repeat count
}

// IO decodes the current ExitIO.
func (v *VCPU) IO() IOExit {
	direction, size, port, count, offset := v.run.IO()
	n := size * count
	// The kernel wrote these fields; still, a slice is cut only inside the page.
	if offset > uint64(len(v.page)) || n > uint64(len(v.page))-offset {
		n = 0
		offset = 0
	}
	return IOExit{Port: uint16(port), Size: int(size), Write: direction == 1, Data: v.page[offset : offset+n]}
}

// MMIOExit is an access to an address without memory (5, KVM_EXIT_MMIO).
type MMIOExit struct {
	Addr  uint64
	Write bool
	Data  []byte // 1 to 8 bytes in the shared page; a read's handler fills it
}

// Offsets of struct kvm_run's mmio member in the exit union.
const (
	mmioDataOffset = 8
	mmioDataMax    = 8
)

// MMIO decodes the current ExitMMIO.
func (v *VCPU) MMIO() MMIOExit {
	n := min(uint32(v.run.Data[2]), mmioDataMax)
	start := exitDataOffset + mmioDataOffset
	return MMIOExit{
		Addr: v.run.Data[0], Write: v.run.Data[2]>>32&1 == 1,
		Data: v.page[start : start+uintptr(n)],
	}
}

// InternalError is KVM_EXIT_INTERNAL_ERROR (5). For SuberrorEmulation,
// Instruction holds the bytes at RIP if the kernel gave them.
type InternalError struct {
	Suberror    uint32
	Instruction []byte
}

// maxInstruction is the longest x86 instruction in bytes.
const maxInstruction = 15

// InternalError decodes the current ExitInternalError.
//
//	struct { __u32 suberror; __u32 ndata; __u64 flags; __u8 insn_size; __u8 insn_bytes[15]; } emulation_failure;
func (v *VCPU) InternalError() InternalError {
	e := InternalError{Suberror: uint32(v.run.Data[0])}
	ndata := v.run.Data[0] >> 32
	if e.Suberror == SuberrorEmulation && ndata >= 3 && v.run.Data[1]&emulationHasInsnBytes != 0 {
		base := exitDataOffset + 16
		n := min(v.page[base], maxInstruction)
		e.Instruction = v.page[base+1 : base+1+uintptr(n)]
	}
	return e
}

// SystemEvent is the type of KVM_EXIT_SYSTEM_EVENT.
func (v *VCPU) SystemEvent() uint32 { return uint32(v.run.Data[0]) }

// FailEntryReason is the hardware's reason of KVM_EXIT_FAIL_ENTRY.
func (v *VCPU) FailEntryReason() uint64 { return v.run.Data[0] }
