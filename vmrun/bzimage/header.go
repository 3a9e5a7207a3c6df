package bzimage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The real-mode kernel header (Documentation/arch/x86/boot.rst), by offset in the file.
const (
	setupSectsAt    = 0x1f1
	magicAt         = 0x202
	versionAt       = 0x206
	payloadOffsetAt = 0x248 // from the start of the protected-mode code
	payloadLengthAt = 0x24c
	headerSize      = 0x250

	magic             = "HdrS"
	minVersion        = 0x208 // the first one with a payload's offset
	sectorSize        = 512
	defaultSetupSects = 4 // what 0 stands for
)

// ErrNotBzImage means that the bytes are no bzImage at all.
var ErrNotBzImage = errors.New("not a bzImage")

// payload finds the compressed kernel in a bzImage of size bytes.
func payload(r io.ReaderAt, size int64) (*io.SectionReader, error) {
	h := make([]byte, headerSize)
	if _, err := r.ReadAt(h, 0); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, ErrNotBzImage
		}
		return nil, err
	}
	le := binary.LittleEndian
	if string(h[magicAt:magicAt+len(magic)]) != magic {
		return nil, ErrNotBzImage
	}
	if v := le.Uint16(h[versionAt:]); v < minVersion {
		return nil, fmt.Errorf("boot protocol %d.%02d does not say where the kernel is: want 2.08 or newer", v>>8, v&0xff)
	}
	sects := int64(h[setupSectsAt])
	if sects == 0 {
		sects = defaultSetupSects
	}
	start := (sects+1)*sectorSize + int64(le.Uint32(h[payloadOffsetAt:]))
	length := int64(le.Uint32(h[payloadLengthAt:]))
	if length == 0 || start > size || length > size-start {
		return nil, fmt.Errorf("the compressed kernel, %d bytes at %d, is not inside the file of %d bytes: is it cut short?", length, start, size)
	}
	return io.NewSectionReader(r, start, length), nil
}
