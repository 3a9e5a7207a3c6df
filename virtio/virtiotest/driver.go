package virtiotest

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/clearrun/clearrun/virtio"
	"github.com/clearrun/clearrun/vmm/guestmem"
)

// MemorySize is the RAM of the driver's machine, in bytes.
const MemorySize = 64 * guestmem.MiB

// patience bounds every wait. Only a lost wake-up or a dead device gets there.
const patience = 20 * time.Second

// heapBase is where the driver's allocations start, above all fixed places.
const heapBase = guestmem.HighMemoryBase

// Driver is a guest with one virtio-mmio device. Its methods are for one
// goroutine, those of its Queues for one goroutine each.
type Driver struct {
	T         testing.TB
	Memory    *guestmem.GuestMemory
	Transport *virtio.MMIOTransport

	features uint64
	queues   []*Queue

	heapMu sync.Mutex // queues allocate from goroutines of their own
	heap   uint64

	line     chan struct{} // the interrupt line, edge triggered
	failures chan error
	config   chan struct{}
	raised   []chan struct{} // one per queue
}

// New puts dev behind a transport. Both are closed at the end of the test.
func New(t testing.TB, dev virtio.Device) *Driver {
	t.Helper()
	memory, err := guestmem.New(MemorySize)
	if err != nil {
		t.Fatal(err)
	}
	d := Wrap(t, memory, nil, len(dev.QueueSizes()))
	onFail := func(err error) {
		select {
		case d.failures <- err:
		default:
		}
	}
	d.Transport, err = virtio.NewMMIOTransport(dev, memory, func() { signal(d.line) }, onFail)
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go d.handleInterrupts(stop, stopped)
	t.Cleanup(func() {
		if err := d.Transport.Close(); err != nil {
			t.Errorf("close transport: %v", err)
		}
		d.checkFailure()
		close(stop)
		<-stopped
		if err := memory.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// Wrap drives a transport that the test made itself: it takes no interrupts,
// learns of no failure, and closes nothing.
func Wrap(t testing.TB, memory *guestmem.GuestMemory, transport *virtio.MMIOTransport, queues int) *Driver {
	d := &Driver{
		T: t, Memory: memory, Transport: transport, heap: heapBase,
		line:     make(chan struct{}, 1),
		failures: make(chan error, 1),
		config:   make(chan struct{}, 1),
	}
	for range queues {
		d.raised = append(d.raised, make(chan struct{}, 1))
	}
	return d
}

// signal leaves a token in c, if there is none.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// handleInterrupts is the guest's interrupt handler (4.2.3.4).
func (d *Driver) handleInterrupts(stop, stopped chan struct{}) {
	defer close(stopped)
	for {
		select {
		case <-d.line:
		case <-stop:
			return
		}
		bits := d.Load(virtio.RegInterruptStatus)
		d.Store(virtio.RegInterruptACK, bits)
		if bits&virtio.InterruptUsed != 0 {
			for _, c := range d.raised {
				signal(c)
			}
		}
		if bits&virtio.InterruptConfig != 0 {
			signal(d.config)
		}
	}
}

// Load reads a 32-bit register.
func (d *Driver) Load(offset uint64) uint32 {
	var b [4]byte
	d.Transport.Read(offset, b[:])
	return binary.LittleEndian.Uint32(b[:])
}

// Store writes a 32-bit register.
func (d *Driver) Store(offset uint64, v uint32) {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	d.Transport.Write(offset, b[:])
}

// Offered reads the 64 feature bits of the device.
func (d *Driver) Offered() uint64 {
	var v uint64
	for sel := range uint32(2) {
		d.Store(virtio.RegDeviceFeaturesSel, sel)
		v |= uint64(d.Load(virtio.RegDeviceFeatures)) << (32 * sel)
	}
	return v
}

// Accept writes the 64 feature bits that the driver wants.
func (d *Driver) Accept(features uint64) {
	d.features = features
	for sel := range uint32(2) {
		d.Store(virtio.RegDriverFeaturesSel, sel)
		d.Store(virtio.RegDriverFeatures, uint32(features>>(32*sel)))
	}
}

// AddStatus sets bits of the device status on top of those set.
func (d *Driver) AddStatus(bits uint32) {
	d.Store(virtio.RegStatus, d.Load(virtio.RegStatus)|bits)
}

// Negotiate resets the device and agrees on those of the features that it
// offers, VERSION_1 always among them (3.1.1 steps 1-6).
func (d *Driver) Negotiate(features uint64) {
	d.T.Helper()
	d.Reset()
	d.AddStatus(virtio.StatusAcknowledge)
	d.AddStatus(virtio.StatusDriver)
	d.Accept(d.Offered() & (features | virtio.FeatureVersion1))
	d.AddStatus(virtio.StatusFeaturesOK)
	if d.Load(virtio.RegStatus)&virtio.StatusFeaturesOK == 0 {
		d.T.Fatal("device refused FEATURES_OK")
	}
}

// Start takes the device from whatever state into service, with all of its
// queues at their largest size.
func (d *Driver) Start(features uint64) {
	d.T.Helper()
	d.Negotiate(features)
	for i := range d.raised {
		d.SetupQueue(i, 0)
	}
	d.AddStatus(virtio.StatusDriverOK)
	if s := d.Load(virtio.RegStatus); s&virtio.StatusDriverOK == 0 || s&virtio.StatusNeedsReset != 0 {
		d.T.Fatalf("device status %#x after DRIVER_OK", s)
	}
}

// AllFeatures asks for everything that a device offers.
const AllFeatures = 1<<64 - 1

// SetupQueue makes queue i ready; size 0 stands for the largest.
func (d *Driver) SetupQueue(i int, size uint16) *Queue {
	d.T.Helper()
	d.Store(virtio.RegQueueSel, uint32(i))
	if size == 0 {
		size = uint16(d.Load(virtio.RegQueueSizeMax))
	}
	q := newQueue(d, i, size)
	d.StoreQueue(q.config)
	if d.Load(virtio.RegQueueReady) != 1 {
		d.T.Fatalf("queue %d is not ready: %+v", i, q.config)
	}
	for len(d.queues) <= i {
		d.queues = append(d.queues, nil)
	}
	d.queues[i] = q
	return q
}

// StoreQueue writes the registers of the selected queue, QueueReady last.
func (d *Driver) StoreQueue(c virtio.QueueConfig) {
	d.Store(virtio.RegQueueSize, uint32(c.Size))
	for offset, addr := range map[uint64]uint64{
		virtio.RegQueueDescLow: c.Desc, virtio.RegQueueDriverLow: c.Driver, virtio.RegQueueDeviceLow: c.Device,
	} {
		d.Store(offset, uint32(addr))
		d.Store(offset+4, uint32(addr>>32))
	}
	d.Store(virtio.RegQueueReady, 1)
}

// Queue gives queue i, which SetupQueue or Start made ready.
func (d *Driver) Queue(i int) *Queue { return d.queues[i] }

// Reset resets the device and forgets the rings, as drivers do. Their memory
// is handed out again.
func (d *Driver) Reset() {
	d.T.Helper()
	d.Store(virtio.RegStatus, 0)
	if s := d.Load(virtio.RegStatus); s != 0 {
		d.T.Fatalf("device status %#x after reset", s)
	}
	d.queues, d.heap = nil, heapBase
	d.checkFailure()
}

// checkFailure forgets a failure that nobody waited for, unless it is a bug.
func (d *Driver) checkFailure() {
	select {
	case err := <-d.failures:
		var bug *virtio.PanicError
		if errors.As(err, &bug) {
			d.T.Error(err)
		}
	default:
	}
}

// Alloc gives n bytes of zeroed guest memory until the next Reset.
func (d *Driver) Alloc(n, align uint64) uint64 {
	d.T.Helper()
	d.heapMu.Lock()
	defer d.heapMu.Unlock()
	gpa := (d.heap + align - 1) / align * align
	clear(d.Bytes(gpa, n))
	d.heap = gpa + n
	return gpa
}

// Bytes gives guest memory as a slice.
func (d *Driver) Bytes(gpa, n uint64) []byte {
	d.T.Helper()
	b, err := d.Memory.Slice(gpa, n)
	if err != nil {
		d.T.Fatal(err)
	}
	return b
}

// WaitFailure waits until the device needs a reset, checks that the driver
// learns of it (2.1.2), and returns the reason.
func (d *Driver) WaitFailure() error {
	d.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case err := <-d.failures:
		if d.Load(virtio.RegStatus)&virtio.StatusNeedsReset == 0 {
			d.T.Errorf("failed without DEVICE_NEEDS_RESET: %v", err)
		}
		select {
		case <-d.config:
		case <-ctx.Done():
			d.T.Fatalf("no configuration interrupt after: %v", err)
		}
		return err
	case <-ctx.Done():
		d.T.Fatal("device did not fail")
		return nil
	}
}
