package kvm

import (
	"runtime"
	"unsafe"

	"github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"
)

// ioctlPtr issues an ioctl whose argument points at *arg, and keeps arg alive
// until the kernel has returned.
func ioctlPtr[T any](fd int, op uintptr, arg *T) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), op, uintptr(unsafe.Pointer(arg)))
	runtime.KeepAlive(arg)
	if errno != 0 {
		return int(n), errno
	}
	return int(n), nil
}

// ioctlBytes issues an ioctl whose argument is a byte buffer (struct kvm_xsave).
func ioctlBytes(fd int, op uintptr, buf []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), op, uintptr(unsafe.Pointer(unsafe.SliceData(buf))))
	runtime.KeepAlive(buf)
	if errno != 0 {
		return errno
	}
	return nil
}

// runData overlays struct kvm_run on the mmapped vCPU page, so that an exit
// is decoded without a copy.
func runData(page []byte) *kvm.RunData {
	return (*kvm.RunData)(unsafe.Pointer(unsafe.SliceData(page)))
}

// exitDataOffset is where the exit union starts in struct kvm_run.
const exitDataOffset = unsafe.Offsetof(kvm.RunData{}.Data)

const (
	sizeofIRQFD      = unsafe.Sizeof(irqfd{})
	sizeofIOEventFD  = unsafe.Sizeof(ioeventfd{})
	sizeofListHeader = 8 // of kvm_msrs and kvm_cpuid2; the flexible array does not count in the ioctl number
	sizeofXSAVE      = 4096
)

// addressOf gives the host virtual address of a memory slot's backing.
func addressOf(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }
