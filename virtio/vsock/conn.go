package vsock

import "context"

// phase is where a connection stands between guest and host.
type phase uint8

const (
	phaseGreeting  phase = iota // a host process has not said CONNECT yet
	phaseRequested              // the guest has not answered REQUEST yet
	phaseDialing                // the host has not answered the guest's REQUEST yet
	phaseOpen
	phaseGone // the guest knows nothing of it any more
)

// pending says which packets, other than data, a connection wants to send.
type pending uint8

const (
	pendRequest pending = 1 << iota
	pendResponse
	pendCredit
	pendAsk // CREDIT_REQUEST
	pendShutdown
	pendReset // the last one ever
)

// conn is one connection. The session's mutex guards all of it but host,
// which is set before the connection is open.
type conn struct {
	session *session
	key     connKey
	host    Conn
	phase   phase
	ctx     context.Context // of the dial; ends when the host's end is closed
	cancel  context.CancelFunc

	pending     pending
	queued      bool // in session.ready
	hostClosed  bool
	writerAwake chan struct{} // tokens that state has changed, capacity 1
	readerAwake chan struct{}

	// From guest to host.
	in        ring
	fwd       uint32 // bytes taken out of in, ever (fwd_cnt)
	fwdSent   uint32 // as the guest knows it
	guestDone bool   // the guest sends no more
	flushed   bool   // and the host has got all of it
	hostDeaf  bool   // the host reads no more

	// From host to guest.
	out         []byte // read from host, not sent yet; the reader's memory
	hostDone    bool   // the host sends no more
	guestDeaf   bool   // the guest reads no more
	peerBuf     uint32 // the guest's buf_alloc
	peerFwd     uint32 // and fwd_cnt
	sentBytes   uint32 // bytes of data sent, ever
	creditAsked bool

	shutWant uint32 // flags of the SHUTDOWN that the guest is to get
	shutSent uint32 // those it has got
}

func newConn(s *session) *conn {
	c := &conn{session: s, writerAwake: make(chan struct{}, 1), readerAwake: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	return c
}

// wake makes both goroutines look at the state again.
func (c *conn) wake() {
	for _, awake := range [...]chan struct{}{c.writerAwake, c.readerAwake} {
		select {
		case awake <- struct{}{}:
		default:
		}
	}
}

// credit is how many bytes the guest has room for (5.10.6.3).
func (c *conn) credit() uint32 {
	inFlight := c.sentBytes - c.peerFwd
	if inFlight >= c.peerBuf {
		return 0
	}
	return c.peerBuf - inFlight
}

// sendable says whether a packet could go out now.
func (c *conn) sendable() bool {
	return c.phase != phaseGone && (c.pending != 0 || len(c.out) > 0 && c.credit() > 0)
}

// schedule enters the connection into the session's queue of senders, if it
// has something to send.
func (c *conn) schedule() {
	if len(c.out) > 0 && c.credit() == 0 && !c.creditAsked {
		c.creditAsked = true
		c.pending |= pendAsk
	}
	if !c.queued && c.sendable() {
		c.queued = true
		c.session.ready = append(c.session.ready, c)
	}
}

// nextPacket chooses the packet to send, with at most room bytes of data.
// Preconditions: sendable.
func (c *conn) nextPacket(room int) (header, []byte) {
	h := header{typ: typeStream}
	switch {
	case c.pending&pendReset != 0:
		h.op = opReset
	case c.pending&pendRequest != 0:
		h.op = opRequest
	case c.pending&pendResponse != 0:
		h.op = opResponse
	case c.pending&pendShutdown != 0:
		h.op, h.flags = opShutdown, c.shutWant
	case len(c.out) > 0 && c.credit() > 0:
		h.op = opData
		return h, c.out[:min(int64(len(c.out)), int64(c.credit()), int64(room))]
	case c.pending&pendAsk != 0:
		h.op = opCreditRequest
	default:
		h.op = opCreditUpdate
	}
	return h, nil
}

// sent notes that a packet has gone out.
func (c *conn) sent(op uint16, n int) {
	switch op {
	case opReset:
		c.pending, c.phase = 0, phaseGone
		delete(c.session.conns, c.key)
	case opRequest:
		c.pending &^= pendRequest
	case opResponse:
		c.pending &^= pendResponse
	case opShutdown:
		c.pending &^= pendShutdown
		c.shutSent = c.shutWant
	case opCreditRequest:
		c.pending &^= pendAsk
	case opData:
		c.sentBytes += uint32(n)
		if c.out = c.out[n:]; len(c.out) == 0 {
			c.wake() // the reader may read on
		}
	}
	c.settle()
}

// settle brings the end of a connection about, step by step: SHUTDOWN when
// nothing of the host is left to send, RST when nothing flows either way.
func (c *conn) settle() {
	if c.phase != phaseOpen || c.pending&pendReset != 0 {
		return
	}
	want := c.shutWant
	if c.hostDone && len(c.out) == 0 && !c.guestDeaf {
		want |= shutdownSend
	}
	if c.hostDeaf && !c.guestDone {
		want |= shutdownReceive
	}
	if want != c.shutWant {
		c.shutWant = want
		c.pending |= pendShutdown
	}
	// The RST lets the guest forget the port pair (5.10.6.6).
	if c.flushed && (c.guestDeaf || c.shutSent&shutdownSend != 0) {
		c.abort()
	}
}

// abort ends the connection for both sides: RST for the guest, and the host's
// end is closed.
func (c *conn) abort() {
	if c.phase == phaseGone {
		return
	}
	c.pending = pendReset
	c.out = nil
	c.closeHost()
	c.schedule()
}

// guestGone ends the connection because the guest has. What it sent before is
// still flushed to the host.
func (c *conn) guestGone() {
	flush := c.phase == phaseOpen && c.pending&pendReset == 0
	if c.phase != phaseGone {
		delete(c.session.conns, c.key)
	}
	c.phase, c.pending = phaseGone, 0
	c.out = nil
	c.guestDone, c.guestDeaf = true, true
	if flush {
		c.wake()
	} else {
		c.closeHost()
	}
}

// closeHost closes the host's end and makes the goroutines return.
func (c *conn) closeHost() {
	if !c.hostClosed {
		c.hostClosed = true
		c.cancel()
		if c.host != nil {
			_ = c.host.Close()
		}
	}
	c.wake()
}
