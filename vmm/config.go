package vmm

import (
	"fmt"
	"io"
	"time"

	"github.com/clearrun/clearrun/virtio"
	"github.com/clearrun/clearrun/vmm/boot"
	"github.com/clearrun/clearrun/vmm/guestmem"
	"github.com/clearrun/clearrun/vmm/kvm"
)

// Limits of a machine.
const (
	MinMemory = 64 << 20
	MaxMemory = 64 << 30
	MaxVCPUs  = 32
)

// Config is what a machine is built from. Machine.Close closes the devices;
// the files stay the caller's.
type Config struct {
	KVM    *kvm.System
	Host   kvm.Host // what kind of KVM it is
	Memory uint64   // bytes, a multiple of 1 MiB
	VCPUs  int

	Kernel    boot.Section
	Initramfs boot.Section // Size 0: none
	// CmdLine is put behind what the machine itself tells the kernel.
	CmdLine string

	// Devices get the virtio-mmio slots of package guestmem in this order.
	Devices []virtio.Device
	// Console receives what the guest writes to its serial port. Nil: the kernel
	// writes only errors, and Machine.LastWords keeps the end of it.
	Console io.Writer
	// OnDeviceFailure is told why a device needs a reset; nil: nobody is.
	OnDeviceFailure func(error)
	// OnMark is called on the vCPU's thread for each byte that the guest
	// writes to the stop-watch's port or page; nil: both are absent.
	OnMark func(mark byte)
	// OnSample is told every SampleEvery where each vCPU is, on that vCPU's thread;
	// nil: nobody is. The vCPU leaves the guest for it.
	OnSample    func(Sample)
	SampleEvery time.Duration
}

// measured reports whether KVM's statistics are wanted.
func (c *Config) measured() bool { return c.OnMark != nil || c.OnSample != nil }

func (c *Config) validate() error {
	switch {
	case c.KVM == nil:
		return fmt.Errorf("no KVM given")
	case c.Memory < MinMemory || c.Memory > MaxMemory || c.Memory%(1<<20) != 0:
		return fmt.Errorf("memory of %d bytes: want whole MiB from 64M to 64G", c.Memory)
	case c.VCPUs < 1 || c.VCPUs > MaxVCPUs:
		return fmt.Errorf("%d vCPUs: want 1 to %d", c.VCPUs, MaxVCPUs)
	case c.VCPUs > c.KVM.MaxVCPUs():
		return fmt.Errorf("%d vCPUs: this host's KVM allows %d", c.VCPUs, c.KVM.MaxVCPUs())
	case c.OnSample != nil && c.SampleEvery <= 0:
		return fmt.Errorf("a sample every %v: want more than 0", c.SampleEvery)
	case len(c.Devices) > guestmem.VirtioMMIOMax:
		return fmt.Errorf("%d virtio devices: at most %d", len(c.Devices), guestmem.VirtioMMIOMax)
	}
	return nil
}
