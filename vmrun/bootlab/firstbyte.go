package bootlab

import (
	"errors"
	"os"
	"time"
)

// FirstByte waits for the first byte that a guest writes to its console, Payload's first
// instructions.
type FirstByte struct {
	// Console is to be the guest's console: the write end of a pipe.
	Console *os.File

	pipe *os.File
	at   chan time.Time // when it came; closed without
}

// WatchFirstByte begins to wait. The caller calls Since when the guest has ended.
func WatchFirstByte() (*FirstByte, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	f := &FirstByte{Console: w, pipe: r, at: make(chan time.Time, 1)}
	go func() {
		defer close(f.at)
		if n, _ := r.Read(make([]byte, 1)); n == 1 {
			f.at <- time.Now()
		}
	}()
	return f, nil
}

var errSilent = errors.New("the guest ran no instruction: nothing came on its console")

// Since is how long after began the byte came. It ends the wait.
func (f *FirstByte) Since(began time.Time) (time.Duration, error) {
	f.Console.Close()
	defer f.pipe.Close()
	at, ok := <-f.at
	if !ok {
		return 0, errSilent
	}
	return at.Sub(began), nil
}
