package vmm

import (
	"maps"
	"sync/atomic"
)

// A Handler serves guest accesses to a range of the bus. offset counts from
// the start of the range; p is 1 to 8 bytes, read from or to be filled.
type Handler interface {
	Read(offset uint64, p []byte)
	Write(offset uint64, p []byte)
}

// Bus routes the guest's port and MMIO accesses to handlers. Ranges are added
// before the machine runs and never change, so look-ups take no lock.
type Bus struct {
	mmio, ports space
}

// space is one of the two address spaces of a bus.
type space struct {
	ranges    []*busRange
	unclaimed atomic.Uint64 // exits for addresses where nobody is
}

type busRange struct {
	start, size uint64
	handler     Handler
	name        string
	exits       atomic.Uint64
}

// AddMMIO puts h on guest-physical addresses [start, start+size). Its exits are counted
// under name.
func (b *Bus) AddMMIO(name string, start, size uint64, h Handler) {
	b.mmio.add(name, start, size, h)
}

// AddPorts puts h on I/O ports [start, start+size). Its exits are counted under name.
func (b *Bus) AddPorts(name string, start uint16, size uint64, h Handler) {
	b.ports.add(name, uint64(start), size, h)
}

func (s *space) add(name string, start, size uint64, h Handler) {
	s.ranges = append(s.ranges, &busRange{start: start, size: size, handler: h, name: name})
}

// MMIO serves one access. As on a real bus, nobody answering reads as ones.
func (b *Bus) MMIO(addr uint64, p []byte, write bool) { access(b.mmio.find(addr), addr, p, write) }

// Port serves a port access of len(p)/size repetitions (string I/O), one exit.
func (b *Bus) Port(port uint16, size int, p []byte, write bool) {
	if size <= 0 {
		return
	}
	r := b.ports.find(uint64(port))
	for ; len(p) >= size; p = p[size:] {
		access(r, uint64(port), p[:size], write)
	}
}

// find counts an exit and gives the range of addr, nil if it is nobody's.
func (s *space) find(addr uint64) *busRange {
	for _, r := range s.ranges {
		if addr >= r.start && addr-r.start < r.size {
			r.exits.Add(1)
			return r
		}
	}
	s.unclaimed.Add(1)
	return nil
}

func access(r *busRange, addr uint64, p []byte, write bool) {
	switch {
	case r == nil && !write:
		for i := range p {
			p[i] = noDevice
		}
	case r == nil:
	case write:
		r.handler.Write(addr-r.start, p)
	default:
		r.handler.Read(addr-r.start, p)
	}
}

// noDevice is what a read without an answering device gives.
const noDevice = 0xff

// exits gives the exits by name of the range, where there were any.
func (b *Bus) exits() map[string]uint64 {
	n := map[string]uint64{"no device (mmio)": b.mmio.unclaimed.Load(), "no device (port)": b.ports.unclaimed.Load()}
	for _, s := range []*space{&b.mmio, &b.ports} {
		for _, r := range s.ranges {
			n[r.name] += r.exits.Load()
		}
	}
	maps.DeleteFunc(n, func(_ string, count uint64) bool { return count == 0 })
	return n
}
