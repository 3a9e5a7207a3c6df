package vmrun

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"sync"
)

// records receives what a monitor sends while its VM runs, such as samples. The zero
// value receives nothing.
type records[T any] struct {
	pipe    *os.File // read end; nil: none
	reading sync.WaitGroup
}

// open gives the descriptor on which the monitor sends.
func (s *records[T]) open(l *launcher) (fd int, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("create pipe: %w", err)
	}
	s.pipe = r
	return l.pass(l.own(w)), nil
}

// collect passes all records on until the monitor's end.
func (s *records[T]) collect(read func(io.Reader) (T, error), on func(T)) {
	if s.pipe == nil {
		return
	}
	s.reading.Go(func() {
		in := bufio.NewReader(s.pipe)
		for {
			record, err := read(in)
			if err != nil {
				return
			}
			on(record)
		}
	})
}

// close waits for the last record. The monitor must have ended.
func (s *records[T]) close() {
	if s.pipe != nil {
		s.reading.Wait()
		s.pipe.Close()
	}
}
