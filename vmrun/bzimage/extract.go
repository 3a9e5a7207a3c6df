package bzimage

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"
	"github.com/ulikunitz/xz/lzma"
)

// MaxKernel bounds the uncompressed kernel in bytes. Distributions' are below 100 MiB.
const MaxKernel = 512 << 20

// maxDictionary bounds what a stream can have a decoder allocate. Linux's build asks xz
// and zstd for windows of up to 128 MiB (scripts/xz_wrap.sh, zstd -22 --ultra).
const maxDictionary = 128 << 20

// sizeSuffix is how many bytes Linux's build puts behind the compressed stream: the size
// of what is in it, little-endian. Those of gzip are the stream's own trailer.
const sizeSuffix = 4

// format is a compression that Linux's build offers (CONFIG_KERNEL_*), but for LZO.
type format struct {
	name, magic string
	ownTrailer  bool // the size is part of the stream
	open        func(io.Reader) (io.Reader, error)
}

var formats = []format{
	{"gzip", "\x1f\x8b", true, func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{"bzip2", "BZh", false, func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
	// Linux's xz streams pass x86's branch filter, which ulikunitz/xz does not know.
	{"xz", "\xfd7zXZ\x00", false, func(r io.Reader) (io.Reader, error) { return xz.NewReader(r, maxDictionary) }},
	{"lzma", "\x5d\x00\x00", false, openLZMA},
	{"lz4", "\x02\x21\x4c\x18", false, func(r io.Reader) (io.Reader, error) { return lz4.NewReader(r), nil }},
	{"zstd", "\x28\xb5\x2f\xfd", false, openZstd},
}

func openLZMA(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	head, err := b.Peek(lzma.HeaderLen)
	if err != nil {
		return nil, err
	}
	// Properties, then the dictionary's size.
	if n := binary.LittleEndian.Uint32(head[1:]); n > maxDictionary {
		return nil, fmt.Errorf("dictionary of %d bytes, more than %d", n, maxDictionary)
	}
	return lzma.NewReader(b)
}

func openZstd(r io.Reader) (io.Reader, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxDictionary))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

// Extract writes the vmlinux inside the bzImage r, of size bytes, to w. The error is
// ErrNotBzImage if it is something else; on any error what was written is useless.
func Extract(w io.Writer, r io.ReaderAt, size int64) error {
	section, err := payload(r, size)
	if err != nil {
		return err
	}
	head := make([]byte, 8)
	if _, err := section.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for _, f := range formats {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			if err := f.extract(w, section); err != nil {
				return fmt.Errorf("decompress the kernel (%s): %w", f.name, err)
			}
			return nil
		}
	}
	return fmt.Errorf("the kernel's compression is not known (it begins % x): want gzip, bzip2, xz, lzma, lz4 or zstd", head)
}

// extract decompresses the payload. The size behind it must be what comes out.
func (f format) extract(w io.Writer, section *io.SectionReader) error {
	if section.Size() <= sizeSuffix {
		return io.ErrUnexpectedEOF
	}
	var suffix [sizeSuffix]byte
	if _, err := section.ReadAt(suffix[:], section.Size()-sizeSuffix); err != nil {
		return err
	}
	want := int64(binary.LittleEndian.Uint32(suffix[:]))
	if want > MaxKernel {
		return fmt.Errorf("a kernel of %d bytes, more than %d", want, int64(MaxKernel))
	}
	stream := section.Size()
	if !f.ownTrailer {
		stream -= sizeSuffix
	}
	plain, err := f.open(io.NewSectionReader(section, 0, stream))
	if err != nil {
		return err
	}
	if c, ok := plain.(io.Closer); ok {
		defer c.Close()
	}
	n, err := io.Copy(w, io.LimitReader(plain, want+1))
	if err != nil {
		return err
	}
	if n != want {
		return fmt.Errorf("%d bytes or more come out, the header says %d", n, want)
	}
	return nil
}
