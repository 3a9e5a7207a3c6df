package vsock

import (
	"errors"
	"io"
	"sync"
)

// dial answers the guest's REQUEST, then relays.
func (c *conn) dial() {
	host, err := c.session.dial(c.ctx, c.key.host)
	if c.dialed(host, err) {
		c.relay()
	}
}

// dialed opens the connection, or refuses it to the guest.
func (c *conn) dialed(host Conn, err error) bool {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.pump()
	if err != nil {
		c.abort()
		return false
	}
	c.host = host
	if c.hostClosed { // given up meanwhile
		_ = host.Close()
		return false
	}
	c.phase = phaseOpen
	c.pending |= pendResponse
	c.schedule()
	return true
}

// relay moves bytes both ways until both directions have ended.
func (c *conn) relay() {
	var reading sync.WaitGroup
	reading.Go(func() { c.guard(c.readHost) })
	c.guard(c.writeHost)
	reading.Wait()
}

// readHost reads what the host sends, a buffer at a time, until it ends.
func (c *conn) readHost() {
	buf := make([]byte, readMin)
	for {
		n, err := c.host.Read(buf)
		if !c.deliver(buf[:n], err) {
			return
		}
		if n == len(buf) && n < readMax {
			buf = make([]byte, 2*n)
		}
	}
}

// deliver hands bytes, or the end of them, to the guest, and waits until the
// guest has taken the bytes. It returns false when there is nothing to read
// any more. Bytes for a guest that reads no more are dropped: a host process
// that waits for room to write them must come to see that.
func (c *conn) deliver(p []byte, err error) bool {
	if !c.offer(p, err) {
		return false
	}
	for !c.outEmpty() {
		<-c.readerAwake
	}
	return true
}

func (c *conn) offer(p []byte, err error) bool {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.hostClosed {
		return false
	}
	if !c.guestDeaf {
		c.out = p
	}
	switch {
	case errors.Is(err, io.EOF):
		c.hostDone = true
	case err != nil:
		c.abort()
	}
	c.settle()
	c.schedule()
	s.pump()
	return err == nil
}

// outEmpty says whether the guest has taken all bytes, or never will.
func (c *conn) outEmpty() bool {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	return len(c.out) == 0 || c.hostClosed
}

// writeHost writes what the guest sends, until it ends or the host takes no
// more.
func (c *conn) writeHost() {
	for {
		p, ok := c.nextWrite()
		if !ok {
			return
		}
		if len(p) == 0 { // the guest is done, and all of it is written
			err := c.host.CloseWrite()
			c.wrote(0, err, true)
			return
		}
		n, err := c.host.Write(p)
		c.wrote(n, err, false)
		if err != nil {
			return
		}
	}
}

// nextWrite waits for bytes for the host. None, but ok, mean the end of the
// stream; not ok that the host's end is closed.
func (c *conn) nextWrite() (p []byte, ok bool) {
	for {
		c.session.mu.Lock()
		p, done, closed := c.in.front(), c.guestDone, c.hostClosed
		c.session.mu.Unlock()
		if closed {
			return nil, false
		}
		if len(p) > 0 || done {
			return p, true
		}
		<-c.writerAwake
	}
}

// wrote notes that the host took n bytes, or with an error that it takes no
// more, and that it was the last if done.
func (c *conn) wrote(n int, err error, done bool) {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	c.in.advance(n)
	c.consumed(n)
	if err != nil && !done {
		c.hostDeaf = true
		c.consumed(c.in.n)
	}
	if err != nil || done {
		c.in = ring{}
		c.flushed = true
	}
	if c.flushed && c.phase == phaseGone {
		c.closeHost() // the reader has no other reason to return
	}
	c.settle()
	c.schedule()
	s.pump()
}

// consumed counts bytes that left the window, and tells the guest in time.
func (c *conn) consumed(n int) {
	c.fwd += uint32(n)
	if c.fwd-c.fwdSent >= updateAfter && c.phase == phaseOpen && c.pending&pendReset == 0 {
		c.pending |= pendCredit
	}
}
