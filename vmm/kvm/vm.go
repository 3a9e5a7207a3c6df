package kvm

import (
	"fmt"
	"os"

	"github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"
)

// VM is one virtual machine: memory slots, an in-kernel interrupt controller
// and event wiring.
type VM struct {
	file      *os.File
	runSize   int
	xsaveSize int
	slots     uint32
}

// NewVM creates a VM without memory and interrupt controllers. tssGPA is the first of three
// pages that Intel hosts use for real mode (4.35), identityGPA the page above which they keep
// its page table (4.42).
func (s *System) NewVM(tssGPA uint32, identityGPA uint64) (*VM, error) {
	fd, err := kvm.CreateVM(s.file.Fd())
	if err != nil {
		return nil, fmt.Errorf("create VM: %w", err)
	}
	vm := &VM{file: os.NewFile(fd, "kvm-vm")}
	if err := vm.init(s, tssGPA, identityGPA); err != nil {
		vm.file.Close()
		return nil, err
	}
	return vm, nil
}

func (vm *VM) init(s *System, tssGPA uint32, identityGPA uint64) error {
	unix.CloseOnExec(vm.fd())
	size, err := kvm.GetVCPUMMmapSize(s.file.Fd())
	if err != nil {
		return fmt.Errorf("get vCPU mmap size: %w", err)
	}
	vm.runSize = int(size)
	vm.xsaveSize = sizeofXSAVE
	if n, _, errno := unix.Syscall(unix.SYS_IOCTL, vm.file.Fd(), kvm.IIO(nrCheckExtension), capXSAVE2); errno == 0 && int(n) > sizeofXSAVE {
		vm.xsaveSize = int(n)
	}
	if err := kvm.SetTSSAddr(vm.file.Fd(), tssGPA); err != nil {
		return fmt.Errorf("set TSS address: %w", err)
	}
	if _, err := ioctlPtr(vm.fd(), kvm.IIOW(nrSetIdentityMap, 8), &identityGPA); err != nil {
		return fmt.Errorf("set identity map address: %w", err)
	}
	return nil
}

// AddInterruptControllers adds the in-kernel PIC, IOAPIC and LAPICs (4.24, KVM_CREATE_IRQCHIP).
// From here on the kernel makes AddMemory wait some milliseconds (for a grace period of SRCU).
func (vm *VM) AddInterruptControllers() error {
	if err := kvm.CreateIRQChip(vm.file.Fd()); err != nil {
		return fmt.Errorf("create interrupt controllers: %w", err)
	}
	return nil
}

func (vm *VM) fd() int { return int(vm.file.Fd()) }

// AddMemory makes host memory visible to the guest at gpa (4.35,
// KVM_SET_USER_MEMORY_REGION). Both must be page aligned, and the memory must
// outlive the VM.
func (vm *VM) AddMemory(gpa uint64, host []byte) error {
	r := &kvm.UserspaceMemoryRegion{
		Slot: vm.slots, GuestPhysAddr: gpa, MemorySize: uint64(len(host)), UserspaceAddr: addressOf(host),
	}
	if err := kvm.SetUserMemoryRegion(vm.file.Fd(), r); err != nil {
		return fmt.Errorf("add memory slot %d, %d bytes at %#x: %w", vm.slots, len(host), gpa, err)
	}
	vm.slots++
	return nil
}

// AssignIRQ raises interrupt line gsi once for each write to the eventfd
// (4.75, KVM_IRQFD), edge triggered.
func (vm *VM) AssignIRQ(eventfd *os.File, gsi uint32) error {
	_, err := ioctlPtr(vm.fd(), kvm.IIOW(nrIRQFD, sizeofIRQFD), &irqfd{fd: uint32(eventfd.Fd()), gsi: gsi})
	if err != nil {
		return fmt.Errorf("assign irqfd to GSI %d: %w", gsi, err)
	}
	return nil
}

// AssignNotify signals the eventfd, without an exit to the monitor, when the
// guest writes the 32-bit value match to gpa (4.59, KVM_IOEVENTFD).
func (vm *VM) AssignNotify(eventfd *os.File, gpa uint64, match uint32) error {
	e := &ioeventfd{datamatch: uint64(match), addr: gpa, length: 4, fd: int32(eventfd.Fd()), flags: ioeventfdDatamatch}
	if _, err := ioctlPtr(vm.fd(), kvm.IIOW(nrIOEventFD, sizeofIOEventFD), e); err != nil {
		return fmt.Errorf("assign ioeventfd at %#x for value %d: %w", gpa, match, err)
	}
	return nil
}

// Close releases the VM. Its vCPUs must be closed before.
func (vm *VM) Close() error { return vm.file.Close() }
