package virtiotest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/clearrun/clearrun/virtio"
	"github.com/clearrun/clearrun/vmm/guestmem"
)

// ErrFull says that a queue has too few free descriptors.
var ErrFull = errors.New("no free descriptors")

// Queue is the driver's end of a split virtqueue.
type Queue struct {
	driver   *Driver
	index    int
	config   virtio.QueueConfig
	avail    guestmem.Window
	used     guestmem.Window
	eventIdx bool

	free      []uint16 // descriptors
	inFlight  map[uint16]*Request
	availIdx  uint16
	kickedIdx uint16 // availIdx when Kick was last called
	usedIdx   uint16
	buffers   map[int][]uint64 // by size, free for the next Push
}

// Request is a chain that the driver has made available.
type Request struct {
	Head    uint16
	Written uint32   // once used: what the device says it has written
	In      [][]byte // the device-writable buffers, in guest memory

	descs []uint16
	bufs  []buffer
}

type buffer struct {
	gpa  uint64
	size int
}

// Desc is struct virtq_desc (2.7.5).
type Desc struct {
	Addr  uint64
	Len   uint32
	Flags uint16
	Next  uint16
}

func newQueue(d *Driver, index int, size uint16) *Queue {
	d.T.Helper()
	q := &Queue{
		driver: d, index: index,
		config: virtio.QueueConfig{
			Size:   size,
			Desc:   d.Alloc(virtio.DescSize*uint64(size), virtio.DescAlign),
			Driver: d.Alloc(virtio.AvailSize(size), virtio.AvailAlign),
			Device: d.Alloc(virtio.UsedSize(size), virtio.UsedAlign),
		},
		eventIdx: d.features&virtio.FeatureEventIdx != 0,
		inFlight: make(map[uint16]*Request),
		buffers:  make(map[int][]uint64),
	}
	var err error
	if q.avail, err = d.Memory.Window(q.config.Driver, virtio.AvailSize(size), virtio.AvailAlign); err != nil {
		d.T.Fatal(err)
	}
	if q.used, err = d.Memory.Window(q.config.Device, virtio.UsedSize(size), virtio.UsedAlign); err != nil {
		d.T.Fatal(err)
	}
	for i := range size {
		q.free = append(q.free, size-1-i)
	}
	return q
}

// Config is where the rings lie.
func (q *Queue) Config() virtio.QueueConfig { return q.config }

// Push makes a chain available: one readable descriptor per element of out,
// holding its bytes, then one writable of each size in in. It does not Kick.
// The error is ErrFull.
func (q *Queue) Push(out [][]byte, in ...int) (*Request, error) {
	n := len(out) + len(in)
	if n > len(q.free) {
		return nil, ErrFull
	}
	r := &Request{descs: append([]uint16(nil), q.free[len(q.free)-n:]...)}
	q.free = q.free[:len(q.free)-n]
	for _, b := range out {
		copy(q.driver.Bytes(r.add(q, len(b)), uint64(len(b))), b)
	}
	for _, size := range in {
		r.In = append(r.In, q.driver.Bytes(r.add(q, size), uint64(size)))
	}
	for i, b := range r.bufs {
		d := Desc{Addr: b.gpa, Len: uint32(b.size)}
		if i >= len(out) {
			d.Flags |= virtio.DescWrite
		}
		if i+1 < n {
			d.Flags |= virtio.DescNext
			d.Next = r.descs[i+1]
		}
		q.SetDesc(r.descs[i], d)
	}
	r.Head = r.descs[0]
	q.inFlight[r.Head] = r
	q.Publish(r.Head)
	return r, nil
}

// add takes a buffer of the queue's, of exactly that size.
func (r *Request) add(q *Queue, size int) uint64 {
	var gpa uint64
	if list := q.buffers[size]; len(list) > 0 {
		gpa = list[len(list)-1]
		q.buffers[size] = list[:len(list)-1]
	} else {
		gpa = q.driver.Alloc(uint64(size), 8)
	}
	r.bufs = append(r.bufs, buffer{gpa, size})
	return gpa
}

// SetDesc writes entry i of the descriptor table.
func (q *Queue) SetDesc(i uint16, d Desc) {
	PutDesc(q.driver.Bytes(q.config.Desc+virtio.DescSize*uint64(i), virtio.DescSize), d)
}

// SetIndirect writes entry i of an indirect table.
func (q *Queue) SetIndirect(table uint64, i int, d Desc) {
	PutDesc(q.driver.Bytes(table+virtio.DescSize*uint64(i), virtio.DescSize), d)
}

// PutDesc encodes a descriptor.
func PutDesc(b []byte, d Desc) {
	binary.LittleEndian.PutUint64(b, d.Addr)
	binary.LittleEndian.PutUint32(b[8:], d.Len)
	binary.LittleEndian.PutUint16(b[12:], d.Flags)
	binary.LittleEndian.PutUint16(b[14:], d.Next)
}

// Publish puts a head into the available ring.
func (q *Queue) Publish(head uint16) {
	q.avail.Store16(4+2*int(q.availIdx&(q.config.Size-1)), head)
	q.SetAvailIdx(q.availIdx + 1)
}

// SetAvailIdx moves avail.idx, to anywhere.
func (q *Queue) SetAvailIdx(idx uint16) {
	q.availIdx = idx
	q.avail.Store16(2, idx)
}

// Kick notifies the device of what was published since the last Kick, unless
// it does not want to know (2.7.13.4).
func (q *Queue) Kick() {
	wants := q.WantsKick()
	q.Kicked()
	if wants {
		q.ForceKick()
	}
}

// WantsKick says whether Kick would notify the device.
func (q *Queue) WantsKick() bool {
	guestmem.Fence()
	if q.eventIdx {
		event := q.used.Load16(4 + 8*int(q.config.Size))
		return q.availIdx-event-1 < q.availIdx-q.kickedIdx
	}
	return q.used.Load16(0)&virtio.UsedNoNotify == 0
}

// Kicked makes Kick believe that it has just been called.
func (q *Queue) Kicked() { q.kickedIdx = q.availIdx }

// SuppressInterrupts tells the device that the driver polls (2.7.7.1).
func (q *Queue) SuppressInterrupts() {
	if q.eventIdx {
		q.avail.Store16(4+2*int(q.config.Size), q.UsedIdx()-1) // long past
	}
	q.avail.Store16(0, virtio.AvailNoInterrupt)
}

// ForceKick notifies the device in any case.
func (q *Queue) ForceKick() { q.driver.Store(virtio.RegQueueNotify, uint32(q.index)) }

// Used gives the next used chain, nil if there is none yet.
func (q *Queue) Used() (*Request, error) {
	if q.used.Load16(2) == q.usedIdx {
		return nil, nil
	}
	elem := 4 + 8*int(q.usedIdx&(q.config.Size-1))
	head, written := q.used.Load32(elem), q.used.Load32(elem+4)
	q.usedIdx++
	r := q.inFlight[uint16(head)]
	if r == nil || head > 0xffff {
		return nil, fmt.Errorf("device used chain %d, which was not available", head)
	}
	delete(q.inFlight, r.Head)
	room := 0
	for _, b := range r.In {
		room += len(b)
	}
	if int(written) > room {
		return nil, fmt.Errorf("device reports %d bytes written to %d", written, room)
	}
	q.free = append(q.free, r.descs...)
	for _, b := range r.bufs {
		q.buffers[b.size] = append(q.buffers[b.size], b.gpa)
	}
	r.Written = written
	return r, nil
}

// Next waits for the next used chain. The buffers of the Request stay as they
// are until the next Push.
func (q *Queue) Next(ctx context.Context) (*Request, error) {
	for {
		if r, err := q.Used(); r != nil || err != nil {
			return r, err
		}
		if q.enableInterrupts() {
			continue
		}
		select {
		case <-q.driver.raised[q.index]:
		case <-ctx.Done():
			return nil, fmt.Errorf("queue %d: wait for used buffer: %w", q.index, ctx.Err())
		}
	}
}

// enableInterrupts asks for an interrupt for the next used chain, and returns
// true if it came meanwhile (2.7.14).
func (q *Queue) enableInterrupts() bool {
	if q.eventIdx {
		q.avail.Store16(4+2*int(q.config.Size), q.usedIdx)
	}
	guestmem.Fence()
	return q.used.Load16(2) != q.usedIdx
}

// Wait is Next for tests: the chain must come.
func (q *Queue) Wait() *Request {
	q.driver.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := q.Next(ctx)
	if err != nil {
		q.driver.T.Fatal(err)
	}
	return r
}

// Do pushes one chain, kicks, and waits for it.
func (q *Queue) Do(out [][]byte, in ...int) *Request {
	q.driver.T.Helper()
	if _, err := q.Push(out, in...); err != nil {
		q.driver.T.Fatal(err)
	}
	q.Kick()
	return q.Wait()
}

// UsedIdx reads used.idx.
func (q *Queue) UsedIdx() uint16 { return q.used.Load16(2) }
