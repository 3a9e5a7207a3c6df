package virtio

import "io"

// DescriptorChain is one request of the driver: bytes to read, then room to
// write. It is valid until the next Pop of its queue.
type DescriptorChain struct {
	Reader Reader
	Writer Writer
	head   uint16
}

// Head identifies the chain to AddUsed.
func (c *DescriptorChain) Head() uint16 { return c.head }

// Readable is the number of device-readable bytes not read yet.
func (c *DescriptorChain) Readable() int { return c.Reader.Len() }

// Writable is the number of device-writable bytes not written yet.
func (c *DescriptorChain) Writable() int { return c.Writer.Len() }

// cursor walks over pieces of guest memory, none of them empty.
type cursor struct {
	pieces [][]byte
	left   int
}

func newCursor(pieces [][]byte) cursor {
	c := cursor{pieces: pieces}
	for _, p := range pieces {
		c.left += len(p)
	}
	return c
}

// Len is the number of bytes left.
func (c *cursor) Len() int { return c.left }

// advance drops the first n bytes, at most all.
func (c *cursor) advance(n int) int {
	n = min(n, c.left)
	c.left -= n
	for rest := n; rest > 0; {
		step := min(rest, len(c.pieces[0]))
		rest -= step
		if c.pieces[0] = c.pieces[0][step:]; len(c.pieces[0]) == 0 {
			c.pieces = c.pieces[1:]
		}
	}
	return n
}

// Reader reads the device-readable part of a chain. The driver may still
// change the bytes: what decides something is read once.
type Reader struct{ cursor }

var _ io.Reader = (*Reader)(nil)

// Read copies guest bytes into p; io.EOF at the end of the chain.
func (r *Reader) Read(p []byte) (int, error) {
	if r.left == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	total := 0
	for len(p) > 0 && r.left > 0 {
		n := copy(p, r.pieces[0])
		r.advance(n)
		p = p[n:]
		total += n
	}
	return total, nil
}

// Buffers gives the bytes not read yet in place, for writev. The slices are
// valid until the chain is used, the outer one until the next method.
func (r *Reader) Buffers() [][]byte { return r.pieces }

// Skip passes over n bytes, or what is left, and returns how many.
func (r *Reader) Skip(n int) int { return r.advance(n) }

// Writer writes the device-writable part of a chain and counts.
type Writer struct {
	cursor
	written int
}

var _ io.Writer = (*Writer)(nil)

// Write copies p to the guest; io.ErrShortWrite if the chain has less room.
func (w *Writer) Write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 && w.left > 0 {
		n := copy(w.pieces[0], p)
		w.Skip(n)
		p = p[n:]
		total += n
	}
	if len(p) > 0 {
		return total, io.ErrShortWrite
	}
	return total, nil
}

// Buffers gives the room not written yet in place, for readv; Skip then
// accounts for it. Lifetimes are those of Reader.Buffers.
func (w *Writer) Buffers() [][]byte { return w.pieces }

// Skip counts the next n bytes, or what is left, as written.
func (w *Writer) Skip(n int) int {
	n = w.advance(n)
	w.written += n
	return n
}

// Written is the number of bytes written or skipped: the length that AddUsed
// reports.
func (w *Writer) Written() int { return w.written }
