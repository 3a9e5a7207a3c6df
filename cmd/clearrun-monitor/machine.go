package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/virtio"
	"github.com/clearrun/clearrun/virtio/block"
	"github.com/clearrun/clearrun/virtio/rng"
	"github.com/clearrun/clearrun/virtio/vsock"
	"github.com/clearrun/clearrun/vmm"
	"github.com/clearrun/clearrun/vmm/boot"
	"github.com/clearrun/clearrun/vmm/kvm"
	"github.com/clearrun/clearrun/vmm/launch"
)

// sysModule is where the kernel lists its modules.
const sysModule = "/sys/module"

// run builds the VM, runs it to its end and says how that was.
func run(cfg *launch.Config, began time.Time) launch.Report {
	v := &vm{cfg: cfg, began: began, before: sinceStart(cfg.Began), ctx: context.Background()}
	v.setUp("process start")
	v.ctx, v.cancel = context.WithCancelCause(v.ctx)
	defer v.cancel(nil)
	err := v.run()
	r := launch.Report{Outcome: launch.Failed, Host: v.host.String(), Setup: v.steps, Marks: v.marks, Ended: v.elapsed()}
	var corrupt *corruptError
	switch {
	case errors.Is(err, vmm.ErrPoweredOff):
		r.Outcome = launch.PoweredOff
		err = nil
	case errors.Is(err, errReached):
		r.Outcome = launch.Reached
		err = nil
	case errors.As(err, &corrupt):
		r.Outcome = launch.Corrupt
	case errors.Is(err, vmm.ErrCrashed):
		r.Outcome = launch.Crashed
	}
	if err != nil {
		r.Error = err.Error()
	}
	r.Exits, r.Devices, r.KVM = v.stats.Exits, v.stats.Devices, v.stats.KVM
	r.Instructions, r.Copied = v.stats.Instructions, v.stats.Copied
	r.RSS, r.GuestRSS = v.rss, v.guestRSS
	if r.Outcome == launch.PoweredOff || r.Outcome == launch.Crashed {
		r.LastWords = v.lastWords
	}
	r.CPUTime = cpuTime()
	return r
}

// vm is one machine on its way from configuration to report.
type vm struct {
	cfg    *launch.Config
	began  time.Time
	before time.Duration // from clearrun's start on this monitor to began
	steps  []launch.Step
	ctx    context.Context
	cancel context.CancelCauseFunc
	host   kvm.Host

	mu    sync.Mutex // guards marks: any vCPU may write one
	marks []launch.Mark

	stats         vmm.Stats
	rss, guestRSS uint64
	lastWords     string
	machine       *vmm.Machine
}

// corruptError means that the root image is not what its hash tree says.
type corruptError struct {
	block uint64
	err   error
}

func (e *corruptError) Error() string { return fmt.Sprintf("block %d: %v", e.block, e.err) }

// errReached means that the guest has come to the mark to stop at.
var errReached = errors.New("mark reached")

// maxMarks bounds what a guest can make the monitor remember.
const maxMarks = 256

// run builds and runs the machine.
func (v *vm) run() error {
	// Everything under /proc and /sys that is needed later is opened now.
	v.host = kvm.DetectHost(sysModule)
	use := &usage{}
	if v.cfg.Marks {
		use = openUsage()
	}
	defer use.close()
	system, err := kvm.NewSystem(os.NewFile(uintptr(v.cfg.KVM), "kvm"))
	if err != nil {
		return fmt.Errorf("%s: %w", kvm.DevicePath, err)
	}
	defer system.Close()
	config, err := v.machineConfig(system)
	if err != nil {
		return err
	}
	v.machine, err = vmm.New(config)
	if err != nil {
		return err
	}
	defer v.machine.Close()
	v.setUp("KVM set-up")
	if err := confine(); err != nil {
		return fmt.Errorf("confine the monitor: %w", err)
	}
	v.setUp("confinement")
	v.mark(launch.MarkEntry)
	err = v.machine.Run(v.ctx)
	v.stats, v.lastWords = v.machine.Stats(), v.machine.LastWords()
	v.rss, v.guestRSS = use.memory(v.machine)
	return err
}

func (v *vm) machineConfig(system *kvm.System) (vmm.Config, error) {
	cfg := v.cfg
	config := vmm.Config{
		KVM: system, Host: v.host, Memory: cfg.Memory, VCPUs: cfg.VCPUs,
		Kernel: section(cfg.Kernel), Initramfs: section(cfg.Initramfs), CmdLine: cfg.CmdLine,
		OnDeviceFailure: func(err error) { fmt.Fprintln(os.Stderr, "virtio device failed:", err) },
	}
	if cfg.Marks {
		config.OnMark = v.mark
	}
	if cfg.Samples > 0 {
		config.SampleEvery, config.OnSample = cfg.SampleEvery, sampler(cfg.Samples)
	}
	if cfg.Console >= 0 {
		config.Console = os.NewFile(uintptr(cfg.Console), "console")
	}
	if cfg.Lines > 0 {
		config.Console = newLineTap(cfg.Lines, config.Console, v.now)
	}
	if cfg.Root != nil {
		disk, err := v.rootDisk()
		if err != nil {
			return config, err
		}
		config.Devices = append(config.Devices, disk)
	}
	sock, err := v.socketDevice()
	if err != nil {
		return config, err
	}
	config.Devices = append(config.Devices, sock, rng.New())
	return config, nil
}

func section(s launch.Section) boot.Section {
	return boot.Section{File: os.NewFile(uintptr(s.FD), "section"), Offset: s.Offset, Size: s.Size}
}

func (v *vm) rootDisk() (virtio.Device, error) {
	d := v.cfg.Root
	verity := &block.Verity{Salt: d.Salt, DataBlocks: d.DataBlocks, HashOffset: d.HashOffset}
	if copy(verity.RootHash[:], d.RootHash) != len(verity.RootHash) {
		return nil, errors.New("root disk: root hash has the wrong length")
	}
	return block.New(block.Config{
		Backing: os.NewFile(uintptr(d.FD), "root"), Size: d.Size, Verity: verity, ID: "clearrun-root",
		// The app must not go on with holes where its files were.
		OnCorrupt: func(b uint64, err error) { v.cancel(&corruptError{b, err}) },
	})
}

func (v *vm) socketDevice() (virtio.Device, error) {
	control := v.cfg.Control
	ports := v.cfg.Ports
	return vsock.New(vsock.Config{
		GuestCID: launch.GuestCID,
		Dial: func(_ context.Context, port uint32) (vsock.Conn, error) {
			if !slices.Contains(ports, port) {
				return nil, fmt.Errorf("port %d is not offered", port)
			}
			return handOut(control, port)
		},
	})
}

// handOut makes a stream socket and sends its other end to clearrun.
func handOut(control int, port uint32) (vsock.Conn, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(pair[1])
	ours := newStream(pair[0])
	msg := binary.BigEndian.AppendUint32(nil, port)
	if err := unix.Sendmsg(control, msg, unix.UnixRights(pair[1]), nil, 0); err != nil {
		ours.Close()
		return nil, err
	}
	return ours, nil
}

// mark notes a milestone with the time and the guest instructions so far.
func (v *vm) mark(m byte) {
	now, interrupts := v.now(), v.interrupts()
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.marks) < maxMarks {
		v.marks = append(v.marks, launch.Mark{Mark: m, Nanoseconds: now.Nanoseconds, Instructions: now.Instructions, Interrupts: interrupts})
	}
	if m != 0 && m == v.cfg.StopAt {
		v.cancel(errReached)
	}
}

// now is for marks and lines.
func (v *vm) now() launch.Instant {
	i := launch.Instant{Nanoseconds: v.elapsed()}
	if v.cfg.Marks && v.machine != nil {
		i.Instructions = v.machine.Instructions()
	}
	return i
}

func (v *vm) interrupts() uint64 {
	if !v.cfg.Marks || v.machine == nil {
		return 0
	}
	return v.machine.Interrupts()
}

// elapsed is since clearrun started on this monitor, in nanoseconds.
func (v *vm) elapsed() int64 { return (v.before + time.Since(v.began)).Nanoseconds() }

// setUp notes the end of a step before the guest's first instruction.
func (v *vm) setUp(name string) {
	if v.cfg.Marks {
		v.steps = append(v.steps, launch.Step{Name: name, Nanoseconds: v.elapsed()})
	}
}

// stream is a Unix stream socket that can be closed by halves.
type stream struct {
	*os.File
	fd int
}

func newStream(fd int) *stream { return &stream{os.NewFile(uintptr(fd), "vsock-stream"), fd} }

var _ io.ReadWriteCloser = (*stream)(nil)

// CloseWrite tells the other end that no more is written.
func (s *stream) CloseWrite() error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var shut error
	if err := raw.Control(func(fd uintptr) { shut = unix.Shutdown(int(fd), unix.SHUT_WR) }); err != nil {
		return err
	}
	return shut
}
