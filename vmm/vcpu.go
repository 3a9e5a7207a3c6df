package vmm

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	gokvm "github.com/bobuhiro11/gokvm/kvm"

	"github.com/clearrun/clearrun/vmm/boot"
	"github.com/clearrun/clearrun/vmm/kvm"
)

// VCPU runs one virtual processor and hands its exits to the bus.
type VCPU struct {
	kvm   *kvm.VCPU
	bus   *Bus
	pvm   *pvm       // nil on hosts with hardware virtualization
	stats *kvm.Stats // nil where the kernel offers none
	exits [exitKinds]atomic.Uint64

	onSample func(Sample) // nil: no samples are taken
	wanted   atomic.Bool  // a sample is
}

// exitKinds is one more than the highest exit reason that is counted apart.
const exitKinds = 40

// ErrCrashed is the guest's triple fault: it can run no instruction more.
var ErrCrashed = errors.New("guest crashed (triple fault)")

// addVCPUs makes the vCPUs. hostCPUID it asks as late as it can.
func (m *Machine) addVCPUs(hostCPUID func() ([]gokvm.CPUIDEntry2, error)) error {
	for id := range m.cfg.VCPUs {
		k, err := m.vm.NewVCPU(id)
		if err != nil {
			return err
		}
		v := &VCPU{kvm: k, bus: m.bus, onSample: m.cfg.OnSample}
		m.vcpus = append(m.vcpus, v)
		if m.cfg.measured() {
			v.stats, _ = k.Stats() // absent before Linux 5.14: counts are then 0
		}
		supported, err := hostCPUID()
		if err != nil {
			return err
		}
		if m.cfg.Host == kvm.PVM {
			v.pvm = newPVM(k, m.mem, supported)
		}
		if err := k.SetCPUID(guestCPUID(supported, id, m.cfg.VCPUs)); err != nil {
			return fmt.Errorf("set CPUID of vCPU %d: %w", id, err)
		}
	}
	return nil
}

// setEntry makes the first vCPU start at the kernel's 64-bit entry. The others
// wait for the kernel to send them INIT and SIPI.
func (v *VCPU) setEntry(entry uint64) error {
	s, err := v.kvm.SpecialRegisters()
	if err != nil {
		return fmt.Errorf("get special registers: %w", err)
	}
	boot.SetEntryState(s)
	if err := v.kvm.SetSpecialRegisters(s); err != nil {
		return fmt.Errorf("set special registers: %w", err)
	}
	if err := v.kvm.SetRegisters(boot.EntryRegisters(entry)); err != nil {
		return fmt.Errorf("set registers: %w", err)
	}
	return nil
}

// loop runs the vCPU on a thread of its own until ctx ends or it cannot go on.
func (v *VCPU) loop(ctx context.Context) error {
	runtime.LockOSThread()
	for ctx.Err() == nil {
		reason, err := v.kvm.Run()
		if err != nil {
			return err
		}
		if int(reason) < exitKinds {
			v.exits[reason].Add(1)
		}
		if err := v.handle(reason); err != nil {
			return fmt.Errorf("vCPU %d: %w", v.kvm.ID, err)
		}
	}
	return nil
}

// handle serves one exit. An error ends the VM.
func (v *VCPU) handle(reason kvm.ExitReason) error {
	switch reason {
	case kvm.ExitMMIO:
		e := v.kvm.MMIO()
		v.bus.MMIO(e.Addr, e.Data, e.Write)
	case kvm.ExitIO:
		e := v.kvm.IO()
		v.bus.Port(e.Port, e.Size, e.Data, e.Write)
	case kvm.ExitIntr:
		return v.takeSample()
	case kvm.ExitHLT:
	case kvm.ExitShutdown:
		return ErrCrashed
	case kvm.ExitSystemEvent:
		return ErrPoweredOff
	case kvm.ExitFailEntry:
		return fmt.Errorf("the processor refused the guest's state (reason %#x)", v.kvm.FailEntryReason())
	case kvm.ExitInternalError:
		return v.internalError()
	default:
		return fmt.Errorf("unexpected exit: %v", reason)
	}
	return nil
}

// internalError serves what KVM could not emulate, which is normal on a PVM
// host and fatal elsewhere.
func (v *VCPU) internalError() error {
	e := v.kvm.InternalError()
	if v.pvm != nil && e.Suberror == kvm.SuberrorEmulation {
		handled, err := v.pvm.emulate(e.Instruction)
		if handled || err != nil {
			return err
		}
	}
	where := ""
	if r, err := v.kvm.Registers(); err == nil {
		where = fmt.Sprintf(" at guest address %#x", r.RIP)
	}
	return fmt.Errorf("KVM internal error %d%s, instruction % x", e.Suberror, where, e.Instruction)
}
