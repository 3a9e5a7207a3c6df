package virtio_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/clearrun/clearrun/virtio"
	"github.com/clearrun/clearrun/virtio/virtiotest"
)

// echo is the least device: it copies what it reads to what it may write.
// Its configuration space is 8 bytes that the driver may change. A request
// that starts with "panic" shows what a bug in a device does.
type echo struct {
	size   uint16
	config [8]byte
	worker *virtio.Worker
	active virtio.Activation
}

func (e *echo) ID() uint32           { return 42 }
func (e *echo) Features() uint64     { return 1 << 3 }
func (e *echo) QueueSizes() []uint16 { return []uint16{e.size} }

func (e *echo) ReadConfig(offset uint64, p []byte) {
	if offset < uint64(len(e.config)) {
		copy(p, e.config[offset:])
	}
}

func (e *echo) WriteConfig(offset uint64, p []byte) {
	if offset == configBug {
		panic("echo was asked to")
	}
	if offset < uint64(len(e.config)) {
		copy(e.config[offset:], p)
	}
}

// configBug is an offset that echo fails to check.
const configBug = 100

func (e *echo) Activate(a virtio.Activation) error {
	e.active = a
	e.worker = a.Serve(0, func(c *virtio.DescriptorChain) error {
		b := make([]byte, c.Readable())
		if _, err := io.ReadFull(&c.Reader, b); err != nil {
			return err
		}
		if bytes.HasPrefix(b, []byte("panic")) {
			panic("echo was asked to")
		}
		_, err := c.Writer.Write(b[:min(len(b), c.Writable())])
		return err
	})
	return nil
}

func (e *echo) Reset()       { e.worker.Stop() }
func (e *echo) Close() error { e.Reset(); return nil }

func newEcho(testing.TB) virtio.Device { return &echo{size: 16} }

func TestSuite(t *testing.T) {
	virtiotest.Suite{
		New:    newEcho,
		Served: []int{0},
		Busy: func(d *virtiotest.Driver) {
			for range 8 {
				if _, err := d.Queue(0).Push([][]byte{make([]byte, 1000)}, 1000); err != nil {
					d.T.Fatal(err)
				}
				d.Queue(0).Kick()
			}
		},
	}.Run(t)
}

func TestConfigSpace(t *testing.T) {
	d := virtiotest.New(t, newEcho(t))
	d.Transport.Write(virtio.RegConfig, []byte{1, 2, 3, 4}) // no driver yet
	d.Start(virtiotest.AllFeatures)
	var p [8]byte
	if d.Transport.Read(virtio.RegConfig, p[:]); p != [8]byte{} {
		t.Errorf("write before DRIVER set % x", p)
	}
	d.Transport.Write(virtio.RegConfig+2, []byte{5, 6})
	if d.Transport.Read(virtio.RegConfig, p[:]); p != [8]byte{2: 5, 3: 6} {
		t.Errorf("config is % x", p)
	}
}

func TestConfigChangeIsAnnounced(t *testing.T) {
	e := &echo{size: 16}
	line := 0
	memory := virtiotest.New(t, newEcho(t)).Memory
	tr, err := virtio.NewMMIOTransport(e, memory, func() { line++ }, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := virtiotest.Wrap(t, memory, tr, 1)
	d.Start(virtiotest.AllFeatures)
	before := d.Load(virtio.RegConfigGeneration)
	e.active.ConfigChanged()
	if got := d.Load(virtio.RegConfigGeneration); got == before {
		t.Error("generation did not change")
	}
	if got := d.Load(virtio.RegInterruptStatus); got != virtio.InterruptConfig || line != 1 {
		t.Errorf("interrupt status %#x, line raised %d times", got, line)
	}
	e.active.Interrupt()
	d.Store(virtio.RegInterruptACK, virtio.InterruptConfig)
	if got := d.Load(virtio.RegInterruptStatus); got != virtio.InterruptUsed {
		t.Errorf("interrupt status %#x after acknowledging one of two", got)
	}
	d.Reset()
	if got := d.Load(virtio.RegInterruptStatus); got != 0 {
		t.Errorf("interrupt status %#x after reset", got)
	}
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
}

func TestPanicBecomesNeedsReset(t *testing.T) {
	faults := map[string]func(*virtiotest.Driver){
		"worker": func(d *virtiotest.Driver) {
			if _, err := d.Queue(0).Push([][]byte{[]byte("panic!")}); err != nil {
				d.T.Fatal(err)
			}
			d.Queue(0).Kick()
		},
		"config": func(d *virtiotest.Driver) { d.Transport.Write(virtio.RegConfig+configBug, []byte{1}) },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			d := virtiotest.New(t, newEcho(t))
			d.Start(virtiotest.AllFeatures)
			fault(d)
			var bug *virtio.PanicError
			if err := d.WaitFailure(); !errors.As(err, &bug) || len(bug.Stack) == 0 {
				t.Errorf("failed with %v", err)
			}
			d.Start(virtiotest.AllFeatures)
			if r := d.Queue(0).Do([][]byte{[]byte("hello")}, 5); string(r.In[0]) != "hello" {
				t.Errorf("after reset: %q", r.In[0])
			}
		})
	}
}
