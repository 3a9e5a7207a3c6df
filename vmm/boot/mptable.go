package boot

import (
	"encoding/binary"
	"fmt"

	"github.com/clearrun/clearrun/vmm/guestmem"
)

// MP table constants (MultiProcessor Specification 1.4, chapter 4).
const (
	mpFloatingSize   = 16
	mpHeaderSize     = 44
	mpProcessorSize  = 20
	mpEntrySize      = 8
	mpSpecRevision   = 4
	mpEntryProcessor = 0
	mpEntryBus       = 1
	mpEntryIOAPIC    = 2
	mpEntryIOInt     = 3
	mpEntryLocalInt  = 4

	mpEnabled  = 1 << 0
	mpBootCPU  = 1 << 1
	mpIntINT   = 0
	mpIntNMI   = 1
	mpIntExt   = 3
	mpAllAPICs = 0xff

	apicVersion = 0x14 // what KVM's local APIC reports
	ioapicPins  = 16   // those with an ISA interrupt
	isaBus      = 0
)

// WriteMPTable tells the kernel of vcpus processors, whose local APIC IDs
// count from 0, and of the IOAPIC, with ISA interrupt n on pin n. It lies where
// the kernel looks first: at the start of memory (section 4, search order).
func WriteMPTable(mem *guestmem.GuestMemory, vcpus int) error {
	table := mpTable(vcpus)
	if len(table) > guestmem.MPTableSize {
		return fmt.Errorf("MP table of %d bytes for %d vCPUs, at most %d", len(table), vcpus, guestmem.MPTableSize)
	}
	dst, err := mem.Slice(guestmem.MPTableBase, uint64(len(table)))
	if err != nil {
		return fmt.Errorf("write MP table: %w", err)
	}
	copy(dst, table)
	floating, err := mem.Slice(guestmem.MPFloatingBase, mpFloatingSize)
	if err != nil {
		return fmt.Errorf("write MP floating pointer: %w", err)
	}
	copy(floating, mpFloatingPointer())
	return nil
}

func mpFloatingPointer() []byte {
	b := make([]byte, mpFloatingSize)
	copy(b, "_MP_")
	binary.LittleEndian.PutUint32(b[4:], guestmem.MPTableBase)
	b[8] = mpFloatingSize / 16
	b[9] = mpSpecRevision
	b[10] = checksum(b)
	return b
}

func mpTable(vcpus int) []byte {
	ioapicID := byte(vcpus)
	b := make([]byte, mpHeaderSize)
	entries := 0
	add := func(e ...byte) {
		b = append(b, e...)
		entries++
	}
	for id := range vcpus {
		flags := byte(mpEnabled)
		if id == 0 {
			flags |= mpBootCPU
		}
		e := make([]byte, mpProcessorSize)
		e[0], e[1], e[2], e[3] = mpEntryProcessor, byte(id), apicVersion, flags
		add(e...)
	}
	add(mpEntryBus, isaBus, 'I', 'S', 'A', ' ', ' ', ' ')
	addr := binary.LittleEndian.AppendUint32(nil, guestmem.IOAPICBase)
	add(append([]byte{mpEntryIOAPIC, ioapicID, apicVersion, mpEnabled}, addr...)...)
	for irq := range byte(ioapicPins) {
		add(mpEntryIOInt, mpIntINT, 0, 0, isaBus, irq, ioapicID, irq)
	}
	add(mpEntryLocalInt, mpIntExt, 0, 0, isaBus, 0, 0, 0)
	add(mpEntryLocalInt, mpIntNMI, 0, 0, isaBus, 0, mpAllAPICs, 1)

	le := binary.LittleEndian
	copy(b, "PCMP")
	le.PutUint16(b[4:], uint16(len(b)))
	b[6] = mpSpecRevision
	copy(b[8:], "CLEARRUN")
	copy(b[16:], "VM          ")
	le.PutUint16(b[34:], uint16(entries))
	le.PutUint32(b[36:], guestmem.LAPICBase)
	b[7] = checksum(b)
	return b
}

// checksum is the byte that makes all bytes of b, whose checksum field is
// still 0, sum up to 0.
func checksum(b []byte) byte {
	var sum byte
	for _, x := range b {
		sum += x
	}
	return -sum
}
