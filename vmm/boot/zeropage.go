package boot

import (
	"encoding/binary"
	"fmt"

	"github.com/clearrun/clearrun/vmm/guestmem"
)

// Offsets in struct boot_params (zero-page.rst) and its setup header (boot.rst).
const (
	bpExtRamdiskImage = 0x0c0
	bpExtRamdiskSize  = 0x0c4
	bpE820Entries     = 0x1e8
	bpBootFlag        = 0x1fe
	bpHeader          = 0x202
	bpVersion         = 0x206
	bpTypeOfLoader    = 0x210
	bpLoadFlags       = 0x211
	bpRamdiskImage    = 0x218
	bpRamdiskSize     = 0x21c
	bpCmdLinePtr      = 0x228
	bpKernelAlignment = 0x230
	bpCmdLineSize     = 0x238
	bpSubarch         = 0x23c
	bpE820Table       = 0x2d0

	bootFlagMagic    = 0xaa55
	headerMagic      = "HdrS"
	protocolVersion  = 0x020f // 2.15
	loaderUnassigned = 0xff
	loadedHigh       = 1 << 0
	kernelAlignment  = 2 << 20

	// subarchNoLegacy (X86_SUBARCH_INTEL_MID) tells the kernel that there is
	// no CMOS clock and no PNP BIOS, which it would otherwise poll.
	subarchNoLegacy = 3

	e820EntrySize = 20
	e820RAM       = 1
	e820Reserved  = 2
)

// MaxCmdLine is the longest kernel command line in bytes (x86
// COMMAND_LINE_SIZE, with its terminating zero).
const MaxCmdLine = 2048

// Params is what the zero page tells the kernel.
type Params struct {
	CmdLine       string
	InitramfsGPA  uint64 // 0: none
	InitramfsSize uint64
}

// WriteParams fills the zero page and the command line.
func WriteParams(mem *guestmem.GuestMemory, p Params) error {
	if len(p.CmdLine) >= MaxCmdLine {
		return fmt.Errorf("kernel command line of %d bytes, at most %d", len(p.CmdLine), MaxCmdLine-1)
	}
	cmdline, err := mem.Slice(guestmem.CommandLineBase, MaxCmdLine)
	if err != nil {
		return fmt.Errorf("write command line: %w", err)
	}
	cmdline[copy(cmdline, p.CmdLine)] = 0

	b, err := mem.Slice(guestmem.ZeroPageBase, pageSize)
	if err != nil {
		return fmt.Errorf("write zero page: %w", err)
	}
	le := binary.LittleEndian
	le.PutUint16(b[bpBootFlag:], bootFlagMagic)
	copy(b[bpHeader:], headerMagic)
	le.PutUint16(b[bpVersion:], protocolVersion)
	b[bpTypeOfLoader] = loaderUnassigned
	b[bpLoadFlags] = loadedHigh
	le.PutUint32(b[bpKernelAlignment:], kernelAlignment)
	le.PutUint32(b[bpSubarch:], subarchNoLegacy)
	le.PutUint32(b[bpCmdLinePtr:], guestmem.CommandLineBase)
	le.PutUint32(b[bpCmdLineSize:], uint32(len(p.CmdLine)))
	le.PutUint32(b[bpRamdiskImage:], uint32(p.InitramfsGPA))
	le.PutUint32(b[bpExtRamdiskImage:], uint32(p.InitramfsGPA>>32))
	le.PutUint32(b[bpRamdiskSize:], uint32(p.InitramfsSize))
	le.PutUint32(b[bpExtRamdiskSize:], uint32(p.InitramfsSize>>32))
	writeE820(b, mem.Regions())
	return nil
}

// writeE820 lists RAM, without the legacy hole in which the kernel expects
// firmware.
func writeE820(b []byte, regions []guestmem.Region) {
	n := 0
	add := func(start, end uint64, kind uint32) {
		e := b[bpE820Table+n*e820EntrySize:]
		binary.LittleEndian.PutUint64(e, start)
		binary.LittleEndian.PutUint64(e[8:], end-start)
		binary.LittleEndian.PutUint32(e[16:], kind)
		n++
	}
	low := uint64(len(regions[0].Bytes))
	add(0, guestmem.LowMemoryEnd, e820RAM)
	add(guestmem.LowMemoryEnd, guestmem.HighMemoryBase, e820Reserved)
	add(guestmem.HighMemoryBase, low, e820RAM)
	for _, r := range regions[1:] {
		add(r.GPA, r.GPA+uint64(len(r.Bytes)), e820RAM)
	}
	b[bpE820Entries] = byte(n)
}
