package vsock

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestRing fills and empties a ring in random steps, across its end and while
// it grows, next to a buffer that cannot be wrong.
func TestRing(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	content := rand.NewChaCha8([32]byte{})
	for range 50 {
		var q ring
		var want bytes.Buffer
		for step := range 200 {
			p := make([]byte, rnd.IntN(min(windowSize-q.n, 100*(step+1))+1))
			content.Read(p)
			want.Write(p)
			if err := q.fill(bytes.NewReader(p), len(p)); err != nil {
				t.Fatal(err)
			}
			if q.n != want.Len() || len(q.buf) > windowSize {
				t.Fatalf("%d bytes in a buffer of %d, want %d", q.n, len(q.buf), want.Len())
			}
			held := q.front()
			if n := len(held); n == 0 && q.n > 0 || !bytes.Equal(held, want.Bytes()[:n]) {
				t.Fatalf("front of %d bytes is wrong", n)
			}
			drop := rnd.IntN(len(held) + 1)
			q.advance(drop)
			want.Next(drop)
		}
		for q.n > 0 {
			n := len(q.front())
			if !bytes.Equal(q.front(), want.Next(n)) {
				t.Fatal("rest is wrong")
			}
			q.advance(n)
		}
	}
	var q ring
	if len(q.front()) != 0 {
		t.Error("an empty ring has a front")
	}
	if err := q.fill(bytes.NewReader([]byte("short")), 6); err == nil {
		t.Error("filled with more than there was")
	}
}
