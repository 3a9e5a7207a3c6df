// Package cpu reads what the processor says of itself by CPUID. It is for
// package vmm, which needs the layout of the extended state; what a guest sees
// comes from KVM instead.
package cpu

// leafExtendedState is CPUID leaf 0xD; sub-leaf i describes state component i
// (Intel SDM volume 1, section 13.2).
const leafExtendedState = 0xd

// StateComponent gives the offset and size in bytes of state component i (2 to
// 62) in the standard XSAVE format; size 0: this processor has no such one.
func StateComponent(i int) (offset, size int) {
	eax, ebx, _, _ := cpuid(leafExtendedState, uint32(i))
	return int(ebx), int(eax)
}

// cpuid executes the CPUID instruction.
func cpuid(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)
