package vsock

import (
	"errors"

	"github.com/clearrun/clearrun/virtio"
)

// errSmallBuffer: 5.10.6.1.1 wants receive buffers of at least a header, and
// one byte is the least that makes progress.
var errSmallBuffer = errors.New("vsock: receive buffer has no room for a packet")

// serveRX goes on sending when the guest has added receive buffers.
func (s *session) serveRX(*virtio.Worker) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		// Buffers matter only while something waits for one: pump asks then.
		s.active.Queues[queueRX].DisableNotify()
		s.pump()
	}
	return nil
}

// pump sends what is ready, as far as receive buffers go. Whoever made
// something ready calls it. Preconditions: mu is held.
//
// It ends: only under mu can more become ready.
func (s *session) pump() {
	if s.over || !s.hasPacket() {
		return
	}
	q := s.active.Queues[queueRX]
	for s.hasPacket() {
		chain, err := q.Pop()
		if err != nil {
			s.fail(err)
			return
		}
		if chain == nil {
			if q.EnableNotify() {
				continue
			}
			break
		}
		if chain.Writable() <= headerSize {
			s.fail(errSmallBuffer)
			return
		}
		if err := s.sendPacket(&chain.Writer); err != nil {
			s.fail(err)
			return
		}
		q.AddUsed(chain.Head(), chain.Writer.Written())
	}
	if q.NeedsInterrupt() {
		s.active.Interrupt()
	}
	s.resumeTX()
}

// hasPacket says whether there is anything to send; if it is no RST reply, it
// is from ready[0].
func (s *session) hasPacket() bool {
	if len(s.resets) > 0 {
		return true
	}
	for len(s.ready) > 0 {
		if s.ready[0].sendable() {
			return true
		}
		s.popReady()
	}
	return false
}

func (s *session) popReady() *conn {
	c := s.ready[0]
	s.ready[0] = nil
	s.ready = s.ready[1:]
	c.queued = false
	return c
}

// resumeTX lets the guest's packets go on once replies have room.
func (s *session) resumeTX() {
	if s.txPaused && len(s.resets) < resetsMax {
		s.txPaused = false
		if err := virtio.Kick(s.active.Notify[queueTX]); err != nil {
			s.fail(err)
		}
	}
}

// sendPacket writes the next packet. Connections take turns, a packet each.
// Preconditions: hasPacket.
func (s *session) sendPacket(w *virtio.Writer) error {
	if len(s.resets) > 0 {
		r := s.resets[0]
		s.resets = s.resets[1:]
		return s.write(w, r.key, header{typ: r.typ, op: opReset}, nil)
	}
	c := s.popReady()
	h, data := c.nextPacket(w.Len() - headerSize)
	h.bufAlloc, h.fwdCnt = windowSize, c.fwd
	c.fwdSent = c.fwd
	c.pending &^= pendCredit // every packet carries it
	err := s.write(w, c.key, h, data)
	c.sent(h.op, len(data))
	c.schedule()
	return err
}

// write fills in the addresses and copies a packet to the guest.
func (s *session) write(w *virtio.Writer, key connKey, h header, data []byte) error {
	h.srcCID, h.dstCID = hostCID, uint64(s.cid)
	h.srcPort, h.dstPort = key.host, key.guest
	h.len = uint32(len(data))
	h.encode(&s.packet)
	if _, err := w.Write(s.packet[:]); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}
