package kvm

import (
	"fmt"
	"os"
	"sync/atomic"

	"github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"
)

// VCPU is one virtual processor. All methods but Kick belong to the one OS
// thread that calls Run.
type VCPU struct {
	ID   int
	file *os.File
	page []byte       // struct kvm_run, shared with the kernel
	run  *kvm.RunData // the same page, typed
	tid  atomic.Int32 // the thread in Run, 0 outside it

	xsaveSize int
}

// NewVCPU creates vCPU id (4.7); its LAPIC ID is id.
func (vm *VM) NewVCPU(id int) (*VCPU, error) {
	fd, err := kvm.CreateVCPU(vm.file.Fd(), id)
	if err != nil {
		return nil, fmt.Errorf("create vCPU %d: %w", id, err)
	}
	file := os.NewFile(fd, fmt.Sprintf("kvm-vcpu:%d", id))
	unix.CloseOnExec(int(fd))
	page, err := unix.Mmap(int(fd), 0, vm.runSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("map vCPU %d: %w", id, err)
	}
	return &VCPU{ID: id, file: file, page: page, run: runData(page), xsaveSize: vm.xsaveSize}, nil
}

// Run enters the guest until the next exit (4.10, KVM_RUN). ExitIntr means
// that a signal or Kick interrupted it.
func (v *VCPU) Run() (ExitReason, error) {
	v.tid.Store(int32(unix.Gettid()))
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, v.file.Fd(), kvm.IIO(nrRun), 0)
	v.tid.Store(0)
	switch errno {
	case 0:
		return ExitReason(v.run.ExitReason), nil
	case unix.EINTR, unix.EAGAIN:
		v.run.ImmediateExit = 0
		return ExitIntr, nil
	}
	return ExitUnknown, fmt.Errorf("run vCPU %d: %w", v.ID, errno)
}

// Kick makes a current or the next Run return ExitIntr. It may be called from
// any goroutine. SIGURG is used since the Go runtime already handles it.
func (v *VCPU) Kick() {
	v.run.ImmediateExit = 1
	if tid := v.tid.Load(); tid != 0 {
		_ = unix.Tgkill(unix.Getpid(), int(tid), unix.SIGURG)
	}
}

// Registers is KVM_GET_REGS (4.11).
func (v *VCPU) Registers() (*kvm.Regs, error) { return kvm.GetRegs(v.file.Fd()) }

// SetRegisters is KVM_SET_REGS (4.12).
func (v *VCPU) SetRegisters(r *kvm.Regs) error { return kvm.SetRegs(v.file.Fd(), r) }

// SpecialRegisters is KVM_GET_SREGS (4.13).
func (v *VCPU) SpecialRegisters() (*kvm.Sregs, error) { return kvm.GetSregs(v.file.Fd()) }

// SetSpecialRegisters is KVM_SET_SREGS (4.14).
func (v *VCPU) SetSpecialRegisters(s *kvm.Sregs) error { return kvm.SetSregs(v.file.Fd(), s) }

// Events is KVM_GET_VCPU_EVENTS (4.31).
func (v *VCPU) Events() (*kvm.VCPUEvents, error) {
	e := &kvm.VCPUEvents{}
	return e, kvm.GetVCPUEvents(v.file.Fd(), e)
}

// SetEvents is KVM_SET_VCPU_EVENTS (4.32).
func (v *VCPU) SetEvents(e *kvm.VCPUEvents) error { return kvm.SetVCPUEvents(v.file.Fd(), e) }

// SetCPUID is KVM_SET_CPUID2 (4.44).
func (v *VCPU) SetCPUID(entries []kvm.CPUIDEntry2) error {
	c := &cpuidList{n: uint32(len(entries))}
	if copy(c.entries[:], entries) < len(entries) {
		return fmt.Errorf("%d CPUID entries, at most %d", len(entries), maxCPUIDEntries)
	}
	_, err := ioctlPtr(int(v.file.Fd()), kvm.IIOW(nrSetCPUID2, sizeofListHeader), c)
	return err
}

// ExtendedControl reads XCR0 by KVM_GET_XCRS (4.39).
func (v *VCPU) ExtendedControl() (uint64, error) {
	x := &kvm.XCRS{}
	if err := kvm.GetXCRS(v.file.Fd(), x); err != nil {
		return 0, err
	}
	for _, r := range x.Registers[:min(int(x.NrXRCS), len(x.Registers))] {
		if r.XRC == 0 {
			return r.Value, nil
		}
	}
	return 0, fmt.Errorf("vCPU %d has no XCR0", v.ID)
}

// SetExtendedControl writes XCR0 by KVM_SET_XCRS (4.40).
func (v *VCPU) SetExtendedControl(xcr0 uint64) error {
	x := &kvm.XCRS{NrXRCS: 1}
	x.Registers[0].Value = xcr0
	return kvm.SetXCRS(v.file.Fd(), x)
}

// XSAVESize is the length in bytes of the vCPU's extended state.
func (v *VCPU) XSAVESize() int { return v.xsaveSize }

// XSAVE reads the extended state in XSAVE standard format into buf, which is
// XSAVESize long (4.42, KVM_GET_XSAVE2).
func (v *VCPU) XSAVE(buf []byte) error {
	return ioctlBytes(int(v.file.Fd()), kvm.IIOR(nrGetXSAVE2, sizeofXSAVE), buf)
}

// SetXSAVE writes the extended state (4.43, KVM_SET_XSAVE).
func (v *VCPU) SetXSAVE(buf []byte) error {
	return ioctlBytes(int(v.file.Fd()), kvm.IIOW(nrSetXSAVE, sizeofXSAVE), buf)
}

// SetMSRs is KVM_SET_MSRS (4.19); that the kernel took all of them is checked.
func (v *VCPU) SetMSRs(msrs []MSR) error {
	if len(msrs) > maxMSRs {
		return fmt.Errorf("set %d MSRs at once, at most %d", len(msrs), maxMSRs)
	}
	l := &msrList{n: uint32(len(msrs))}
	copy(l.entries[:], msrs)
	n, err := ioctlPtr(int(v.file.Fd()), kvm.IIOW(nrSetMSRs, sizeofListHeader), l)
	if err != nil {
		return fmt.Errorf("set MSRs: %w", err)
	}
	if n != len(msrs) {
		return fmt.Errorf("set MSR %#x: refused by the kernel", msrs[n].Index)
	}
	return nil
}

// TSCKHz is the guest's time-stamp counter frequency (4.56).
func (v *VCPU) TSCKHz() (uint64, error) { return kvm.GetTSCKHz(v.file.Fd()) }

// Translate gives the guest-physical address of a linear one under the vCPU's
// current paging mode (4.19, KVM_TRANSLATE); ok is false where none is mapped.
func (v *VCPU) Translate(linear uint64) (gpa uint64, ok bool, err error) {
	t := &kvm.Translation{LinearAddress: linear}
	if err := kvm.Translate(v.file.Fd(), t); err != nil {
		return 0, false, fmt.Errorf("translate %#x: %w", linear, err)
	}
	return t.PhysicalAddress, t.Valid != 0, nil
}

// Close releases the vCPU. Run must have returned for good.
func (v *VCPU) Close() error {
	if v.page != nil {
		_ = unix.Munmap(v.page)
		v.page, v.run = nil, nil
	}
	return v.file.Close()
}
