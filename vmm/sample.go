package vmm

import (
	"context"
	"fmt"
	"time"
)

// Sample says where a vCPU was.
type Sample struct {
	VCPU int
	RIP  uint64
	// Instructions is how many KVM had emulated for this vCPU by then; 0 where it does
	// not count them.
	Instructions uint64
}

// sample has each vCPU take a sample of itself, again and again, until ctx ends.
func (m *Machine) sample(ctx context.Context) {
	tick := time.NewTicker(m.cfg.SampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, v := range m.vcpus {
				v.wanted.Store(true)
				v.kvm.Kick()
			}
		}
	}
}

// takeSample is for the vCPU's own thread, outside of the guest.
func (v *VCPU) takeSample() error {
	if v.onSample == nil || !v.wanted.Swap(false) {
		return nil
	}
	r, err := v.kvm.Registers()
	if err != nil {
		return fmt.Errorf("get registers: %w", err)
	}
	s := Sample{VCPU: v.kvm.ID, RIP: r.RIP}
	if v.stats != nil {
		s.Instructions, _ = v.stats.Value(insnEmulation)
	}
	v.onSample(s)
	return nil
}
