package vmrun

import (
	"bufio"
	"fmt"
	"os"
	"sync"

	"github.com/clearrun/clearrun/vmm/launch"
)

// sampling receives a monitor's samples. The zero value has none.
type sampling struct {
	pipe    *os.File // read end; nil: none
	reading sync.WaitGroup
}

// configure makes the monitor send samples, if they are wanted.
func (s *sampling) configure(l *launcher, cfg *launch.Config, o BootOptions) error {
	if o.OnSample == nil {
		return nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("create sample pipe: %w", err)
	}
	s.pipe = r
	cfg.Samples, cfg.SampleEvery = l.pass(l.own(w)), o.SampleEvery
	return nil
}

// collect passes all samples on until the monitor's end.
func (s *sampling) collect(onSample func(launch.Sample)) {
	if s.pipe == nil {
		return
	}
	s.reading.Go(func() {
		in := bufio.NewReader(s.pipe)
		for {
			sample, err := launch.ReadSample(in)
			if err != nil {
				return
			}
			onSample(sample)
		}
	})
}

// close waits for the last sample. The monitor must have ended.
func (s *sampling) close() {
	if s.pipe != nil {
		s.reading.Wait()
		s.pipe.Close()
	}
}
