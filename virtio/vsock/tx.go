package vsock

import (
	"io"

	"github.com/clearrun/clearrun/virtio"
)

// serveTX takes the guest's packets.
func (s *session) serveTX(w *virtio.Worker) error {
	q := s.active.Queues[queueTX]
	q.DisableNotify()
	for !w.Stopping() && !s.pauseTX() {
		chain, err := q.Pop()
		if err != nil {
			return err
		}
		if chain == nil {
			if !q.EnableNotify() {
				break
			}
			q.DisableNotify()
			continue
		}
		s.take(chain)
		q.AddUsed(chain.Head(), 0)
	}
	// Once per batch: the guest wants its buffers back, but in no hurry.
	if q.NeedsInterrupt() {
		s.active.Interrupt()
	}
	return nil
}

// pauseTX says whether too many replies wait already. Then the guest's
// packets stay where they are, until pump kicks the queue.
func (s *session) pauseTX() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.txPaused = len(s.resets) >= resetsMax
	return s.txPaused || s.over
}

// takeLast takes what the guest sent before it reset the device or powered
// off: the last words of an app. Preconditions: the workers have stopped.
func (s *session) takeLast() {
	q := s.active.Queues[queueTX]
	for range q.Size() {
		if s.pauseTX() {
			return
		}
		chain, err := q.Pop()
		if chain == nil || err != nil {
			return
		}
		s.take(chain)
		q.AddUsed(chain.Head(), 0)
	}
}

// take handles one packet, and sends what it gave rise to. One too short for
// a header is dropped.
func (s *session) take(chain *virtio.DescriptorChain) {
	var raw [headerSize]byte
	if _, err := io.ReadFull(&chain.Reader, raw[:]); err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.receive(decodeHeader(&raw), &chain.Reader)
	s.pump()
}

// receive dispatches a packet (5.10.6). Preconditions: mu is held.
func (s *session) receive(h header, payload *virtio.Reader) {
	if h.srcCID != uint64(s.cid) || h.dstCID != hostCID {
		return // 5.10.6.4: no such route
	}
	key := connKey{host: h.dstPort, guest: h.srcPort}
	if h.typ != typeStream {
		s.refuse(key, h)
		return
	}
	c := s.conns[key]
	switch {
	case c != nil:
		c.receive(h, payload)
	case h.op == opRequest && !s.full() && s.dial != nil:
		s.connect(key, h)
	default:
		s.refuse(key, h)
	}
}

// refuse answers a packet of no connection with RST, unless it is one.
func (s *session) refuse(key connKey, h header) {
	if h.op != opReset {
		s.resets = append(s.resets, connReset{key: key, typ: h.typ})
	}
}

// connect opens a connection for the guest's REQUEST.
func (s *session) connect(key connKey, h header) {
	c := newConn(s)
	c.key, c.phase = key, phaseDialing
	c.peerBuf, c.peerFwd = h.bufAlloc, h.fwdCnt
	s.conns[key] = c
	s.start(c, c.dial)
}

// receive handles a packet of this connection. Whatever does not fit its
// state ends it: a stream with a hole is worth nothing.
func (c *conn) receive(h header, payload *virtio.Reader) {
	c.peerBuf, c.peerFwd = h.bufAlloc, h.fwdCnt
	if c.credit() > 0 {
		c.creditAsked = false
	}
	switch {
	case h.op == opReset:
		c.guestGone()
	case h.op == opCreditUpdate:
	case h.op == opCreditRequest:
		c.pending |= pendCredit
	case h.op == opResponse && c.phase == phaseRequested:
		c.phase = phaseOpen
		c.wake()
	case h.op == opData && c.phase == phaseOpen:
		c.receiveData(h, payload)
	case h.op == opShutdown && c.phase == phaseOpen:
		c.receiveShutdown(h.flags)
	default:
		c.abort()
	}
	c.schedule()
}

// receiveData queues bytes for the host (5.10.6.5).
func (c *conn) receiveData(h header, payload *virtio.Reader) {
	n := int64(h.len)
	// 5.10.6.3.1: the guest must not send more than the window has room for.
	if c.guestDone || n > int64(payload.Len()) || n > int64(windowSize-c.in.n) {
		c.abort()
		return
	}
	if c.hostDeaf {
		c.consumed(int(n)) // dropped, as SHUTDOWN has told the guest
		return
	}
	if err := c.in.fill(payload, int(n)); err != nil {
		c.abort()
		return
	}
	c.wake()
}

// receiveShutdown notes what the guest will not do any more (5.10.6.6).
func (c *conn) receiveShutdown(flags uint32) {
	if flags&shutdownSend != 0 {
		c.guestDone = true // the writer flushes, then tells the host
	}
	if flags&shutdownReceive != 0 && !c.guestDeaf {
		c.guestDeaf = true
		c.out = nil
		if r, ok := c.host.(interface{ CloseRead() error }); ok {
			_ = r.CloseRead() // so that the host's writes fail, too
		}
	}
	c.settle()
	c.wake()
}
