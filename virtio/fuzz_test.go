package virtio_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/clearrun/clearrun/virtio"
	"github.com/clearrun/clearrun/virtio/virtiotest"
	"github.com/clearrun/clearrun/vmm/guestmem"
)

// access encodes one register access for FuzzTransport.
func access(offset uint16, width byte, v uint32) []byte {
	b := binary.LittleEndian.AppendUint16(nil, offset)
	return binary.LittleEndian.AppendUint32(append(b, width), v)
}

const accessSize = 7

// FuzzTransport plays any sequence of register accesses. The status stays one
// that 3.1.1 knows, and no access panics.
func FuzzTransport(f *testing.F) {
	var start []byte
	for _, a := range [][]byte{
		access(virtio.RegStatus, 4, 1), access(virtio.RegStatus, 4, 3),
		access(virtio.RegDriverFeaturesSel, 4, 1), access(virtio.RegDriverFeatures, 4, 1),
		access(virtio.RegStatus, 4, 11),
		access(virtio.RegQueueSize, 4, 8), access(virtio.RegQueueDescLow, 4, 0x1000),
		access(virtio.RegQueueDriverLow, 4, 0x2000), access(virtio.RegQueueDeviceLow, 4, 0x3000),
		access(virtio.RegQueueReady, 4, 1), access(virtio.RegStatus, 4, 15),
	} {
		start = append(start, a...)
	}
	f.Add(start)
	f.Add(append(slices.Clone(start), access(virtio.RegQueueNotify, 4, 0)...))
	f.Add(append(slices.Clone(start), access(virtio.RegQueueDescHigh, 4, 0xffffffff)...))
	f.Add(append(slices.Clone(start), access(virtio.RegStatus, 4, 0)...))
	f.Add(append(access(virtio.RegQueueSel, 4, 0xffffffff), access(virtio.RegQueueSize, 4, 1)...))
	f.Add(append(access(virtio.RegConfig+6, 8, 1), access(virtio.RegConfigGeneration, 2, 1)...))

	f.Fuzz(func(t *testing.T, script []byte) {
		memory, err := guestmem.New(guestmem.MiB)
		if err != nil {
			t.Fatal(err)
		}
		defer memory.Close()
		failed := make(chan error, len(script)+1)
		tr, err := virtio.NewMMIOTransport(&echo{size: 16}, memory, func() {}, func(err error) { failed <- err })
		if err != nil {
			t.Fatal(err)
		}
		d := virtiotest.Wrap(t, memory, tr, 1)
		known := []uint32{0, 1, 3, 11, 15}
		for ; len(script) >= accessSize; script = script[accessSize:] {
			offset := uint64(binary.LittleEndian.Uint16(script))
			value := make([]byte, 8)
			copy(value, script[3:accessSize])
			width := 1 << (script[2] & 3)
			if script[2]&4 != 0 {
				width = 4
			}
			if offset == virtio.RegConfig+configBug {
				continue
			}
			tr.Write(offset, value[:width])
			tr.Read(offset, value[:width])
			status := d.Load(virtio.RegStatus)
			if !slices.Contains(known, status&^(virtio.StatusFailed|virtio.StatusNeedsReset)) {
				t.Fatalf("status %#x", status)
			}
		}
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
		close(failed)
		for err := range failed {
			var bug *virtio.PanicError
			if errors.As(err, &bug) {
				t.Fatal(err)
			}
		}
	})
}

// FuzzQueue lays any bytes over a ring and its RAM, and pops what is there.
// Chains are bounded and lie in RAM, whatever they are made of.
func FuzzQueue(f *testing.F) {
	const size, ram = 8, 16 * guestmem.PageSize
	const desc, avail, used, rest = 0, 128, 148, 256
	build := func(idx uint16, heads []uint16, descs ...virtiotest.Desc) []byte {
		b := make([]byte, rest)
		for i, d := range descs {
			virtiotest.PutDesc(b[desc+16*i:], d)
		}
		binary.LittleEndian.PutUint16(b[avail+2:], idx)
		for i, h := range heads {
			binary.LittleEndian.PutUint16(b[avail+4+2*i:], h)
		}
		return b
	}
	f.Add(build(1, nil, virtiotest.Desc{Addr: 0x1000, Len: 10}))
	f.Add(build(1, nil, virtiotest.Desc{Addr: 0x1000, Len: 10, Flags: virtio.DescNext}))
	f.Add(build(2, []uint16{1, 0}, virtiotest.Desc{Addr: 0x1000, Len: 10, Flags: virtio.DescWrite}, virtiotest.Desc{Addr: 0, Len: 256, Flags: virtio.DescNext}))
	f.Add(build(1, nil, virtiotest.Desc{Addr: 16, Len: 112, Flags: virtio.DescIndirect}, virtiotest.Desc{Addr: 0x1000, Len: 10}))
	f.Add(build(1, nil, virtiotest.Desc{Addr: 0, Len: 128, Flags: virtio.DescIndirect}))
	f.Add(build(9, nil))

	f.Fuzz(func(t *testing.T, content []byte) {
		memory, err := guestmem.New(ram)
		if err != nil {
			t.Fatal(err)
		}
		defer memory.Close()
		copy(memory.Regions()[0].Bytes, content)
		q, err := virtio.NewQueue(memory, virtio.QueueConfig{Size: size, Desc: desc, Driver: avail, Device: used}, size,
			virtio.FeatureIndirectDesc|virtio.FeatureEventIdx)
		if err != nil {
			t.Fatal(err)
		}
		// A writable buffer may be the ring itself, so that the driver seems
		// to go on and on: that is its own time it wastes, not more.
		for range 4 * size {
			c, err := q.Pop()
			if c == nil || err != nil {
				return
			}
			pieces := len(c.Reader.Buffers()) + len(c.Writer.Buffers())
			sum := 0
			for _, b := range slices.Concat(c.Reader.Buffers(), c.Writer.Buffers()) {
				sum += len(b)
			}
			if pieces == 0 || pieces > size || sum != c.Readable()+c.Writable() {
				t.Fatalf("%d pieces, %d bytes, readable %d, writable %d", pieces, sum, c.Readable(), c.Writable())
			}
			readable := c.Readable()
			if n := c.Reader.Skip(sum); n != readable {
				t.Fatalf("skipped %d of %d bytes", n, readable)
			}
			if _, err := c.Writer.Write(make([]byte, min(c.Writable(), 100))); err != nil {
				t.Fatal(err)
			}
			q.AddUsed(c.Head(), c.Writer.Written())
			q.NeedsInterrupt()
			q.EnableNotify()
		}
	})
}
