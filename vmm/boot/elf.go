package boot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ELF64 header and program header fields (System V ABI, chapters 4 and 5).
const (
	elfMagic       = "\x7fELF"
	elfHeaderSize  = 64
	elfClass64     = 2
	elfLittle      = 1
	elfMachineX86  = 62 // EM_X86_64
	elfExecutable  = 2  // ET_EXEC
	programHdrSize = 56
	ptLoad         = 1

	offClass   = 4
	offData    = 5
	offType    = 16
	offMachine = 18
	offEntry   = 24
	offPhoff   = 32
	offPhsize  = 54
	offPhnum   = 56

	// maxSegments bounds the program headers; vmlinux has five.
	maxSegments = 16
)

// ErrNotELF means that the bytes are no 64-bit x86 executable.
var ErrNotELF = errors.New("not an uncompressed x86-64 vmlinux (ELF)")

// segment is one PT_LOAD program header: where its bytes lie in the file, and
// where they go in guest-physical memory.
type segment struct {
	offset, gpa, fileSize, memSize uint64
}

// executable is what a loader needs of an ELF file.
type executable struct {
	entry    uint64
	segments []segment
}

// parseELF reads the headers of an ELF file of size bytes. Every segment lies
// inside the file and does not wrap around in memory.
func parseELF(r io.ReaderAt, size uint64) (*executable, error) {
	var h [elfHeaderSize]byte
	if _, err := r.ReadAt(h[:], 0); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotELF, err)
	}
	le := binary.LittleEndian
	if string(h[:4]) != elfMagic || h[offClass] != elfClass64 || h[offData] != elfLittle ||
		le.Uint16(h[offMachine:]) != elfMachineX86 || le.Uint16(h[offType:]) != elfExecutable {
		return nil, ErrNotELF
	}
	n := int(le.Uint16(h[offPhnum:]))
	if le.Uint16(h[offPhsize:]) != programHdrSize || n == 0 || n > maxSegments {
		return nil, fmt.Errorf("%w: %d program headers", ErrNotELF, n)
	}
	table := make([]byte, n*programHdrSize)
	if _, err := r.ReadAt(table, int64(le.Uint64(h[offPhoff:])&^(1<<63))); err != nil {
		return nil, fmt.Errorf("read ELF program headers: %w", err)
	}
	exe := &executable{entry: le.Uint64(h[offEntry:])}
	for i := range n {
		p := table[i*programHdrSize:]
		if le.Uint32(p) != ptLoad {
			continue
		}
		s := segment{offset: le.Uint64(p[8:]), gpa: le.Uint64(p[24:]), fileSize: le.Uint64(p[32:]), memSize: le.Uint64(p[40:])}
		if s.fileSize > s.memSize || s.offset > size || s.fileSize > size-s.offset || s.gpa+s.memSize < s.gpa {
			return nil, fmt.Errorf("ELF segment %d does not fit its file of %d bytes", i, size)
		}
		exe.segments = append(exe.segments, s)
	}
	if len(exe.segments) == 0 {
		return nil, fmt.Errorf("%w: nothing to load", ErrNotELF)
	}
	return exe, nil
}
