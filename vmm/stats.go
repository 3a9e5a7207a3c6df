package vmm

import (
	"fmt"

	"github.com/clearrun/clearrun/virtio"
	"github.com/clearrun/clearrun/vmm/kvm"
)

// Stats is what a machine has done so far.
type Stats struct {
	Exits        map[string]uint64 // to the monitor, by reason
	Devices      map[string]uint64 // of these, port and MMIO accesses by device
	KVM          map[string]uint64 // KVM's own statistics: "vm.NAME", and "vcpu.NAME" over all vCPUs
	Instructions uint64            // emulated by KVM, on all vCPUs; 0 where not counted
	Copied       uint64            // bytes of kernel and initramfs copied, not mapped
}

// insnEmulation is KVM's counter of emulated instructions: on a PVM host, all
// that the guest's kernel executes.
const insnEmulation = "insn_emulation"

// irqInjections is KVM's counter of interrupts that the guest was given.
const irqInjections = "irq_injections"

// Stats may be called at any time before Close.
func (m *Machine) Stats() Stats {
	s := Stats{
		Exits: map[string]uint64{}, Devices: m.bus.exits(), KVM: map[string]uint64{},
		Instructions: m.Instructions(), Copied: m.copied,
	}
	m.stats.AddTo(s.KVM, "vm.")
	for _, v := range m.vcpus {
		v.stats.AddTo(s.KVM, "vcpu.")
		for reason := range v.exits {
			if n := v.exits[reason].Load(); n > 0 {
				s.Exits[kvm.ExitReason(reason).String()] += n
			}
		}
	}
	return s
}

// Instructions is how many guest instructions KVM has emulated so far.
func (m *Machine) Instructions() uint64 { return m.sum(insnEmulation) }

// Interrupts is how many interrupts the guest has taken so far.
func (m *Machine) Interrupts() uint64 { return m.sum(irqInjections) }

// sum adds a counter up over all vCPUs.
func (m *Machine) sum(counter string) uint64 {
	var sum uint64
	for _, v := range m.vcpus {
		if v.stats == nil {
			continue
		}
		if n, ok := v.stats.Value(counter); ok {
			sum += n
		}
	}
	return sum
}

// deviceName is what exits of a virtio device are counted under.
func deviceName(id uint32) string {
	switch id {
	case virtio.IDBlock:
		return "virtio block"
	case virtio.IDVsock:
		return "virtio vsock"
	case virtio.IDEntropy:
		return "virtio entropy"
	}
	return fmt.Sprintf("virtio device %d", id)
}
