package kvm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"
)

// DevicePath is where the kernel offers KVM.
const DevicePath = "/dev/kvm"

// System is an open /dev/kvm.
type System struct {
	file *os.File
}

// Open opens /dev/kvm at path and checks that it speaks the stable API (4.1)
// and has what the monitor cannot do without. The error says what is missing
// and what would help.
func Open(path string) (*System, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist: load the kvm module (modprobe kvm_intel, kvm_amd or kvm_pvm) or enable virtualization in the firmware: %w", path, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("no permission to open %s: add your user to the group that owns it (often: usermod -aG kvm USER, then log in again): %w", path, err)
	case err != nil:
		return nil, err
	}
	s, err := NewSystem(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// NewSystem takes over an already open /dev/kvm.
func NewSystem(f *os.File) (*System, error) {
	s := &System{file: f}
	v, err := kvm.GetAPIVersion(f.Fd())
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("%s is another device than KVM's (%w): delete it, then load the KVM module again (kvm_intel, kvm_amd or kvm_pvm), which makes it", DevicePath, err)
	}
	if err != nil {
		return nil, fmt.Errorf("get KVM API version: %w", err)
	}
	if v != requiredAPIVersion {
		return nil, fmt.Errorf("KVM API version is %d, want %d", v, requiredAPIVersion)
	}
	for _, need := range []struct {
		cap  int
		name string
	}{
		{capIRQFD, "irqfd"}, {capIOEventFD, "ioeventfd"}, {capImmediateExit, "immediate_exit"}, {capXSAVE2, "XSAVE2"},
	} {
		if s.Extension(need.cap) == 0 && need.cap != capXSAVE2 {
			return nil, fmt.Errorf("this KVM lacks %s: use Linux 4.12 or later", need.name)
		}
	}
	return s, nil
}

// Extension is KVM_CHECK_EXTENSION (4.4): 0 means that the capability is absent.
func (s *System) Extension(capability int) int {
	n, err := kvm.CheckExtension(s.file.Fd(), kvm.Capability(capability))
	if err != nil {
		return 0
	}
	return int(n)
}

// MaxVCPUs is how many vCPUs one VM may have on this host.
func (s *System) MaxVCPUs() int { return max(s.Extension(capMaxVCPUs), 1) }

// SupportedCPUID is KVM_GET_SUPPORTED_CPUID (4.46).
func (s *System) SupportedCPUID() ([]kvm.CPUIDEntry2, error) {
	c := &cpuidList{n: maxCPUIDEntries}
	if _, err := ioctlPtr(int(s.file.Fd()), kvm.IIOWR(nrGetCPUID, sizeofListHeader), c); err != nil {
		return nil, fmt.Errorf("get supported CPUID: %w", err)
	}
	return c.entries[:c.n], nil
}

// Close closes /dev/kvm; VMs made from it live on.
func (s *System) Close() error { return s.file.Close() }
