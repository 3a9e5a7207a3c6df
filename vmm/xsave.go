package vmm

import (
	"encoding/binary"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
)

// The XSAVE area in standard format (Intel SDM volume 1, section 13.4).
const (
	xsaveAlign      = 64
	xsaveLegacySize = 512
	xsaveHeaderSize = 64
	xsaveBVOffset   = 512 // XSTATE_BV
	xcompBVOffset   = 520 // XCOMP_BV
	xsaveMinSize    = xsaveLegacySize + xsaveHeaderSize

	mxcsrOffset = 24 // MXCSR and MXCSR_MASK
	mxcsrEnd    = 32
	x87End      = 160 // FCW ... ST7, around MXCSR
	sseEnd      = 416 // XMM0-15

	stateX87 = 1 << 0
	stateSSE = 1 << 1
	stateAVX = 1 << 2

	maxComponents = 63
)

// byteRange is a part of the XSAVE area.
type byteRange struct{ start, end int }

// extendedState knows where each state component lies, and holds the buffers
// for moving one, so that a context switch allocates nothing.
type extendedState struct {
	components [maxComponents]byteRange // standard format; 0 and 1 are in the legacy region
	vcpu, area []byte
}

// newExtendedState learns the layout from CPUID leaf 0xD, whose sub-leaf i gives
// size and offset of component i (section 13.2). It is taken from what KVM
// reports: executing CPUID costs an exit each time where the host itself is a VM.
func newExtendedState(size int, supported []gokvm.CPUIDEntry2) *extendedState {
	x := &extendedState{vcpu: make([]byte, size), area: make([]byte, size)}
	for _, e := range supported {
		start, n := int(e.Ebx), int(e.Eax)
		if e.Function != leafExtendedState || e.Index < 2 || e.Index >= maxComponents || n == 0 || start+n > size {
			continue
		}
		x.components[e.Index] = byteRange{start, start + n}
	}
	return x
}

// size is how much of the area an XSAVE or XRSTOR of the components in mask
// touches.
func (x *extendedState) size(mask uint64) int {
	n := xsaveMinSize
	for i := 2; i < maxComponents; i++ {
		if mask>>i&1 == 1 {
			n = max(n, x.components[i].end)
		}
	}
	return n
}

// each calls f for every part of the area that the components in mask hold.
func (x *extendedState) each(mask uint64, f func(byteRange)) {
	if mask&stateX87 != 0 {
		f(byteRange{0, mxcsrOffset})
		f(byteRange{mxcsrEnd, x87End})
	}
	if mask&stateSSE != 0 {
		f(byteRange{x87End, sseEnd})
	}
	for i := 2; i < maxComponents; i++ {
		if mask>>i&1 == 1 {
			f(x.components[i])
		}
	}
}

// copyParts moves the components in mask, and MXCSR with SSE or AVX.
func (x *extendedState) copyParts(dst, src []byte, mask uint64) {
	x.each(mask, func(r byteRange) { copy(dst[r.start:r.end], src[r.start:r.end]) })
}

func copyMXCSR(dst, src []byte, mask uint64) {
	if mask&(stateSSE|stateAVX) != 0 {
		copy(dst[mxcsrOffset:mxcsrEnd], src[mxcsrOffset:mxcsrEnd])
	}
}

// xsave is XSAVE with the requested components at a linear address (Intel SDM
// volume 1, section 13.7).
func (p *pvm) xsave(linear, mask, cr3 uint64) *exception {
	x := p.ext
	parts, mask, fault := p.xsaveArea(linear, mask, cr3, true)
	if fault != nil {
		return fault
	}
	if p.vcpu.XSAVE(x.vcpu) != nil {
		return &exception{vector: vectorGP, hasCode: true}
	}
	n := x.size(mask)
	area := x.area[:n]
	gather(area, parts)
	le := binary.LittleEndian
	inUse := le.Uint64(x.vcpu[xsaveBVOffset:])
	x.copyParts(area, x.vcpu, mask)
	copyMXCSR(area, x.vcpu, mask)
	le.PutUint64(area[xsaveBVOffset:], le.Uint64(area[xsaveBVOffset:])&^mask|inUse&mask)
	scatter(parts, area)
	return nil
}

// xrstor is XRSTOR (section 13.8); what the area does not hold is initialized.
func (p *pvm) xrstor(linear, mask, cr3 uint64) *exception {
	x := p.ext
	parts, mask, fault := p.xsaveArea(linear, mask, cr3, false)
	if fault != nil {
		return fault
	}
	gp := &exception{vector: vectorGP, hasCode: true}
	if p.vcpu.XSAVE(x.vcpu) != nil {
		return gp
	}
	area := x.area[:x.size(mask)]
	gather(area, parts)
	le := binary.LittleEndian
	held := le.Uint64(area[xsaveBVOffset:])
	if le.Uint64(area[xcompBVOffset:]) != 0 {
		return gp // the compacted format, which the kernel does not use here
	}
	x.copyParts(x.vcpu, area, mask&held)
	copyMXCSR(x.vcpu, area, mask)
	le.PutUint64(x.vcpu[xsaveBVOffset:], le.Uint64(x.vcpu[xsaveBVOffset:])&^mask|held&mask)
	if p.vcpu.SetXSAVE(x.vcpu) != nil {
		return gp
	}
	return nil
}

// xsaveArea finds the guest memory of an XSAVE area, and which components an
// instruction with the given mask moves.
func (p *pvm) xsaveArea(linear, mask, cr3 uint64, write bool) ([][]byte, uint64, *exception) {
	xcr0, err := p.vcpu.ExtendedControl()
	if err != nil || linear%xsaveAlign != 0 {
		return nil, 0, &exception{vector: vectorGP, hasCode: true}
	}
	mask &= xcr0
	parts, fault := p.span(linear, p.ext.size(mask), cr3, write)
	return parts, mask, fault
}

func gather(dst []byte, parts [][]byte) {
	for _, p := range parts {
		dst = dst[copy(dst, p):]
	}
}

func scatter(parts [][]byte, src []byte) {
	for _, p := range parts {
		src = src[copy(p, src):]
	}
}
