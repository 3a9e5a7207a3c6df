package virtiotest

import (
	"math"

	"github.com/clearrun/clearrun/virtio"
	"github.com/clearrun/clearrun/vmm/guestmem"
)

// brokenChain builds and publishes something that 2.7 forbids.
type brokenChain struct {
	name     string
	features uint64
	build    func(d *Driver, q *Queue)
}

// one publishes a chain of the given descriptors, the first at index 0.
func one(descs ...Desc) func(*Driver, *Queue) {
	return func(_ *Driver, q *Queue) {
		for i, desc := range descs {
			q.SetDesc(uint16(i), desc)
		}
		q.Publish(0)
	}
}

// table publishes one indirect descriptor with the given table.
func table(outer Desc, descs ...Desc) func(*Driver, *Queue) {
	return func(d *Driver, q *Queue) {
		gpa := d.Alloc(virtio.DescSize*uint64(len(descs)), virtio.DescAlign)
		for i, desc := range descs {
			PutDesc(d.Bytes(gpa+virtio.DescSize*uint64(i), virtio.DescSize), desc)
		}
		outer.Addr = gpa
		if outer.Len == 0 {
			outer.Len = uint32(virtio.DescSize * len(descs))
		}
		outer.Flags |= virtio.DescIndirect
		q.SetDesc(0, outer)
		q.Publish(0)
	}
}

func brokenChains() []brokenChain {
	const page = guestmem.PageSize
	const next, write, indirect = virtio.DescNext, virtio.DescWrite, virtio.DescIndirect
	noIndirect := uint64(AllFeatures &^ virtio.FeatureIndirectDesc)
	return []brokenChain{
		{"cycle of one", AllFeatures, one(Desc{page, 16, next, 0})},
		{"cycle of two", AllFeatures, one(Desc{page, 16, next, 1}, Desc{page, 16, next, 0})},
		{"writable cycle", AllFeatures, one(Desc{page, 16, next | write, 0})},
		{"head past the table", AllFeatures, func(_ *Driver, q *Queue) { q.Publish(q.config.Size) }},
		{"head 65535", AllFeatures, func(_ *Driver, q *Queue) { q.Publish(math.MaxUint16) }},
		{"next past the table", AllFeatures, one(Desc{page, 16, next, math.MaxUint16})},
		{"empty buffer", AllFeatures, one(Desc{page, 0, 0, 0})},
		{"buffer past RAM", AllFeatures, one(Desc{MemorySize - 8, 16, 0, 0})},
		{"buffer in MMIO", AllFeatures, one(Desc{guestmem.VirtioMMIOBase, 16, 0, 0})},
		{"buffer wraps", AllFeatures, one(Desc{math.MaxUint64 - 7, 16, 0, 0})},
		{"buffer of 4 GiB", AllFeatures, one(Desc{page, math.MaxUint32, write, 0})},
		{"readable after writable", AllFeatures, one(Desc{page, 16, next | write, 1}, Desc{page, 16, 0, 0})},
		{"undefined flag", AllFeatures, one(Desc{page, 16, 1 << 7, 0})},
		{"avail.idx jump", AllFeatures, func(_ *Driver, q *Queue) {
			q.SetDesc(0, Desc{page, 16, 0, 0}) // nothing else is wrong
			q.SetAvailIdx(q.config.Size + 1)
		}},
		{"avail.idx back", AllFeatures, func(_ *Driver, q *Queue) { q.SetAvailIdx(math.MaxUint16) }},
		{"indirect not negotiated", noIndirect, table(Desc{}, Desc{page, 16, 0, 0})},
		{"indirect and next", AllFeatures, table(Desc{Flags: next}, Desc{page, 16, 0, 0})},
		{"indirect in indirect", AllFeatures, table(Desc{}, Desc{page, 16, indirect, 0})},
		{"indirect cycle", AllFeatures, table(Desc{}, Desc{page, 16, next, 0})},
		{"indirect of 8 bytes", AllFeatures, table(Desc{Len: 8}, Desc{page, 16, 0, 0})},
		{"indirect of no bytes", AllFeatures, one(Desc{page, 0, indirect, 0})},
		{"indirect past RAM", AllFeatures, one(Desc{MemorySize - 8, 16, indirect, 0})},
		{"indirect next past its table", AllFeatures, table(Desc{}, Desc{page, 16, next, 1})},
	}
}
