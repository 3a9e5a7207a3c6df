package vsock

import "io"

// ring is a byte queue of at most windowSize bytes that allocates as it fills.
type ring struct {
	buf   []byte
	start int
	n     int
}

// fill appends n bytes of r. Preconditions: r has n bytes, and there is room
// for them.
func (q *ring) fill(r io.Reader, n int) error {
	q.grow(n)
	for n > 0 {
		at := (q.start + q.n) % len(q.buf)
		got, err := r.Read(q.buf[at:min(at+n, len(q.buf))])
		if err != nil {
			return err
		}
		q.n += got
		n -= got
	}
	return nil
}

// grow makes room for n more bytes. A slice that front gave out stays as it
// is.
func (q *ring) grow(n int) {
	size := max(len(q.buf), ringMin)
	for size < q.n+n {
		size *= 2
	}
	if size == len(q.buf) {
		return
	}
	buf := make([]byte, size)
	first := copy(buf, q.front())
	copy(buf[first:], q.buf[:q.n-first])
	q.buf, q.start = buf, 0
}

// front gives the first bytes, as many as lie together. They stay valid until
// advance.
func (q *ring) front() []byte {
	return q.buf[q.start:min(q.start+q.n, len(q.buf))]
}

// advance drops the first n bytes.
func (q *ring) advance(n int) {
	q.n -= n
	if q.start += n; q.start >= len(q.buf) {
		q.start -= len(q.buf)
	}
}
