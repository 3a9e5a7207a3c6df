package proto

import (
	"encoding/binary"
	"errors"
)

// fieldVisitor walks the fields of a message in wire order. The encoder and the
// decoder both implement it, so that each message lists its fields once and the
// two directions cannot drift apart.
type fieldVisitor interface {
	bool(*bool)
	uint8(*uint8)
	uint16(*uint16)
	uint32(*uint32)
	uint64(*uint64)
	int64(*int64)
	string(*string)
	strings(*[]string)
	uint32s(*[]uint32)
	// count codes the length of a list whose elements take at least elemSize
	// bytes each, and returns it. The decoder returns 0 for a list that
	// cannot fit in what is left of the frame, so that nothing is allocated
	// for a length that was merely claimed.
	count(n, elemSize int) int
	// decoding reports whether the fields are being filled in.
	decoding() bool
}

// visitList codes a list of structs of at least elemSize encoded bytes each.
func visitList[T any, P interface {
	*T
	fields(fieldVisitor)
}](v fieldVisitor, list *[]T, elemSize int) {
	n := v.count(len(*list), elemSize)
	if v.decoding() {
		*list = makeList[T](n)
	}
	for i := range *list {
		P(&(*list)[i]).fields(v)
	}
}

// makeList returns n zero elements, and nil for none: a decoded message equals
// the one that was encoded.
func makeList[T any](n int) []T {
	if n == 0 {
		return nil
	}
	return make([]T, n)
}

// encoder appends fields to buf.
type encoder struct {
	buf []byte
}

func (e *encoder) decoding() bool { return false }

func (e *encoder) bool(p *bool) {
	b := byte(0)
	if *p {
		b = 1
	}
	e.buf = append(e.buf, b)
}

func (e *encoder) uint8(p *uint8)   { e.buf = append(e.buf, *p) }
func (e *encoder) uint16(p *uint16) { e.buf = binary.BigEndian.AppendUint16(e.buf, *p) }
func (e *encoder) uint32(p *uint32) { e.buf = binary.BigEndian.AppendUint32(e.buf, *p) }
func (e *encoder) uint64(p *uint64) { e.buf = binary.BigEndian.AppendUint64(e.buf, *p) }
func (e *encoder) int64(p *int64)   { e.buf = binary.BigEndian.AppendUint64(e.buf, uint64(*p)) }

// count writes a length. One that does not fit 32 bits makes a frame far over
// MaxFrame, which Append refuses before it is sent.
func (e *encoder) count(n, _ int) int {
	e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(n))
	return n
}

func (e *encoder) string(p *string) {
	e.count(len(*p), 1)
	e.buf = append(e.buf, *p...)
}

func (e *encoder) strings(p *[]string) {
	e.count(len(*p), minStringSize)
	for i := range *p {
		e.string(&(*p)[i])
	}
}

func (e *encoder) uint32s(p *[]uint32) {
	e.count(len(*p), 4)
	for i := range *p {
		e.uint32(&(*p)[i])
	}
}

// minStringSize is the encoded size of an empty string.
const minStringSize = 4

// What a decoder finds wrong with the inside of a frame.
var (
	errShort   = errors.New("proto: message ends early")
	errBool    = errors.New("proto: boolean is neither 0 nor 1")
	errCount   = errors.New("proto: list is longer than its message")
	errExcess  = errors.New("proto: bytes after the last field")
	errVersion = errors.New("proto: another version of the protocol")
	errKind    = errors.New("proto: unknown kind of message")
)

// decoder takes fields from the front of buf. After the first error every
// field decodes to its zero value.
type decoder struct {
	buf []byte
	err error
}

func (d *decoder) decoding() bool { return true }

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.buf = nil
}

// take returns the next n bytes, or nil after an error.
func (d *decoder) take(n int) []byte {
	if d.err != nil || n > len(d.buf) {
		d.fail(errShort)
		return nil
	}
	b := d.buf[:n]
	d.buf = d.buf[n:]
	return b
}

func (d *decoder) bool(p *bool) {
	var b uint8
	d.uint8(&b)
	if b > 1 {
		d.fail(errBool)
	}
	*p = b == 1
}

func (d *decoder) uint8(p *uint8) {
	if b := d.take(1); b != nil {
		*p = b[0]
	}
}

func (d *decoder) uint16(p *uint16) {
	if b := d.take(2); b != nil {
		*p = binary.BigEndian.Uint16(b)
	}
}

func (d *decoder) uint32(p *uint32) {
	if b := d.take(4); b != nil {
		*p = binary.BigEndian.Uint32(b)
	}
}

func (d *decoder) uint64(p *uint64) {
	if b := d.take(8); b != nil {
		*p = binary.BigEndian.Uint64(b)
	}
}

func (d *decoder) int64(p *int64) {
	var u uint64
	d.uint64(&u)
	*p = int64(u)
}

func (d *decoder) count(_, elemSize int) int {
	var n uint32
	d.uint32(&n)
	if uint64(n)*uint64(elemSize) > uint64(len(d.buf)) {
		d.fail(errCount)
		return 0
	}
	return int(n)
}

func (d *decoder) string(p *string) {
	*p = string(d.take(d.count(0, 1)))
}

func (d *decoder) strings(p *[]string) {
	*p = makeList[string](d.count(0, minStringSize))
	for i := range *p {
		d.string(&(*p)[i])
	}
}

func (d *decoder) uint32s(p *[]uint32) {
	*p = makeList[uint32](d.count(0, 4))
	for i := range *p {
		d.uint32(&(*p)[i])
	}
}
