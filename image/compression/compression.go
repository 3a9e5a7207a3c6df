// Package compression reads the tars of images, however they are compressed: plain,
// gzip, bzip2, xz or zstd. It recognizes them by their bytes, and bounds what comes
// out. The readers of image formats share it.
package compression

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Magic bytes of the compressions that appc and OCI allow, and of tar (POSIX ustar, at
// ustarOffset; GNU's tar shares its first five bytes).
const (
	gzipMagic   = "\x1f\x8b"
	bzip2Magic  = "BZh"
	xzMagic     = "\xfd7zXZ\x00"
	zstdMagic   = "\x28\xb5\x2f\xfd" // RFC 8878, section 3.1.1
	ustarMagic  = "ustar"
	ustarOffset = 257
)

// magicWindow is how many bytes decide the format.
const magicWindow = ustarOffset + len(ustarMagic)

// decompress recognizes r by its first bytes, never by a name, and returns the tar
// inside.
func decompress(r *bufio.Reader) (io.Reader, error) {
	head, err := r.Peek(magicWindow)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte(gzipMagic)):
		return wrap("gzip")(gzip.NewReader(r))
	case bytes.HasPrefix(head, []byte(bzip2Magic)):
		return bzip2.NewReader(r), nil
	case bytes.HasPrefix(head, []byte(xzMagic)):
		if err := checkXZDictionary(r); err != nil {
			return nil, err
		}
		return wrap("xz")(xz.NewReader(r))
	case bytes.HasPrefix(head, []byte(zstdMagic)):
		return openZstd(r)
	case isTar(head):
		return r, nil
	}
	return nil, errors.New("neither a tar nor one compressed with gzip, bzip2, xz or zstd")
}

// isTar knows a tar by its first header. One with no entry at all is zeros only.
func isTar(head []byte) bool {
	if len(head) < magicWindow {
		return false
	}
	return string(head[ustarOffset:]) == ustarMagic || len(bytes.Trim(head, "\x00")) == 0
}

// zstdWindowMax bounds the memory that a stream can ask for; zstd --long=27 uses it all.
const zstdWindowMax = 128 << 20

func openZstd(r io.Reader) (io.Reader, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(zstdWindowMax))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return d.IOReadCloser(), nil
}

// wrap turns a decompressor's constructor result into an io.Reader, without the
// trap of a nil pointer in an interface.
func wrap(name string) func(r io.Reader, err error) (io.Reader, error) {
	return func(r io.Reader, err error) (io.Reader, error) {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return r, nil
	}
}

// The xz file format 1.0.4: a stream header (2.1.1), then a block header (3.1) with
// its size in 4-byte units less one, flags, and the filters.
const (
	xzStreamHeader   = 12
	xzBlockSizesMask = 0xc0 // the two optional size fields
	xzFiltersMask    = 0x03 // number of filters less one
	xzFilterLZMA2    = 0x21
	xzDictSizeMax    = 28 // LZMA2 (5.3.1): 64 MiB, what xz -9 uses
)

// checkXZDictionary refuses a first block that would make the reader allocate up to
// 4 GiB for its dictionary. Other forms of header are left to the reader.
func checkXZDictionary(r *bufio.Reader) error {
	const filterAt = xzStreamHeader + 2
	head, err := r.Peek(filterAt + 3)
	if err != nil {
		return fmt.Errorf("xz: %w", io.ErrUnexpectedEOF)
	}
	flags := head[xzStreamHeader+1]
	if flags&(xzBlockSizesMask|xzFiltersMask) != 0 || head[filterAt] != xzFilterLZMA2 {
		return nil
	}
	if size := head[filterAt+2]; size > xzDictSizeMax {
		return errors.New("xz: dictionary larger than 64 MiB")
	}
	return nil
}
