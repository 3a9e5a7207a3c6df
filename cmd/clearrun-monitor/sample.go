package main

import (
	"os"
	"sync"

	"github.com/clearrun/clearrun/vmm"
	"github.com/clearrun/clearrun/vmm/launch"
)

// sampler passes samples on to clearrun, which must keep reading: samples are asked for
// by whoever wants to know where time goes, and none may be lost.
func sampler(fd int) func(vmm.Sample) {
	out := os.NewFile(uintptr(fd), "samples")
	var mu sync.Mutex // vCPUs share record
	record := make([]byte, 0, launch.SampleSize)
	return func(s vmm.Sample) {
		mu.Lock()
		defer mu.Unlock()
		record = launch.Sample{VCPU: uint32(s.VCPU), RIP: s.RIP, Instructions: s.Instructions}.Append(record[:0])
		_, _ = out.Write(record) // whoever has closed the pipe wants no more
	}
}
