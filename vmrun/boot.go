package vmrun

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/attach"
	"github.com/clearrun/clearrun/guest/proto"
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
	// OnLine is told each line of the guest's console, from one goroutine; nil: nobody
	// is, and without Console the guest has none.
	OnLine func(launch.Line)
	// App is run by clearrun's own guest; nil: nobody answers on the VM's vsock device.
	App *BootApp
}

// BootApp is an app that belongs to clearrun itself, and so needs no verdict.
type BootApp struct {
	Root    *os.File
	Disk    launch.Disk // where the parts of Root are; its FD does not count
	Command []string
}

// Boot boots a kernel without an image, for measuring, and gives the monitor's
// report. The VM has a vsock device and an entropy source, with App also a disk. When ctx
// ends, so does the VM, with context.Cause(ctx) as the error.
func Boot(ctx context.Context, o BootOptions) (launch.Report, error) {
	// The monitor dies with the thread that started it (PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := monotonic()
	var samples records[launch.Sample]
	var lines records[launch.Line]
	m, err := startMonitor(o.Bundle, unlabelled, func(l *launcher, cfg *launch.Config) (err error) {
		if o.OnSample != nil {
			if cfg.Samples, err = samples.open(l); err != nil {
				return err
			}
		}
		if o.OnLine != nil {
			if cfg.Lines, err = lines.open(l); err != nil {
				return err
			}
		}
		cfg.Began = began
		return o.configure(l, cfg)
	})
	if err != nil {
		samples.close()
		lines.close()
		return launch.Report{}, err
	}
	samples.collect(launch.ReadSample, o.OnSample)
	defer samples.close()
	lines.collect(launch.ReadLine, o.OnLine)
	defer lines.close()
	defer m.kill() // and with it the other ends of both
	said := o.App.serve(ctx, m)
	select {
	case <-m.waited:
	case <-ctx.Done():
		return launch.Report{}, context.Cause(ctx)
	}
	return o.judge(m, <-said)
}

// judge says whether a VM that has ended did what it was booted for.
func (o BootOptions) judge(m *monitor, said attach.Outcome) (launch.Report, error) {
	r, err := m.report()
	switch {
	case err != nil:
		return r, fmt.Errorf("the VM's monitor ended unexpectedly (%v)%s", m.status(), m.stderr.suffix())
	case r.Outcome != launch.Reached && r.Outcome != launch.PoweredOff:
		return r, fmt.Errorf("the VM %s: %s", r.Outcome, attach.Printable(r.Error))
	case said.Failure != nil:
		return r, fmt.Errorf("the guest could not run the app: %s", attach.Printable(said.Failure.Message))
	case r.Outcome == launch.PoweredOff && o.StopAt != 0:
		return r, fmt.Errorf("the guest powered off without having written mark %#x, where the run was to end%s", o.StopAt, lastWords(r.LastWords))
	case r.Outcome == launch.PoweredOff && o.App != nil && said.Exit == nil:
		return r, fmt.Errorf("the guest powered off without reporting the app's exit%s", lastWords(r.LastWords))
	}
	return r, nil
}

// serve tells the guest to run the app, and gives what it said last. Without an app,
// nothing is said.
func (a *BootApp) serve(ctx context.Context, m *monitor) <-chan attach.Outcome {
	said := make(chan attach.Outcome, 1)
	if a == nil {
		said <- attach.Outcome{}
		return said
	}
	start := &proto.Start{
		Args: a.Command, Dir: "/", User: "0", Group: "0", Stdin: true, Stdout: true, Stderr: true,
		Umask: 0o022, WallClock: time.Now().UnixNano(),
	}
	streams := attach.Streams{Stdout: io.Discard, Stderr: io.Discard}
	go func() { said <- attach.New(start, 0, streams, m.accept).Serve(ctx) }()
	return said
}

// monotonic is CLOCK_MONOTONIC in nanoseconds, which the monitor reads too.
func monotonic() int64 {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return 0
	}
	return now.Nano()
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
	cfg.CmdLine, cfg.Marks, cfg.StopAt, cfg.SampleEvery = o.CmdLine, true, o.StopAt, o.SampleEvery
	if o.App != nil {
		disk := o.App.Disk
		disk.FD = l.pass(o.App.Root)
		cfg.Root, cfg.Ports = &disk, guestPorts
	}
	l.console = o.Console
	return nil
}
