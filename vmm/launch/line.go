package launch

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Line is a line of the guest's console, and when its first and its last byte came. The
// guest wrote it: it may be anything.
type Line struct {
	First, Last Instant
	Text        []byte // at most MaxLine bytes, without the line feed
}

// Instant is a point in a VM's life.
type Instant struct {
	Nanoseconds  int64  // since Config.Began
	Instructions uint64 // emulated by KVM so far; 0 where they are not counted
}

// MaxLine bounds a Line's text in bytes; a longer line comes in pieces.
const MaxLine = 512

// A line on its way, little-endian: First, Last, the text's length, the text.
const (
	lineHeader = 34
	lineTextAt = 32
)

// Append adds the line's bytes to b.
func (l Line) Append(b []byte) []byte {
	le := binary.LittleEndian
	text := l.Text[:min(len(l.Text), MaxLine)]
	for _, i := range []Instant{l.First, l.Last} {
		b = le.AppendUint64(b, uint64(i.Nanoseconds))
		b = le.AppendUint64(b, i.Instructions)
	}
	b = le.AppendUint16(b, uint16(len(text)))
	return append(b, text...)
}

// ReadLine reads the next line; io.EOF says that there is none.
func ReadLine(r io.Reader) (Line, error) {
	var h [lineHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return Line{}, err
	}
	le := binary.LittleEndian
	instant := func(b []byte) Instant { return Instant{int64(le.Uint64(b)), le.Uint64(b[8:])} }
	l := Line{First: instant(h[:]), Last: instant(h[16:])}
	n := le.Uint16(h[lineTextAt:])
	if n > MaxLine {
		return Line{}, fmt.Errorf("console line of %d bytes, more than %d", n, MaxLine)
	}
	l.Text = make([]byte, n)
	if _, err := io.ReadFull(r, l.Text); err != nil {
		return Line{}, io.ErrUnexpectedEOF
	}
	return l, nil
}
