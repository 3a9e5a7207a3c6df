package compression

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/clearrun/clearrun/image"
)

// bufferSize is that of the buffer in front of the decompressor.
const bufferSize = 256 << 10

// ratioFloor is how much may come out of a decompressor before the ratio is looked
// at: a short archive of mostly zeros is honest.
const ratioFloor = 64 << 20

// Reader reads the tar inside of a possibly compressed stream, within limits.
type Reader struct {
	plain      io.Reader
	compressed *bufio.Reader
	in         *countingReader
	limits     image.Limits
	out        int64
}

// NewReader recognizes r by its first bytes. Of limits, Bytes and Ratio count.
func NewReader(r io.Reader, limits image.Limits) (*Reader, error) {
	in := &countingReader{r: r}
	compressed := bufio.NewReaderSize(in, bufferSize)
	plain, err := decompress(compressed)
	if err != nil {
		return nil, err
	}
	return &Reader{plain: plain, compressed: compressed, in: in, limits: limits}, nil
}

// Read fails once more comes out than the limits allow. It ends with io.EOF where the
// compressed stream does, which Finish compares with where r ends.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.plain.Read(p)
	r.out += int64(n)
	if r.out > r.limits.Bytes {
		return n, fmt.Errorf("unpacks to more than %d bytes (--max-image-size raises the limit)", r.limits.Bytes)
	}
	if r.out > ratioFloor && r.out/r.limits.Ratio > r.in.n {
		return n, fmt.Errorf("unpacks to more than %d times its size (--max-image-ratio raises the limit)", r.limits.Ratio)
	}
	return n, err
}

// IsPlain reports whether the stream is not compressed at all.
func (r *Reader) IsPlain() bool { return r.plain == io.Reader(r.compressed) }

// Size returns how many bytes Read has given so far.
func (r *Reader) Size() int64 { return r.out }

// Finish reports bytes behind the end of the compressed stream, once Read has come
// to its end. Then r was read to its last byte.
func (r *Reader) Finish() error {
	if _, err := r.compressed.ReadByte(); err == nil {
		return errors.New("bytes behind the end of the compressed archive")
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// Close frees what the decompressor holds, which need not have come to its end.
func (r *Reader) Close() error {
	if c, ok := r.plain.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// countingReader counts what passes.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
