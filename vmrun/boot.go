package vmrun

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/clearrun/clearrun/attach"
	"github.com/clearrun/clearrun/vmm/launch"
	"github.com/clearrun/clearrun/vmrun/bundle"
)

// BootOptions say what Boot boots.
type BootOptions struct {
	// Bundle holds the monitor, and the guest for what is not given below.
	Bundle *bundle.Bundle
	// Kernel is an uncompressed vmlinux; nil: the bundle's own, with its initramfs.
	Kernel *os.File
	// Initramfs is nil for none, or for the bundle's own with its own kernel.
	Initramfs *os.File
	CmdLine   string
	Memory    uint64 // bytes; 0: DefaultMemory
	CPUs      int    // 0: DefaultCPUs
	Console   *os.File
	// StopAt ends the VM when the guest writes this mark; 0: it ends by itself.
	StopAt uint8
	// OnSample is told where each vCPU is, every SampleEvery, from one goroutine; nil:
	// nobody is. It slows the guest down.
	OnSample    func(launch.Sample)
	SampleEvery time.Duration
}

// Boot boots a kernel without an image, for measuring, and gives the monitor's
// report. The VM has a vsock device, on which nobody answers, and an entropy
// source. When ctx ends, so does the VM, with context.Cause(ctx) as the error.
func Boot(ctx context.Context, o BootOptions) (launch.Report, error) {
	// The monitor dies with the thread that started it (PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var samples sampling
	m, err := startMonitor(o.Bundle, func(l *launcher, cfg *launch.Config) error {
		if err := samples.configure(l, cfg, o); err != nil {
			return err
		}
		return o.configure(l, cfg)
	})
	if err != nil {
		samples.close()
		return launch.Report{}, err
	}
	samples.collect(o.OnSample)
	defer samples.close()
	defer m.kill() // and with it the other end of samples
	select {
	case <-m.waited:
	case <-ctx.Done():
		return launch.Report{}, context.Cause(ctx)
	}
	r, err := m.report()
	if err != nil {
		return r, fmt.Errorf("the VM's monitor ended unexpectedly (%v)%s", m.status(), m.stderr.suffix())
	}
	if r.Outcome != launch.Reached && r.Outcome != launch.PoweredOff {
		return r, fmt.Errorf("the VM %s: %s", r.Outcome, attach.Printable(r.Error))
	}
	return r, nil
}

func (o BootOptions) configure(l *launcher, cfg *launch.Config) error {
	if o.Kernel == nil {
		if err := l.ownGuest(cfg, o.Bundle); err != nil {
			return err
		}
	}
	for file, section := range map[*os.File]*launch.Section{o.Kernel: &cfg.Kernel, o.Initramfs: &cfg.Initramfs} {
		if file == nil {
			continue
		}
		info, err := file.Stat()
		if err != nil {
			return err
		}
		*section = launch.Section{FD: l.pass(file), Size: info.Size()}
	}
	size(cfg, o.Memory, o.CPUs)
	cfg.CmdLine, cfg.Marks, cfg.StopAt = o.CmdLine, true, o.StopAt
	if o.Console != nil {
		cfg.Console = l.pass(o.Console)
	}
	return nil
}
