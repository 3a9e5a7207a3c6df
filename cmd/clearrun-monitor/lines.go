package main

import (
	"io"
	"os"
	"sync"

	"github.com/clearrun/clearrun/vmm/launch"
)

// lineTap cuts what the guest writes to its console into lines, notes when each began and
// ended, and sends them to clearrun, which must keep reading.
type lineTap struct {
	now  func() launch.Instant
	out  io.Writer // takes launch.Line
	copy io.Writer // takes the bytes as they are; nil: nobody does

	mu     sync.Mutex // vCPUs share the rest
	line   launch.Line
	record []byte
}

func newLineTap(fd int, tee io.Writer, now func() launch.Instant) *lineTap {
	return &lineTap{now: now, out: os.NewFile(uintptr(fd), "lines"), copy: tee}
}

// Write never fails: nothing in the guest depends on who watches.
func (t *lineTap) Write(p []byte) (int, error) {
	if t.copy != nil {
		_, _ = t.copy.Write(p)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range p {
		if len(t.line.Text) == 0 {
			t.line.First = t.now()
		}
		if b != '\n' {
			t.line.Text = append(t.line.Text, b)
		}
		if b == '\n' || len(t.line.Text) == launch.MaxLine {
			t.send()
		}
	}
	return len(p), nil
}

func (t *lineTap) send() {
	t.line.Last = t.now()
	t.record = t.line.Append(t.record[:0])
	_, _ = t.out.Write(t.record)
	t.line.Text = t.line.Text[:0]
}
