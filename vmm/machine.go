package vmm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/virtio"
	"github.com/clearrun/clearrun/vmm/boot"
	"github.com/clearrun/clearrun/vmm/guestmem"
	"github.com/clearrun/clearrun/vmm/kvm"
)

// Machine is one VM. It is built whole by New; Run may be called once.
type Machine struct {
	cfg     Config
	mem     *guestmem.GuestMemory
	vm      *kvm.VM
	stats   *kvm.Stats // of the VM as a whole; nil where not wanted or not offered
	vcpus   []*VCPU
	bus     *Bus
	devices []*virtio.MMIOTransport
	irqs    []*os.File // eventfds behind the irqfds
	copied  uint64

	lastWords lastWords // the console, where Config has none

	stop   context.CancelCauseFunc // set while Run runs
	closed atomic.Bool
}

// ErrPoweredOff is how Run says that the guest ended the VM by itself. It does
// not mean that the guest's work succeeded: only the guest's own report does.
var ErrPoweredOff = errors.New("guest powered off")

// New builds a machine: memory, interrupt controllers, devices, kernel and
// vCPUs. On an error nothing is left behind.
func New(cfg Config) (_ *Machine, err error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("machine: %w", err)
	}
	m := &Machine{cfg: cfg, bus: &Bus{}}
	// KVM executes CPUID for each leaf, which on a host that is itself a VM takes a third of
	// all that is done here: it goes on beside the rest.
	hostCPUID := inBackground(cfg.KVM.SupportedCPUID)
	defer func() {
		if err != nil {
			_, _ = hostCPUID() // ends before the caller closes what it uses
			m.Close()
		}
	}()
	if m.mem, err = guestmem.New(cfg.Memory); err != nil {
		return nil, err
	}
	if m.vm, err = cfg.KVM.NewVM(guestmem.TSSBase, guestmem.IdentityMapBase); err != nil {
		return nil, err
	}
	for _, r := range m.mem.Regions() {
		if err := m.vm.AddMemory(r.GPA, r.Bytes); err != nil {
			return nil, err
		}
	}
	if err := m.vm.AddInterruptControllers(); err != nil {
		return nil, err
	}
	if cfg.measured() {
		m.stats, _ = m.vm.Stats() // absent before Linux 5.14: counts are then 0
	}
	for i, d := range cfg.Devices {
		if err := m.attach(i, d); err != nil {
			return nil, fmt.Errorf("virtio device %d: %w", i, err)
		}
	}
	if err := m.attachPorts(); err != nil {
		return nil, err
	}
	if err := m.addVCPUs(hostCPUID); err != nil {
		return nil, err
	}
	if err := m.load(); err != nil {
		return nil, err
	}
	return m, nil
}

// inBackground begins f at once, and gives what waits for its result.
func inBackground[T any](f func() (T, error)) func() (T, error) {
	result := sync.OnceValues(f)
	go result()
	return result
}

// attach puts a device on slot i: its registers on the bus, its interrupt and
// its queue notifications wired to eventfds, so that neither takes an exit.
func (m *Machine) attach(i int, d virtio.Device) error {
	raise, err := m.interrupt("virtio-irq", guestmem.VirtioGSI(i))
	if err != nil {
		return err
	}
	transport, err := virtio.NewMMIOTransport(d, m.mem, raise, m.cfg.OnDeviceFailure)
	if err != nil {
		return err
	}
	m.devices = append(m.devices, transport)
	addr := guestmem.VirtioMMIO(i)
	for q, notify := range transport.Notify() {
		if err := m.vm.AssignNotify(notify, addr+virtio.RegQueueNotify, uint32(q)); err != nil {
			return err
		}
	}
	m.bus.AddMMIO(deviceName(d.ID()), addr, guestmem.VirtioMMIOStride, transport)
	return nil
}

// interrupt wires an interrupt line into KVM, edge triggered: raise writes to an eventfd,
// on any thread.
func (m *Machine) interrupt(name string, gsi uint32) (raise func(), err error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("create interrupt eventfd: %w", err)
	}
	irq := os.NewFile(uintptr(fd), name)
	m.irqs = append(m.irqs, irq)
	if err := m.vm.AssignIRQ(irq, gsi); err != nil {
		return nil, err
	}
	return func() { _, _ = irq.Write(eventOne) }, nil
}

// eventOne is what an eventfd takes to be signalled once.
var eventOne = []byte{1, 0, 0, 0, 0, 0, 0, 0}

// attachPorts puts the devices behind I/O ports on the bus.
func (m *Machine) attachPorts() error {
	m.bus.AddPorts("keyboard controller", portI8042Data, 1, ignoredPort{})
	m.bus.AddPorts("keyboard controller", guestmem.PortI8042Command, 1, &resetPort{reset: func() { m.end(ErrPoweredOff) }})
	console := newSerial(&m.lastWords, nil)
	if m.cfg.Console != nil {
		raise, err := m.interrupt("serial-irq", guestmem.SerialGSI)
		if err != nil {
			return fmt.Errorf("serial console: %w", err)
		}
		console = newSerial(m.cfg.Console, raise)
	}
	m.bus.AddPorts("serial console", portCOM1, serialPorts, console)
	if m.cfg.OnMark != nil {
		watch := stopWatch{m.cfg.OnMark}
		m.bus.AddPorts("stop-watch", guestmem.PortStopWatch, 1, watch)
		m.bus.AddMMIO("stop-watch", guestmem.StopWatchMMIO, guestmem.PageSize, watch)
	}
	return nil
}

// load fills the guest's memory with all that the kernel expects at its entry.
func (m *Machine) load() error {
	kernel, err := boot.LoadKernel(m.mem, m.cfg.Kernel)
	if err != nil {
		return err
	}
	params := boot.Params{}
	if m.cfg.Initramfs.Size > 0 {
		gpa, copied, err := boot.LoadInitramfs(m.mem, m.cfg.Initramfs, kernel.End)
		if err != nil {
			return err
		}
		params.InitramfsGPA, params.InitramfsSize = gpa, uint64(m.cfg.Initramfs.Size)
		m.copied += copied
	}
	m.copied += kernel.Copied
	tscKHz, err := m.vcpus[0].kvm.TSCKHz()
	if err != nil {
		return fmt.Errorf("get TSC frequency: %w", err)
	}
	params.CmdLine = kernelCmdLine(&m.cfg, tscKHz)
	if err := boot.WriteParams(m.mem, params); err != nil {
		return err
	}
	if err := boot.WriteMPTable(m.mem, m.cfg.VCPUs); err != nil {
		return err
	}
	if err := boot.WritePageTables(m.mem); err != nil {
		return err
	}
	return m.vcpus[0].setEntry(kernel.Entry)
}

// Run runs the machine until the guest powers off (ErrPoweredOff), a vCPU
// fails, or ctx ends. It owns one OS thread per vCPU and joins them all.
func (m *Machine) Run(ctx context.Context) error {
	ctx, m.stop = context.WithCancelCause(ctx)
	defer m.stop(nil)
	var threads sync.WaitGroup
	for _, v := range m.vcpus {
		threads.Go(func() { m.end(v.loop(ctx)) })
	}
	if m.cfg.OnSample != nil {
		threads.Go(func() { m.sample(ctx) })
	}
	<-ctx.Done()
	for _, v := range m.vcpus {
		v.kvm.Kick()
	}
	threads.Wait()
	return context.Cause(ctx)
}

// end stops a running machine for the given reason; the first one counts.
func (m *Machine) end(cause error) { m.stop(cause) }

// Close takes the machine down and closes its devices. Run must have returned.
func (m *Machine) Close() error {
	if m.closed.Swap(true) {
		return nil
	}
	var errs []error
	for _, d := range m.devices {
		errs = append(errs, d.Close())
	}
	for _, irq := range m.irqs { // which a device might have raised until here
		errs = append(errs, irq.Close())
	}
	for _, v := range m.vcpus {
		if v.stats != nil {
			errs = append(errs, v.stats.Close())
		}
		errs = append(errs, v.kvm.Close())
	}
	if m.stats != nil {
		errs = append(errs, m.stats.Close())
	}
	if m.vm != nil {
		errs = append(errs, m.vm.Close())
	}
	if m.mem != nil {
		errs = append(errs, m.mem.Close())
	}
	return errors.Join(errs...)
}

// LastWords is the end of what the guest's kernel has said, which without a Console is
// its errors alone. The guest may write anything there.
func (m *Machine) LastWords() string { return m.lastWords.String() }

// TouchedMemory is how many bytes of guest memory were touched so far, by the guest or on
// its behalf. pagemap is this process's /proc/self/pagemap.
func (m *Machine) TouchedMemory(pagemap io.ReaderAt) (uint64, error) { return m.mem.Touched(pagemap) }
