package virtiotest

import (
	"errors"
	"math"
	"testing"

	"github.com/clearrun/clearrun/virtio"
	"github.com/clearrun/clearrun/vmm/guestmem"
)

// Suite is what every device must survive, whatever it does.
type Suite struct {
	// New makes the device under test. The Driver closes it.
	New func(t testing.TB) virtio.Device
	// Served lists the queues whose chains the device takes as soon as they
	// are there. Only they can be caught with a broken chain.
	Served []int
	// Busy pushes honest requests to the started device and does not wait
	// for them. It tells the Suite what a device in use looks like.
	Busy func(d *Driver)
}

// Run runs the whole suite.
func (s Suite) Run(t *testing.T) {
	scenarios := []struct {
		name string
		run  func(*testing.T, *Driver)
	}{
		{"Identity", s.identity},
		{"AccessWidth", s.accessWidth},
		{"ConfigSpace", s.configSpace},
		{"StatusOrder", s.statusOrder},
		{"Features", s.features},
		{"QueueAddresses", s.queueAddresses},
		{"QueueFrozen", s.queueFrozen},
		{"QueueNotReady", s.queueNotReady},
		{"QueueSelect", s.queueSelect},
		{"BrokenChains", s.brokenChains},
		{"ResetWhileBusy", s.resetWhileBusy},
		{"CloseWhileBusy", s.closeWhileBusy},
	}
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) { sc.run(t, New(t, s.New(t))) })
	}
}

func (s Suite) identity(t *testing.T, d *Driver) {
	want := map[uint64]uint32{
		virtio.RegMagicValue: virtio.MagicValue,
		virtio.RegVersion:    virtio.MMIOVersion,
		virtio.RegStatus:     0,
		virtio.RegSHMLenLow:  math.MaxUint32,
		virtio.RegSHMLenHigh: math.MaxUint32,
	}
	for offset, v := range want {
		if got := d.Load(offset); got != v {
			t.Errorf("register %#x = %#x, want %#x", offset, got, v)
		}
	}
	if id := d.Load(virtio.RegDeviceID); id == 0 {
		t.Error("device ID 0 means: no device")
	}
	must := uint64(virtio.FeatureVersion1 | virtio.FeatureEventIdx | virtio.FeatureIndirectDesc)
	if got := d.Offered(); got&must != must {
		t.Errorf("offered features %#x lack some of %#x", got, must)
	}
	d.Store(virtio.RegDeviceFeaturesSel, 2)
	if got := d.Load(virtio.RegDeviceFeatures); got != 0 {
		t.Errorf("features 64.. = %#x", got)
	}
	for i := range d.raised {
		d.Store(virtio.RegQueueSel, uint32(i))
		if n := d.Load(virtio.RegQueueSizeMax); n == 0 || n > virtio.QueueSizeMax || n&(n-1) != 0 {
			t.Errorf("queue %d: largest size %d", i, n)
		}
	}
}

// accessWidth: registers are 32 bits wide and aligned (4.2.2.2).
func (s Suite) accessWidth(t *testing.T, d *Driver) {
	for _, offset := range []uint64{0, 1, 2, 3, 4, 0x6e, 0x70, 0xfc, 0xfe} {
		for _, width := range []int{1, 2, 4, 8} {
			if width == 4 && offset%4 == 0 {
				continue
			}
			p := []byte{9, 9, 9, 9, 9, 9, 9, 9}[:width]
			d.Transport.Read(offset, p)
			for _, b := range p {
				if b != 0 {
					t.Errorf("%d-byte read at %#x gave % x", width, offset, p)
					break
				}
			}
		}
	}
	for _, width := range []int{1, 2, 8} {
		d.Transport.Write(virtio.RegStatus, []byte{1, 0, 0, 0, 0, 0, 0, 0}[:width])
		if got := d.Load(virtio.RegStatus); got != 0 {
			t.Errorf("%d-byte write set status %#x", width, got)
		}
	}
}

func (s Suite) configSpace(t *testing.T, d *Driver) {
	d.Start(AllFeatures)
	for offset := uint64(virtio.RegConfig); offset < virtio.MMIOSize; offset++ {
		for _, width := range []int{1, 2, 4, 8} {
			before, after := make([]byte, width), make([]byte, width)
			d.Transport.Read(offset, before)
			d.Transport.Read(offset, after)
			if string(before) != string(after) {
				t.Fatalf("config %#x changed from % x to % x", offset, before, after)
			}
		}
	}
	for _, offset := range []uint64{virtio.MMIOSize, 1 << 32, math.MaxUint64 - 7, math.MaxUint64} {
		p := []byte{1, 2, 3, 4, 5, 6, 7, 8}
		d.Transport.Read(offset, p)
		if string(p) != string(make([]byte, 8)) {
			t.Errorf("read at %#x gave % x", offset, p)
		}
		d.Transport.Write(offset, p)
	}
}

// statusOrder: no step of 3.1.1 may be left out or taken back.
func (s Suite) statusOrder(t *testing.T, d *Driver) {
	const ack, driver, ok, features = virtio.StatusAcknowledge, virtio.StatusDriver, virtio.StatusDriverOK, virtio.StatusFeaturesOK
	steps := []struct{ write, want uint32 }{
		{driver, 0},
		{ack | driver, 0},
		{ok, 0},
		{0xffffffff, 0},
		{1 << 16, 0},
		{ack, ack},
		{ack | features, ack},
		{driver, ack},
		{ack | driver, ack | driver},
		{ack, ack | driver},
		{ack | driver | ok, ack | driver},
		{ack | driver | features | ok, ack | driver},
		{ack | driver | virtio.StatusFailed, ack | driver | virtio.StatusFailed},
		{ack | driver | features, ack | driver | virtio.StatusFailed},
		{0, 0},
	}
	for i, s := range steps {
		d.Store(virtio.RegStatus, s.write)
		if got := d.Load(virtio.RegStatus); got != s.want {
			t.Fatalf("step %d: status %#x after writing %#x, want %#x", i, got, s.write, s.want)
		}
	}
}

// features: only those offered, with VERSION_1, between DRIVER and
// FEATURES_OK.
func (s Suite) features(t *testing.T, d *Driver) {
	offered := d.Offered()
	cases := []struct {
		name    string
		accept  uint64
		granted bool
	}{
		{"none", 0, false},
		{"no VERSION_1", offered &^ virtio.FeatureVersion1, false},
		{"one not offered", offered | 1<<63, false},
		{"all bits", math.MaxUint64, false},
		{"VERSION_1", virtio.FeatureVersion1, true},
		{"all offered", offered, true},
	}
	for _, c := range cases {
		d.Reset()
		d.Accept(virtio.FeatureVersion1) // too early
		d.AddStatus(virtio.StatusAcknowledge)
		d.Accept(virtio.FeatureVersion1) // still too early
		d.AddStatus(virtio.StatusDriver)
		if c.accept != 0 {
			d.Accept(c.accept)
		}
		d.AddStatus(virtio.StatusFeaturesOK)
		if got := d.Load(virtio.RegStatus)&virtio.StatusFeaturesOK != 0; got != c.granted {
			t.Errorf("%s: FEATURES_OK is %v", c.name, got)
		}
	}
	// Too late: NewQueue would see an event index that was not negotiated.
	d.Negotiate(virtio.FeatureVersion1)
	d.Accept(math.MaxUint64)
	d.AddStatus(virtio.StatusFeaturesOK)
	for i := range d.raised {
		d.features = virtio.FeatureVersion1
		d.SetupQueue(i, 0)
	}
	d.AddStatus(virtio.StatusDriverOK)
	if got := d.Load(virtio.RegStatus); got&virtio.StatusNeedsReset != 0 {
		t.Errorf("status %#x after late feature write", got)
	}
}

func (s Suite) queueAddresses(t *testing.T, d *Driver) {
	d.Negotiate(AllFeatures)
	d.Store(virtio.RegQueueSel, 0)
	largest := uint16(d.Load(virtio.RegQueueSizeMax))
	good := virtio.QueueConfig{Size: largest, Desc: 0x100000, Driver: 0x200000, Device: 0x300000}
	change := func(f func(*virtio.QueueConfig)) virtio.QueueConfig {
		c := good
		f(&c)
		return c
	}
	end := uint64(MemorySize)
	bad := map[string]virtio.QueueConfig{
		"size 0":                 change(func(c *virtio.QueueConfig) { c.Size = 0 }),
		"size 3":                 change(func(c *virtio.QueueConfig) { c.Size = 3 }),
		"size too large":         change(func(c *virtio.QueueConfig) { c.Size = 2 * largest }),
		"misaligned descriptors": change(func(c *virtio.QueueConfig) { c.Desc += 8 }),
		"misaligned available":   change(func(c *virtio.QueueConfig) { c.Driver++ }),
		"misaligned used":        change(func(c *virtio.QueueConfig) { c.Device += 2 }),
		"descriptors past RAM":   change(func(c *virtio.QueueConfig) { c.Desc = end - 16 }),
		"available past RAM":     change(func(c *virtio.QueueConfig) { c.Driver = end - 2 }),
		"used past RAM":          change(func(c *virtio.QueueConfig) { c.Device = end - 4 }),
		"descriptors in MMIO":    change(func(c *virtio.QueueConfig) { c.Desc = guestmem.VirtioMMIOBase }),
		"descriptors wrap":       change(func(c *virtio.QueueConfig) { c.Desc = math.MaxUint64 - 15 }),
		"available wraps":        change(func(c *virtio.QueueConfig) { c.Driver = math.MaxUint64 - 1 }),
		"used wraps":             change(func(c *virtio.QueueConfig) { c.Device = math.MaxUint64 - 3 }),
	}
	for name, c := range bad {
		d.StoreQueue(c)
		if d.Load(virtio.RegQueueReady) != 0 {
			t.Errorf("%s: ready", name)
			d.Store(virtio.RegQueueReady, 0)
		}
	}
	d.StoreQueue(good)
	d.Store(virtio.RegQueueSize, 1<<16|uint32(largest)) // ignored: ready
	if d.Load(virtio.RegQueueReady) != 1 {
		t.Error("good queue is not ready")
	}
	d.Store(virtio.RegQueueReady, 0)
	d.Store(virtio.RegQueueSize, 1<<16|uint32(largest))
	d.Store(virtio.RegQueueReady, 1)
	if d.Load(virtio.RegQueueReady) != 0 {
		t.Error("size was cut to 16 bits")
	}
}

// queueFrozen: after QueueReady and after DRIVER_OK queue registers do nothing
// (4.2.2.2). That the device still works in its first queue shows it.
func (s Suite) queueFrozen(t *testing.T, d *Driver) {
	d.Negotiate(AllFeatures)
	for i := range d.raised {
		d.SetupQueue(i, 0)
	}
	wrong := virtio.QueueConfig{Size: 1, Desc: math.MaxUint64, Driver: math.MaxUint64, Device: math.MaxUint64}
	scribble := func() {
		for i := range d.raised {
			d.Store(virtio.RegQueueSel, uint32(i))
			d.StoreQueue(wrong)
			if d.Load(virtio.RegQueueReady) != 1 {
				t.Errorf("queue %d is no longer ready", i)
			}
		}
	}
	scribble()
	for i := range d.raised { // what was written meanwhile has left no trace
		d.Store(virtio.RegQueueSel, uint32(i))
		d.Store(virtio.RegQueueReady, 0)
		if d.Load(virtio.RegQueueReady) != 0 {
			t.Errorf("queue %d is still ready", i)
		}
		d.Store(virtio.RegQueueReady, 1)
	}
	d.AddStatus(virtio.StatusDriverOK)
	scribble()
	d.Store(virtio.RegQueueReady, 0)
	if d.Load(virtio.RegQueueReady) != 1 {
		t.Error("queue stopped being ready while in service")
	}
	for _, i := range s.Served {
		d.Queue(i).SetDesc(0, Desc{Addr: math.MaxUint64, Len: 1})
		d.Queue(i).Publish(0)
		d.Queue(i).ForceKick()
		d.WaitFailure() // it looks at the queue that was set up
		break
	}
}

func (s Suite) queueNotReady(t *testing.T, d *Driver) {
	d.Negotiate(AllFeatures)
	for i := range len(d.raised) - 1 {
		d.SetupQueue(i, 0)
	}
	d.AddStatus(virtio.StatusDriverOK)
	d.WaitFailure()
	d.Start(AllFeatures)
}

func (s Suite) queueSelect(t *testing.T, d *Driver) {
	d.Negotiate(AllFeatures)
	for _, sel := range []uint32{uint32(len(d.raised)), 1 << 16, 1 << 31, math.MaxUint32} {
		d.Store(virtio.RegQueueSel, sel)
		if n := d.Load(virtio.RegQueueSizeMax); n != 0 {
			t.Errorf("queue %d has size %d", sel, n)
		}
		d.StoreQueue(virtio.QueueConfig{Size: 1, Desc: 0x100000, Driver: 0x200000, Device: 0x300000})
		if d.Load(virtio.RegQueueReady) != 0 {
			t.Errorf("queue %d is ready", sel)
		}
		d.Store(virtio.RegQueueNotify, sel)
	}
	d.Start(AllFeatures)
	for _, sel := range []uint32{uint32(len(d.raised)), math.MaxUint32} {
		d.Store(virtio.RegQueueNotify, sel)
	}
}

// brokenChains: each ends in DEVICE_NEEDS_RESET, by rule and not by accident,
// and after a reset the device works again.
func (s Suite) brokenChains(t *testing.T, d *Driver) {
	for _, i := range s.Served {
		for _, c := range brokenChains() {
			d.Start(c.features)
			q := d.Queue(i)
			c.build(d, q)
			q.ForceKick()
			err := d.WaitFailure()
			var bug *virtio.PanicError
			if errors.As(err, &bug) {
				t.Errorf("queue %d, %s: %v", i, c.name, err)
			}
		}
	}
	d.Start(AllFeatures)
	s.Busy(d)
}

func (s Suite) resetWhileBusy(t *testing.T, d *Driver) {
	for round := range 50 {
		features := uint64(AllFeatures)
		if round%2 == 1 {
			features &^= virtio.FeatureEventIdx
		}
		d.Start(features)
		s.Busy(d)
		ram := d.Bytes(heapBase, d.heap-heapBase)
		d.Reset()
		// Nothing of the device may touch memory or line any more.
		clear(ram)
		for i := range d.raised {
			d.Store(virtio.RegQueueNotify, uint32(i))
			if err := virtio.Kick(d.Transport.Notify()[i]); err != nil {
				t.Fatal(err)
			}
		}
		if bits := d.Load(virtio.RegInterruptStatus); bits != 0 {
			t.Fatalf("round %d: interrupt status %#x after reset", round, bits)
		}
		for i, b := range ram {
			if b != 0 {
				t.Fatalf("round %d: guest memory %#x written after reset", round, heapBase+i)
			}
		}
	}
}

func (s Suite) closeWhileBusy(t *testing.T, d *Driver) {
	d.Start(AllFeatures)
	s.Busy(d)
	for range 2 {
		if err := d.Transport.Close(); err != nil {
			t.Error(err)
		}
	}
	d.Store(virtio.RegStatus, 0)
	d.Store(virtio.RegQueueNotify, 0)
	d.Load(virtio.RegStatus)
	d.Load(virtio.RegConfig)
}
