package vsock

import (
	"context"
	"sync"
	"time"

	"github.com/clearrun/clearrun/virtio"
)

// session is the device from DRIVER_OK to reset.
type session struct {
	cid    uint32
	dial   func(context.Context, uint32) (Conn, error)
	active virtio.Activation

	ctx        context.Context // ends with the session; bounds dials
	cancel     context.CancelFunc
	goroutines sync.WaitGroup // of connections; added to under mu while not over
	rx, tx     *virtio.Worker

	mu        sync.Mutex // guards the rest, the receive queue, and all conns
	over      bool       // stopped or failed: rings are out of reach
	conns     map[connKey]*conn
	live      map[*conn]struct{} // those with goroutines, whether in conns or not
	greetings int
	ready     []*conn     // have something to send, each once
	resets    []connReset // RST for packets without a connection

	txPaused bool // the transmit queue waits until resets has room
	nextPort uint32
	packet   [headerSize]byte // the header being sent
}

// connKey names a connection as the guest's packets do.
type connKey struct {
	host, guest uint32 // ports
}

// connReset is one RST reply.
type connReset struct {
	key connKey
	typ uint16
}

func newSession(cid uint32, dial func(context.Context, uint32) (Conn, error), a virtio.Activation) *session {
	s := &session{
		cid: cid, dial: dial, active: a,
		conns: make(map[connKey]*conn), live: make(map[*conn]struct{}),
		nextPort: portBase,
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.rx = a.Go(queueRX, s.serveRX)
	s.tx = a.Go(queueTX, s.serveTX)
	return s
}

// stop ends the session and joins its goroutines.
func (s *session) stop() {
	s.tx.Stop()
	s.rx.Stop()
	s.takeLast()
	s.mu.Lock()
	s.end()
	s.mu.Unlock()
	// Writers flush and leave; whoever does not take it is cut off.
	late := time.AfterFunc(flushPatience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.live {
			c.closeHost()
		}
	})
	s.goroutines.Wait()
	late.Stop()
}

// end lets go of the rings and of everything that waits for the guest.
// Preconditions: mu is held.
func (s *session) end() {
	s.over = true
	s.cancel()
	for c := range s.live {
		c.guestGone()
	}
	clear(s.conns)
	s.ready, s.resets = nil, nil
}

// fail ends the session because the rings, or the device, are broken.
// Preconditions: mu is held.
func (s *session) fail(err error) {
	if !s.over {
		s.end()
		s.active.Fail(err)
	}
}

// start runs f in a goroutine for c, which counts as live until f returns.
// Preconditions: mu is held, the session is not over.
func (s *session) start(c *conn, f func()) {
	s.live[c] = struct{}{}
	s.goroutines.Go(func() {
		c.guard(f)
		s.mu.Lock()
		defer s.mu.Unlock()
		c.closeHost()
		delete(s.live, c)
	})
}

// guard runs f, one of c's goroutines. A panic in it costs the session.
func (c *conn) guard(f func()) {
	err := virtio.Guard(func() error { f(); return nil })
	if err == nil {
		return
	}
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	c.closeHost()
	c.session.fail(err)
}

// full says whether there may be no further connection.
func (s *session) full() bool {
	return len(s.live) >= connectionsMax || len(s.conns) >= connectionsMax
}

// freePort gives a host port from which nothing is connected to the guest's
// port.
func (s *session) freePort(guest uint32) uint32 {
	for {
		port := s.nextPort
		if s.nextPort++; s.nextPort == portEnd {
			s.nextPort = portBase
		}
		// Ends: there are far more ports than connections.
		if s.conns[connKey{host: port, guest: guest}] == nil {
			return port
		}
	}
}
