package virtio_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/clearrun/clearrun/virtio"
	"github.com/clearrun/clearrun/virtio/virtiotest"
	"github.com/clearrun/clearrun/vmm/guestmem"
)

// ringFeatures are the ways in which a ring can be run.
var ringFeatures = map[string]uint64{
	"plain":     0,
	"event idx": virtio.FeatureEventIdx,
	"both":      virtio.FeatureEventIdx | virtio.FeatureIndirectDesc,
}

// TestEveryRequestReturns runs more chains than a ring index counts, with
// random batches, through a small and a large ring: no wake-up may get lost
// and no chain used twice, also where the indices wrap.
func TestEveryRequestReturns(t *testing.T) {
	const total = 70_000
	for name, features := range ringFeatures {
		for _, size := range []uint16{2, 128} {
			t.Run(fmt.Sprintf("%s, %d", name, size), func(t *testing.T) {
				d := virtiotest.New(t, &echo{size: size})
				d.Start(features)
				q := d.Queue(0)
				rnd := rand.New(rand.NewPCG(1, uint64(size)))
				for pushed, used := 0, 0; used < total; {
					for n := 1 + rnd.IntN(int(size)); n > 0 && pushed < total; n-- {
						if _, err := q.Push([][]byte{fmt.Appendf(nil, "%07d", pushed)}, 7); err != nil {
							break
						}
						pushed++
					}
					q.Kick()
					for n := 1 + rnd.IntN(pushed-used); n > 0; n-- {
						if r := q.Wait(); string(r.In[0]) != fmt.Sprintf("%07d", used) {
							t.Fatalf("request %d answered with %q", used, r.In[0])
						}
						used++
					}
				}
			})
		}
	}
}

// TestSuppression: a driver that polls gets no interrupt, and a device that
// polls no kick.
func TestSuppression(t *testing.T) {
	for name, features := range ringFeatures {
		t.Run(name, func(t *testing.T) {
			q, driver := newRing(t, 8, features)
			push := func() {
				if _, err := driver.Push(nil, 4); err != nil {
					t.Fatal(err)
				}
			}
			finish := func() {
				t.Helper()
				c, err := q.Pop()
				if err != nil || c == nil {
					t.Fatalf("Pop: %v, %v", c, err)
				}
				q.AddUsed(c.Head(), 0)
			}
			if q.NeedsInterrupt() {
				t.Error("interrupt for nothing")
			}
			push()
			push()
			finish()
			if !q.NeedsInterrupt() {
				t.Error("no interrupt for the first used buffer")
			}
			if q.NeedsInterrupt() {
				t.Error("a second interrupt for the same")
			}
			driver.SuppressInterrupts()
			finish()
			if q.NeedsInterrupt() {
				t.Error("interrupt, though the driver polls")
			}
			if q.EnableNotify() {
				t.Error("EnableNotify found a chain in an empty ring")
			}
			push()
			if !driver.WantsKick() {
				t.Error("kick is off after EnableNotify")
			}
			if !q.EnableNotify() {
				t.Error("EnableNotify missed a chain")
			}
			q.DisableNotify()
			finish()
			push()
			driver.Kicked() // the event index lies behind: it passes once at most
			push()
			if driver.WantsKick() {
				t.Error("kick, though the device polls")
			}
		})
	}
}

// newRing is a queue with its driver, without a device.
func newRing(t testing.TB, size uint16, features uint64) (*virtio.Queue, *virtiotest.Queue) {
	t.Helper()
	d := virtiotest.New(t, &echo{size: size})
	d.Negotiate(features)
	driver := d.SetupQueue(0, size)
	q, err := virtio.NewQueue(d.Memory, driver.Config(), size, features)
	if err != nil {
		t.Fatal(err)
	}
	return q, driver
}

func TestChainReadersAndWriters(t *testing.T) {
	q, driver := newRing(t, 16, virtio.FeatureVersion1)
	content := []byte("the quick brown fox jumps over the lazy dog")
	r, err := driver.Push([][]byte{content[:1], content[1:20], content[20:]}, 3, 1, 30)
	if err != nil {
		t.Fatal(err)
	}
	c, err := q.Pop()
	if err != nil {
		t.Fatal(err)
	}
	if c.Head() != r.Head || c.Readable() != len(content) || c.Writable() != 34 {
		t.Fatalf("head %d, readable %d, writable %d", c.Head(), c.Readable(), c.Writable())
	}
	first := make([]byte, 5)
	if n, err := c.Reader.Read(first); n != 5 || err != nil || string(first) != "the q" {
		t.Errorf("Read: %d, %v, %q", n, err, first)
	}
	if n := c.Reader.Skip(1); n != 1 {
		t.Errorf("Skip: %d", n)
	}
	if b := c.Reader.Buffers(); len(b) != 2 || string(bytes.Join(b, nil)) != string(content[6:]) {
		t.Errorf("Buffers: %q", b)
	}
	rest, err := io.ReadAll(&c.Reader)
	if err != nil || string(rest) != string(content[6:]) {
		t.Errorf("ReadAll: %q, %v", rest, err)
	}
	if n, err := c.Reader.Read(first); n != 0 || err != io.EOF {
		t.Errorf("Read at the end: %d, %v", n, err)
	}
	if n := c.Reader.Skip(7); n != 0 {
		t.Errorf("Skip at the end: %d", n)
	}

	if n, err := c.Writer.Write(content[:10]); n != 10 || err != nil {
		t.Errorf("Write: %d, %v", n, err)
	}
	room := c.Writer.Buffers()
	if len(room) != 1 || len(room[0]) != 24 {
		t.Fatalf("Buffers: %d pieces", len(room))
	}
	copy(room[0], content[10:20])
	if n := c.Writer.Skip(10); n != 10 {
		t.Errorf("Skip: %d", n)
	}
	if n, err := c.Writer.Write(content[20:]); n != 14 || err != io.ErrShortWrite {
		t.Errorf("Write past the end: %d, %v", n, err)
	}
	if c.Writer.Written() != 34 || c.Writable() != 0 {
		t.Errorf("written %d, writable %d", c.Writer.Written(), c.Writable())
	}
	if got := bytes.Join(r.In, nil); string(got) != string(content[:34]) {
		t.Errorf("guest got %q", got)
	}
}

// TestIndirectChain: a table may hold as many descriptors as the queue, on
// top of direct ones before it up to that number (2.7.5.3).
func TestIndirectChain(t *testing.T) {
	const size = 8
	for direct := range size + 1 {
		for nested := 1; nested <= size; nested++ {
			q, driver := newRing(t, size, virtio.FeatureIndirectDesc)
			for i := range direct {
				driver.SetDesc(uint16(i), virtiotest.Desc{Addr: 0x4000, Len: 3, Flags: virtio.DescNext, Next: uint16(i + 1)})
			}
			if direct < size {
				driver.SetDesc(uint16(direct), virtiotest.Desc{Addr: 0x5000, Len: uint32(16 * nested), Flags: virtio.DescIndirect})
			} else {
				driver.SetDesc(size-1, virtiotest.Desc{Addr: 0x4000, Len: 3})
			}
			for i := range nested {
				desc := virtiotest.Desc{Addr: 0x6000, Len: 5, Flags: virtio.DescWrite | virtio.DescNext, Next: uint16(i + 1)}
				if i == nested-1 {
					desc.Flags = virtio.DescWrite
				}
				driver.SetIndirect(0x5000, i, desc)
			}
			driver.Publish(0)
			c, err := q.Pop()
			wantErr := direct < size && direct+nested > size
			if (err != nil) != wantErr {
				t.Errorf("%d direct, %d nested: %v", direct, nested, err)
			}
			if err != nil {
				continue
			}
			wantWritable := 5 * nested
			if direct == size {
				wantWritable = 0
			}
			if c.Readable() != 3*direct || c.Writable() != wantWritable {
				t.Errorf("%d direct, %d nested: readable %d, writable %d", direct, nested, c.Readable(), c.Writable())
			}
		}
	}
}

func TestPopDoesNotAllocate(t *testing.T) {
	q, driver := newRing(t, 16, virtio.FeatureEventIdx)
	driver.SetDesc(0, virtiotest.Desc{Addr: 0x4000, Len: 512, Flags: virtio.DescNext, Next: 1})
	driver.SetDesc(1, virtiotest.Desc{Addr: 0x5000, Len: 512, Flags: virtio.DescWrite})
	allocs := testing.AllocsPerRun(1000, func() {
		driver.Publish(0)
		c, err := q.Pop()
		if err != nil || c == nil {
			t.Fatal(err)
		}
		q.AddUsed(c.Head(), 0)
		q.NeedsInterrupt()
		q.EnableNotify()
	})
	if allocs != 0 {
		t.Errorf("%v allocations per request", allocs)
	}
}

func TestNewQueueAboveTheHole(t *testing.T) {
	memory, err := guestmem.New(guestmem.HoleBase + guestmem.MiB)
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	c := virtio.QueueConfig{Size: 16, Desc: guestmem.HoleEnd, Driver: guestmem.HoleEnd + 0x1000, Device: guestmem.HoleEnd + 0x2000}
	if _, err := virtio.NewQueue(memory, c, 16, 0); err != nil {
		t.Error(err)
	}
	c.Desc = guestmem.HoleBase - 128 // half of the table is RAM
	if _, err := virtio.NewQueue(memory, c, 16, 0); err == nil {
		t.Error("queue across the hole accepted")
	}
}
