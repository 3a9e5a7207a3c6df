package vmm

// A Handler serves guest accesses to a range of the bus. offset counts from
// the start of the range; p is 1 to 8 bytes, read from or to be filled.
type Handler interface {
	Read(offset uint64, p []byte)
	Write(offset uint64, p []byte)
}

// Bus routes the guest's port and MMIO accesses to handlers. Ranges are added
// before the machine runs and never change, so look-ups take no lock.
type Bus struct {
	mmio, ports []busRange
}

type busRange struct {
	start, size uint64
	handler     Handler
}

// AddMMIO puts h on guest-physical addresses [start, start+size).
func (b *Bus) AddMMIO(start, size uint64, h Handler) {
	b.mmio = append(b.mmio, busRange{start, size, h})
}

// AddPorts puts h on I/O ports [start, start+size).
func (b *Bus) AddPorts(start uint16, size uint64, h Handler) {
	b.ports = append(b.ports, busRange{uint64(start), size, h})
}

// MMIO serves one access. As on a real bus, nobody answering reads as ones.
func (b *Bus) MMIO(addr uint64, p []byte, write bool) { access(b.mmio, addr, p, write) }

// Port serves a port access of len(p)/size repetitions (string I/O).
func (b *Bus) Port(port uint16, size int, p []byte, write bool) {
	if size <= 0 {
		return
	}
	for ; len(p) >= size; p = p[size:] {
		access(b.ports, uint64(port), p[:size], write)
	}
}

func access(ranges []busRange, addr uint64, p []byte, write bool) {
	for i := range ranges {
		r := &ranges[i]
		if addr < r.start || addr-r.start >= r.size {
			continue
		}
		if write {
			r.handler.Write(addr-r.start, p)
		} else {
			r.handler.Read(addr-r.start, p)
		}
		return
	}
	if !write {
		for i := range p {
			p[i] = noDevice
		}
	}
}

// noDevice is what a read without an answering device gives.
const noDevice = 0xff
