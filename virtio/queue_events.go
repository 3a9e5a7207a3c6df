package virtio

import "github.com/clearrun/clearrun/vmm/guestmem"

// NeedsInterrupt says whether the driver wants to hear of the buffers used
// since NeedsInterrupt was last asked (2.7.7, 2.7.10).
func (q *Queue) NeedsInterrupt() bool {
	before := q.signalled
	q.signalled = q.nextUsed
	if before == q.nextUsed {
		return false
	}
	if !q.eventIdx {
		return q.avail.Load16(availFlags)&AvailNoInterrupt == 0
	}
	event := q.avail.Load16(availRing + availElemSize*int(q.size))
	return passed(event, before, q.nextUsed)
}

// passed says whether a ring index that went from before to now left event
// behind (2.7.10.1). All three wrap around.
func passed(event, before, now uint16) bool { return now-event-1 < now-before }

// DisableNotify tells the driver that its kicks are not needed while the
// device polls. The driver may kick all the same.
func (q *Queue) DisableNotify() {
	// With EVENT_IDX nothing needs to be written: the driver kicks once when
	// it passes avail_event, then not again until that moves.
	if !q.eventIdx {
		q.usedFlags |= UsedNoNotify
		q.publishUsed()
	}
}

// EnableNotify asks the driver to kick for the next chain. It returns true if
// a chain is there already, added before the driver could know: then the
// caller pops on instead of going to sleep.
func (q *Queue) EnableNotify() bool {
	if q.eventIdx {
		q.used.Store16(usedRing+usedElemSize*int(q.size), q.nextAvail)
		guestmem.Fence()
	} else {
		q.usedFlags &^= UsedNoNotify
		q.publishUsed()
	}
	return q.avail.Load16(availIdx) != q.nextAvail
}
