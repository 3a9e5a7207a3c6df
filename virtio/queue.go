package virtio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/clearrun/clearrun/vmm/guestmem"
)

// QueueConfig is what the driver has set up for one queue (4.2.2).
type QueueConfig struct {
	Size   uint16 // in descriptors
	Desc   uint64 // guest-physical address of the descriptor table,
	Driver uint64 // the available ring,
	Device uint64 // and the used ring
}

// Queue is the device's end of one split virtqueue (2.7). One goroutine uses
// it at a time.
type Queue struct {
	memory *guestmem.GuestMemory
	size   uint16
	desc   []byte
	avail  guestmem.Window
	used   guestmem.Window

	indirect bool
	eventIdx bool

	nextAvail uint16 // ring index of the next chain to pop
	nextUsed  uint16 // ring index of the next used element
	signalled uint16 // nextUsed when NeedsInterrupt was last asked
	usedFlags uint32

	chain  DescriptorChain
	pieces [][]byte // backing of chain's readers, capacity size
}

// Ring errors: the driver broke 2.7, the device cannot go on.
var (
	errAvailJump   = errors.New("avail.idx is further ahead than the queue is long")
	errChainLong   = errors.New("descriptor chain is longer than the queue, or a cycle")
	errChainSize   = errors.New("descriptor chain of 4 GiB or more")
	errDescIndex   = errors.New("descriptor index out of range")
	errDescEmpty   = errors.New("descriptor of length 0")
	errDescOrder   = errors.New("device-readable descriptor after a writable one")
	errDescFlags   = errors.New("undefined descriptor flags")
	errIndirect    = errors.New("indirect descriptor is nested, chained, or not negotiated")
	errIndirectLen = errors.New("indirect table is empty or not whole descriptors")
)

// NewQueue checks a driver's queue: size a power of two up to sizeMax, all
// three parts aligned (2.7) and in RAM. features are those negotiated.
func NewQueue(memory *guestmem.GuestMemory, config QueueConfig, sizeMax uint16, features uint64) (*Queue, error) {
	size := config.Size
	if size == 0 || size > sizeMax || size > QueueSizeMax || size&(size-1) != 0 {
		return nil, fmt.Errorf("queue size %d: not a power of two up to %d", size, sizeMax)
	}
	if config.Desc%DescAlign != 0 {
		return nil, fmt.Errorf("descriptor table at %#x: misaligned", config.Desc)
	}
	desc, err := memory.Slice(config.Desc, DescSize*uint64(size))
	if err != nil {
		return nil, fmt.Errorf("descriptor table: %w", err)
	}
	avail, err := memory.Window(config.Driver, AvailSize(size), AvailAlign)
	if err != nil {
		return nil, fmt.Errorf("available ring: %w", err)
	}
	used, err := memory.Window(config.Device, UsedSize(size), UsedAlign)
	if err != nil {
		return nil, fmt.Errorf("used ring: %w", err)
	}
	return &Queue{
		memory: memory, size: size, desc: desc, avail: avail, used: used,
		indirect: features&FeatureIndirectDesc != 0,
		eventIdx: features&FeatureEventIdx != 0,
		pieces:   make([][]byte, 0, size),
	}, nil
}

// Size is the number of descriptors.
func (q *Queue) Size() uint16 { return q.size }

// Pop takes the next chain that the driver made available, nil if there is
// none. It must be given back with AddUsed; it is valid until the next Pop.
// After an error the queue is beyond repair.
func (q *Queue) Pop() (*DescriptorChain, error) {
	pending := q.avail.Load16(availIdx) - q.nextAvail
	if pending == 0 {
		return nil, nil
	}
	if pending > q.size {
		return nil, errAvailJump
	}
	head := q.avail.Load16(availRing + availElemSize*int(q.nextAvail&(q.size-1)))
	readable, err := q.walk(head)
	if err != nil {
		return nil, fmt.Errorf("chain %d: %w", head, err)
	}
	q.nextAvail++
	q.chain = DescriptorChain{
		head:   head,
		Reader: Reader{newCursor(q.pieces[:readable])},
		Writer: Writer{cursor: newCursor(q.pieces[readable:])},
	}
	return &q.chain, nil
}

// walk collects the chain from head into q.pieces, readable pieces first, and
// returns how many of these there are.
func (q *Queue) walk(head uint16) (readable int, err error) {
	q.pieces = q.pieces[:0]
	table, index, nested := q.desc, head, false
	var total uint64
	for {
		if int(index) >= len(table)/DescSize {
			return 0, errDescIndex
		}
		d := readDescriptor(table, index)
		if d.flags&DescIndirect != 0 {
			// At most once per chain, so this does not loop.
			if table, err = q.indirectTable(d, nested); err != nil {
				return 0, err
			}
			index, nested = 0, true
			continue
		}
		if len(q.pieces) == int(q.size) {
			return 0, errChainLong // the attacker's cycle ends here
		}
		if total += uint64(d.len); total > math.MaxUint32 {
			return 0, errChainSize
		}
		if err := q.addPiece(d, &readable); err != nil {
			return 0, err
		}
		if d.flags&DescNext == 0 {
			return readable, nil
		}
		index = d.next
	}
}

// addPiece checks what d points at and appends it to q.pieces.
func (q *Queue) addPiece(d descriptor, readable *int) error {
	switch {
	case d.len == 0:
		return errDescEmpty
	case d.flags&^(DescNext|DescWrite) != 0:
		return errDescFlags
	case d.flags&DescWrite == 0 && *readable < len(q.pieces):
		return errDescOrder // 2.7.4.2
	case d.flags&DescWrite == 0:
		*readable++
	}
	piece, err := q.memory.Slice(d.addr, uint64(d.len))
	if err != nil {
		return err
	}
	q.pieces = append(q.pieces, piece)
	return nil
}

// indirectTable gives the table that d points at (2.7.5.3).
func (q *Queue) indirectTable(d descriptor, nested bool) ([]byte, error) {
	if !q.indirect || nested || d.flags&DescNext != 0 {
		return nil, errIndirect
	}
	if d.len == 0 || d.len%DescSize != 0 {
		return nil, errIndirectLen
	}
	return q.memory.Slice(d.addr, uint64(d.len))
}

type descriptor struct {
	addr        uint64
	len         uint32
	flags, next uint16
}

// readDescriptor reads each field of a descriptor once: it copies the entry,
// then decodes the copy.
func readDescriptor(table []byte, index uint16) descriptor {
	var b [DescSize]byte
	copy(b[:], table[DescSize*int(index):])
	return descriptor{
		addr:  binary.LittleEndian.Uint64(b[descAddr:]),
		len:   binary.LittleEndian.Uint32(b[descLen:]),
		flags: binary.LittleEndian.Uint16(b[descFlags:]),
		next:  binary.LittleEndian.Uint16(b[descNext:]),
	}
}

// AddUsed gives the chain head back to the driver, with length bytes of its
// writable part written (2.7.8). The driver sees it at once; whether it also
// wants an interrupt says NeedsInterrupt.
func (q *Queue) AddUsed(head uint16, length int) {
	elem := usedRing + usedElemSize*int(q.nextUsed&(q.size-1))
	q.used.Store32(elem, uint32(head))
	q.used.Store32(elem+usedElemLen, uint32(length))
	q.nextUsed++
	q.publishUsed()
}

// publishUsed writes used.flags and used.idx. It is a full barrier.
func (q *Queue) publishUsed() {
	q.used.Store32(usedFlagsIdx, q.usedFlags|uint32(q.nextUsed)<<usedIdxShift)
}
