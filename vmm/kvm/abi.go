package kvm

import "github.com/bobuhiro11/gokvm/kvm"

// ioctl numbers (include/uapi/linux/kvm.h, type 0xAE) that gokvm lacks.
const (
	nrCheckExtension = 0x03
	nrRun            = 0x80
	nrSetIdentityMap = 0x48
	nrIRQFD          = 0x76
	nrIOEventFD      = 0x79
	nrSetMSRs        = 0x89
	nrGetMSRs        = 0x88
	nrGetCPUID       = 0x05 // KVM_GET_SUPPORTED_CPUID
	nrSetCPUID2      = 0x90
	nrGetXSAVE2      = 0xcf
	nrSetXSAVE       = 0xa5
	nrGetStatsFD     = 0xce
	nrSetSignalMask  = 0x8b
)

// Capabilities (api.rst section 8 and kvm.h KVM_CAP_*).
const (
	capNRMemslots      = 10
	capIRQFD           = 32
	capIOEventFD       = 36
	capTSCControl      = 60
	capTSCDeadline     = 72
	capMaxVCPUs        = 66
	capImmediateExit   = 136
	capBinaryStatsFD   = 203
	capXSAVE2          = 208
	capSyncRegs        = 74
	requiredAPIVersion = 12
)

// Exit reasons (kvm.h KVM_EXIT_*).
type ExitReason uint32

const (
	ExitUnknown       ExitReason = 0
	ExitException     ExitReason = 1
	ExitIO            ExitReason = 2
	ExitDebug         ExitReason = 4
	ExitHLT           ExitReason = 5
	ExitMMIO          ExitReason = 6
	ExitShutdown      ExitReason = 8
	ExitFailEntry     ExitReason = 9
	ExitIntr          ExitReason = 10
	ExitInternalError ExitReason = 17
	ExitSystemEvent   ExitReason = 24
)

// exitNames are the spellings shown to people and in statistics.
var exitNames = map[ExitReason]string{
	ExitUnknown: "unknown", ExitException: "exception", ExitIO: "io",
	ExitDebug: "debug", ExitHLT: "hlt", ExitMMIO: "mmio",
	ExitShutdown: "shutdown", ExitFailEntry: "fail-entry", ExitIntr: "intr",
	ExitInternalError: "internal-error", ExitSystemEvent: "system-event",
}

// Sub-errors of KVM_EXIT_INTERNAL_ERROR.
const (
	SuberrorEmulation = 1 // KVM_INTERNAL_ERROR_EMULATION
)

// emulationHasInsnBytes is KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES.
const emulationHasInsnBytes = 1 << 0

// MSR is one entry of struct kvm_msrs: an MSR index and its value.
//
//	struct kvm_msr_entry { __u32 index; __u32 reserved; __u64 data; };
type MSR struct {
	Index uint32
	_     uint32
	Value uint64
}

// maxMSRs bounds one Get/SetMSRs call; the monitor moves a handful.
const maxMSRs = 32

// cpuidList is struct kvm_cpuid2 with room for all that KVM reports. gokvm's own
// goes through reflection, which takes a millisecond of a start.
//
//	struct kvm_cpuid2 { __u32 nent; __u32 padding; struct kvm_cpuid_entry2 entries[]; };
type cpuidList struct {
	n       uint32
	_       uint32
	entries [maxCPUIDEntries]kvm.CPUIDEntry2
}

// maxCPUIDEntries is KVM_MAX_CPUID_ENTRIES.
const maxCPUIDEntries = 256

// msrList is struct kvm_msrs with room for maxMSRs entries.
//
//	struct kvm_msrs { __u32 nmsrs; __u32 pad; struct kvm_msr_entry entries[]; };
type msrList struct {
	n       uint32
	_       uint32
	entries [maxMSRs]MSR
}

// irqfd is struct kvm_irqfd (32 bytes).
//
//	struct kvm_irqfd { __u32 fd; __u32 gsi; __u32 flags; __u32 resamplefd; __u8 pad[16]; };
type irqfd struct {
	fd, gsi uint32
	_       uint32 // flags
	_       uint32 // resamplefd
	_       [16]byte
}

// ioeventfd is struct kvm_ioeventfd (64 bytes).
//
//	struct kvm_ioeventfd { __u64 datamatch; __u64 addr; __u32 len; __s32 fd; __u32 flags; __u8 pad[36]; };
type ioeventfd struct {
	datamatch, addr uint64
	length          uint32
	fd              int32
	flags           uint32
	_               [36]byte
}

// ioeventfdDatamatch is KVM_IOEVENTFD_FLAG_DATAMATCH.
const ioeventfdDatamatch = 1 << 0
