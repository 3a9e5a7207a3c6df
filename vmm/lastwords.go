package vmm

import "sync"

// lastWordsMax bounds what is kept of a guest's console, in bytes.
const lastWordsMax = 1 << 10

// lastWords is the console of a guest whose messages nobody asked to see. It keeps the
// end of what the kernel says, so that a panic can be told from a power-off.
type lastWords struct {
	mu   sync.Mutex // any vCPU may write
	ring [lastWordsMax]byte
	n    int // bytes written, but not so many that the count grows for ever
}

// Write takes the bytes of p into the ring.
func (l *lastWords) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range p {
		l.ring[l.n%lastWordsMax] = b
		if l.n++; l.n == 2*lastWordsMax {
			l.n = lastWordsMax
		}
	}
	return len(p), nil
}

// String gives what is kept, oldest byte first.
func (l *lastWords) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n <= lastWordsMax {
		return string(l.ring[:l.n])
	}
	at := l.n % lastWordsMax
	return string(l.ring[at:]) + string(l.ring[:at])
}
