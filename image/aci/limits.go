package aci

import (
	"errors"
	"fmt"
	"io"
)

// Limits bounds what an ACI may make its reader spend. The zero Limits stands for
// DefaultLimits.
type Limits struct {
	Bytes    int64 // of the uncompressed tar
	Entries  int   // in the tar
	Ratio    int64 // bytes out of the decompressor for one byte in
	Manifest int64 // bytes of the manifest
}

// ratioFloor is how much may come out of a decompressor before Ratio is looked at:
// a short archive of mostly zeros is honest.
const ratioFloor = 64 << 20

// DefaultLimits are far above real images and far below what hurts a host.
func DefaultLimits() Limits {
	return Limits{Bytes: 32 << 30, Entries: 1 << 20, Ratio: 250, Manifest: 4 << 20}
}

func (l Limits) orDefault() (Limits, error) {
	if l == (Limits{}) {
		return DefaultLimits(), nil
	}
	if l.Bytes <= 0 || l.Entries <= 0 || l.Ratio <= 0 || l.Manifest <= 0 {
		return l, errors.New("limits: each must be greater than 0")
	}
	return l, nil
}

// limitedReader fails once more comes out of r than the limits allow.
type limitedReader struct {
	r      io.Reader
	limits Limits
	in     *countingReader // what r decompresses
	out    int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.out += int64(n)
	if l.out > l.limits.Bytes {
		return n, fmt.Errorf("unpacks to more than %d bytes", l.limits.Bytes)
	}
	if l.out > ratioFloor && l.out/l.limits.Ratio > l.in.n {
		return n, fmt.Errorf("unpacks to more than %d times its size", l.limits.Ratio)
	}
	return n, err
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
