package vmm

import (
	"math/bits"

	"github.com/bobuhiro11/gokvm/kvm"
)

// CPUID leaves (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E).
const (
	leafFeatures      = 0x1
	leafCacheIntel    = 0x4
	leafTopology      = 0xb
	leafTopologyV2    = 0x1f
	leafExtendedState = 0xd
	leafAMDSizes      = 0x80000008
	leafAMDTopology   = 0x8000001e
	leafAMDFeatures   = 0x80000001
	amdTopoExt        = 1 << 22
	apicIDShift       = 24
	logicalShift      = 16
	topologySMT       = 1 << 8
	topologyCore      = 2 << 8
	featureHTT        = 1 << 28
	featureHypervise  = 1 << 31
	featureDeadline   = 1 << 24
)

// guestCPUID is what vCPU id of n sees: the host's features, as one package of
// n cores without SMT, whose APIC ID is id.
func guestCPUID(supported []kvm.CPUIDEntry2, id, n int) []kvm.CPUIDEntry2 {
	entries := make([]kvm.CPUIDEntry2, 0, len(supported))
	shift := uint32(bits.Len(uint(n - 1)))
	for _, e := range supported {
		switch e.Function {
		case leafFeatures:
			e.Ebx = e.Ebx&0xffff | uint32(n)<<logicalShift | uint32(id)<<apicIDShift
			e.Ecx |= featureHypervise | featureDeadline
			if n > 1 {
				e.Edx |= featureHTT
			}
		case leafTopology, leafTopologyV2:
			if e.Index > 1 {
				continue
			}
			e.Edx = uint32(id)
			if e.Index == 0 {
				e.Eax, e.Ebx, e.Ecx = 0, 1, topologySMT
			} else {
				e.Eax, e.Ebx, e.Ecx = shift, uint32(n), topologyCore|1
			}
		case leafAMDFeatures:
			e.Ecx &^= amdTopoExt
		case leafAMDSizes:
			e.Ecx = shift<<12 | uint32(n-1)
		case leafAMDTopology:
			continue
		}
		entries = append(entries, e)
	}
	return entries
}
