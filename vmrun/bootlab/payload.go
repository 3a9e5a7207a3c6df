package bootlab

import (
	"bytes"
	"encoding/binary"
)

// Machine code, the same in 32-bit mode (PVH entry, QEMU) and in 64-bit mode
// (ELF entry, clearrun): a byte to the serial port, which tells that there is a
// guest, a reset by port 0x64, which ends clearrun's VM, then a write to isa-debug-exit
// at port 0xf4, which ends QEMU.
var payloadCode = []byte{
	0x66, 0xba, 0xf8, 0x03, // mov $0x3f8, %dx
	0xb0, '!', // mov $'!', %al
	0xee,       // out %al, %dx
	0xb0, 0xfe, // mov $0xfe, %al
	0xe6, 0x64, // out %al, $0x64
	0xb0, payloadExit, // mov $payloadExit, %al
	0xe6, 0xf4, // out %al, $0xf4
	0xf4,       // hlt
	0xeb, 0xfd, // jmp back to hlt
}

const (
	payloadAddr = 16 << 20
	// payloadExit is written there.
	payloadExit = 0x15
	// payloadExitPort is where QEMU is told to have isa-debug-exit.
	payloadExitPort = 0xf4

	// XEN_ELFNOTE_PHYS32_ENTRY: where a PVH boot enters.
	notePVHEntry = 18

	ptLoad = 1
	ptNote = 4
)

type elfHeader struct {
	Ident                                                [16]byte
	Type, Machine                                        uint16
	Version                                              uint32
	Entry, Phoff, Shoff                                  uint64
	Flags                                                uint32
	Ehsize, Phentsize, Phnum, Shentsize, Shnum, Shstrndx uint16
}

type programHeader struct {
	Type, Flags                                uint32
	Offset, Vaddr, Paddr, Filesz, Memsz, Align uint64
}

// Payload is the smallest kernel that both monitors boot, an ELF executable with a PVH
// note. With its first instructions it writes a byte to its console (see FirstByte) and ends
// the VM, so that the time from the start of a process to there is that of a start.
func Payload() []byte {
	var note bytes.Buffer
	le := binary.LittleEndian
	_ = binary.Write(&note, le, []uint32{4, 4, notePVHEntry})
	note.WriteString("Xen\x00")
	_ = binary.Write(&note, le, uint32(payloadAddr))

	h := elfHeader{
		Type: 2, Machine: 62, Version: 1, Entry: payloadAddr, Phoff: 64,
		Ehsize: 64, Phentsize: 56, Phnum: 2, Shentsize: 64,
	}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	const noteAt = 512
	segments := []programHeader{
		{ptLoad, 5, pageSize, payloadAddr, payloadAddr, pageSize, pageSize, pageSize},
		{ptNote, 4, noteAt, 0, 0, uint64(note.Len()), uint64(note.Len()), 4},
	}
	var out bytes.Buffer
	_ = binary.Write(&out, le, h)
	_ = binary.Write(&out, le, segments)
	out.Write(make([]byte, noteAt-out.Len()))
	out.Write(note.Bytes())
	out.Write(make([]byte, pageSize-out.Len()))
	out.Write(payloadCode)
	out.Write(make([]byte, 2*pageSize-out.Len()))
	return out.Bytes()
}
