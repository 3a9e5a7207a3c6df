package guestmem

// Units of the layout, in bytes.
const (
	PageSize = 4 << 10
	KiB      = 1 << 10
	MiB      = 1 << 20
	GiB      = 1 << 30
)

// RAM below 1 MiB: what the monitor prepares for the kernel's 64-bit entry.
const (
	MPFloatingBase = 0 // the first place where the kernel looks for "_MP_"
	MPFloatingSize = 16

	GDTBase = 0x500
	GDTSize = 0x100

	MPTableBase = 0x600 // in the first page, which the kernel keeps free anyway
	MPTableSize = 0xa00

	ZeroPageBase = 0x7000 // struct boot_params
	ZeroPageSize = PageSize

	PageTableBase = 0x9000 // PML4, PDPT, then up to four page directories
	PageTableSize = 6 * PageSize

	CommandLineBase = 0x20000
	CommandLineSize = PageSize // more than x86's COMMAND_LINE_SIZE of 2048

	LowMemoryEnd = 0x9fc00 // end of conventional memory, where a PC has its EBDA

	HighMemoryBase = 1 * MiB
)

// KernelBase is where the kernel's first segment is linked to run
// (CONFIG_PHYSICAL_START), out of the way of all of the above.
const KernelBase = 16 * MiB

// The MMIO hole: no RAM between the two, RAM goes on at HoleEnd.
const (
	HoleBase = 3 * GiB
	HoleEnd  = 4 * GiB
)

// Inside the hole: one page of registers and one interrupt line per
// virtio-mmio device, and what KVM and the interrupt controllers occupy.
const (
	VirtioMMIOBase   = 0xd0000000
	VirtioMMIOStride = PageSize
	VirtioMMIOMax    = 8

	// StopWatchMMIO is a page to which a guest may write milestones, where writing to
	// PortStopWatch does not suit it.
	StopWatchMMIO = VirtioMMIOBase + VirtioMMIOMax*VirtioMMIOStride

	IOAPICBase = 0xfec00000
	IOAPICSize = PageSize

	LAPICBase = 0xfee00000
	LAPICSize = PageSize

	IdentityMapBase = 0xfffbc000 // KVM_SET_IDENTITY_MAP_ADDR
	IdentityMapSize = PageSize

	TSSBase = 0xfffbd000 // KVM_SET_TSS_ADDR
	TSSSize = 3 * PageSize
)

// Interrupt lines (GSIs). Those of the virtio devices are consecutive.
const (
	SerialGSI     = 4 // COM1's, by the PC's convention
	VirtioGSIBase = 5
	GSIMax        = 23 // KVM's IOAPIC has 24 pins
)

// I/O ports.
const (
	PortI8042Command = 0x64 // reboot=k: the pulse that asks for a reset
	PortStopWatch    = 0xf4 // the guest writes milestones, the monitor takes the time
)

// VirtioMMIO gives the register page of virtio device slot 0..VirtioMMIOMax-1.
func VirtioMMIO(slot int) uint64 {
	return VirtioMMIOBase + uint64(slot)*VirtioMMIOStride
}

// VirtioGSI gives the interrupt line of virtio device slot 0..VirtioMMIOMax-1.
func VirtioGSI(slot int) uint32 {
	return VirtioGSIBase + uint32(slot)
}
