package proto

import (
	"encoding/binary"
	"errors"
	"io"
)

// MaxFrame bounds a message, in bytes without its length prefix.
const MaxFrame = 1 << 20

const (
	// version changes with every change of a message's fields. Host and guest come
	// from one build; the byte catches an initramfs that does not.
	version byte = 4

	lengthSize = 4 // the prefix
	headerSize = 2 // version and kind
)

// ErrTooLarge says that a message exceeds MaxFrame.
var ErrTooLarge = errors.New("proto: message exceeds 1 MiB")

// Read reads one message. The error is io.EOF only if the stream ends between
// two messages, and io.ErrUnexpectedEOF if it ends inside one.
func Read(r io.Reader) (Message, error) {
	var prefix [lengthSize]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(prefix[:])
	if n > MaxFrame {
		return nil, ErrTooLarge
	}
	body, err := readBody(r, int(n))
	if err != nil {
		return nil, err
	}
	return decode(body)
}

// readChunk is how much is allocated before the peer has sent it.
const readChunk = 64 << 10

// readBody reads n bytes, growing the buffer only as they arrive: the reader may be
// a host that serves many guests, and the length is only a claim.
func readBody(r io.Reader, n int) ([]byte, error) {
	body := make([]byte, 0, min(n, readChunk))
	for len(body) < n {
		have := len(body)
		grown := min(n, max(readChunk, 2*have))
		if grown > cap(body) {
			body = append(make([]byte, 0, grown), body...)
		}
		body = body[:grown]
		if _, err := io.ReadFull(r, body[have:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return body, nil
}

// Write writes one message with a single call of w.Write.
func Write(w io.Writer, m Message) error {
	frame, err := Append(nil, m)
	if err != nil {
		return err
	}
	_, err = w.Write(frame)
	return err
}

// Append appends the frame of m to buf, for callers that own the buffer.
func Append(buf []byte, m Message) ([]byte, error) {
	start := len(buf)
	e := encoder{buf: append(buf, 0, 0, 0, 0, version, m.kind())}
	m.fields(&e)
	n := len(e.buf) - start - lengthSize
	if n > MaxFrame {
		return buf, ErrTooLarge
	}
	binary.BigEndian.PutUint32(e.buf[start:], uint32(n))
	return e.buf, nil
}

// decode turns the inside of one frame into a message.
func decode(body []byte) (Message, error) {
	if len(body) < headerSize {
		return nil, errShort
	}
	if body[0] != version {
		return nil, errVersion
	}
	m := newMessage(body[1])
	if m == nil {
		return nil, errKind
	}
	d := decoder{buf: body[headerSize:]}
	m.fields(&d)
	if d.err == nil && len(d.buf) > 0 {
		d.err = errExcess
	}
	if d.err != nil {
		return nil, d.err
	}
	return m, nil
}
