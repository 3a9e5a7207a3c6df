package vsock

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/clearrun/clearrun/virtio/virtiotest"
)

const (
	testCID = 7

	rxBufferSize = 4096 // as Linux posts them
	guestWindow  = 64 << 10
)

// portSilent is a port of the guest that does not answer.
const portSilent = 77

var errReset = errors.New("reset by peer")

// guest is the driver's half of the protocol, with credit and shutdown, as
// far as Linux goes.
type guest struct {
	t       testing.TB
	driver  *virtiotest.Driver
	stop    context.CancelFunc
	ctx     context.Context
	done    chan struct{}  // closed when the receiver has returned
	replies sync.WaitGroup // senders that the receiver started
	apps    sync.WaitGroup // what tests run in the guest, joined at their end

	txMu sync.Mutex
	tx   *virtiotest.Queue

	mu        sync.Mutex
	changed   *sync.Cond // of mu: any socket's state
	sockets   map[connKey]*socket
	listening map[uint32]chan *socket
	strays    []header // packets for no socket
	nextPort  uint32
}

// socket is one stream socket of the guest. guest.mu guards it.
type socket struct {
	g         *guest
	key       connKey
	connected bool
	reset     bool
	peerShut  uint32
	received  []byte
	fwd       uint32 // bytes read
	fwdSent   uint32
	peerBuf   uint32
	peerFwd   uint32
	sent      uint32
}

// boot starts a guest with that many receive buffers.
func boot(t testing.TB, c Config, features uint64, buffers int) *guest {
	t.Helper()
	c.GuestCID = testCID
	dev, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{
		t: t, driver: virtiotest.New(t, dev), done: make(chan struct{}),
		sockets: make(map[connKey]*socket), listening: make(map[uint32]chan *socket), nextPort: 1000,
	}
	g.changed = sync.NewCond(&g.mu)
	g.driver.Start(features)
	g.tx = g.driver.Queue(queueTX)
	g.ctx, g.stop = context.WithTimeout(context.Background(), 60*time.Second)
	context.AfterFunc(g.ctx, g.giveUp)
	go g.receive(buffers)
	t.Cleanup(func() { g.stop(); <-g.done; g.apps.Wait() })
	return g
}

// giveUp wakes whoever waits, so that it sees the end of ctx, and after a
// timeout closes the host's ends, too.
func (g *guest) giveUp() {
	g.mu.Lock()
	g.changed.Broadcast()
	g.mu.Unlock()
	if errors.Is(g.ctx.Err(), context.DeadlineExceeded) {
		g.driver.Transport.Close()
	}
}

// receive keeps the receive queue filled and dispatches packets.
func (g *guest) receive(buffers int) {
	defer close(g.done)
	defer g.replies.Wait()
	rx := g.driver.Queue(queueRX)
	for range buffers {
		if _, err := rx.Push(nil, rxBufferSize); err != nil {
			g.t.Error(err)
			return
		}
	}
	rx.Kick()
	for {
		r, err := rx.Next(g.ctx)
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				g.t.Error(err)
			}
			return
		}
		p := append([]byte(nil), r.In[0][:r.Written]...)
		if _, err := rx.Push(nil, rxBufferSize); err != nil {
			g.t.Error(err)
			return
		}
		rx.Kick()
		g.dispatch(p)
	}
}

func (g *guest) dispatch(p []byte) {
	if len(p) < headerSize {
		g.t.Errorf("packet of %d bytes", len(p))
		return
	}
	h := decodeHeader((*[headerSize]byte)(p))
	p = p[headerSize:]
	if h.srcCID != hostCID || h.dstCID != testCID || int(h.len) != len(p) || (h.len > 0) != (h.op == opData) {
		g.t.Errorf("bad header %+v before %d bytes", h, len(p))
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.changed.Broadcast()
	s := g.sockets[connKey{host: h.srcPort, guest: h.dstPort}]
	if s == nil {
		g.stray(h)
		return
	}
	s.peerBuf, s.peerFwd = h.bufAlloc, h.fwdCnt
	switch h.op {
	case opResponse:
		s.connected = true
	case opReset:
		s.reset = true
		delete(g.sockets, s.key)
	case opShutdown:
		s.peerShut |= h.flags
	case opData:
		if len(s.received)+len(p) > guestWindow || s.peerShut&shutdownSend != 0 {
			g.t.Errorf("socket %v: %d bytes beyond credit or shutdown", s.key, len(p))
		}
		s.received = append(s.received, p...)
	case opCreditRequest:
		// Not from the receiver: it must not wait for room to transmit.
		g.replies.Go(func() { s.send(opCreditUpdate, 0, nil) })
	case opCreditUpdate:
	default:
		g.t.Errorf("socket %v: unexpected %+v", s.key, h)
	}
}

// stray handles a packet for no socket: a REQUEST for a listener, or one that
// a test wants to see.
func (g *guest) stray(h header) {
	accept := g.listening[h.dstPort]
	if h.op != opRequest || accept == nil {
		g.strays = append(g.strays, h)
		if h.op != opReset && h.dstPort != portSilent {
			g.replies.Go(func() { g.send(header{srcPort: h.dstPort, dstPort: h.srcPort, op: opReset}, nil) })
		}
		return
	}
	s := g.socket(connKey{host: h.srcPort, guest: h.dstPort})
	s.connected, s.peerBuf, s.peerFwd = true, h.bufAlloc, h.fwdCnt
	g.replies.Go(func() {
		s.send(opResponse, 0, nil)
		accept <- s
	})
}

// socket enters a socket into the table. Preconditions: mu is held.
func (g *guest) socket(key connKey) *socket {
	s := &socket{g: g, key: key}
	g.sockets[key] = s
	return s
}

// send sends a packet, from this guest's stream unless h says otherwise.
func (g *guest) send(h header, data []byte) {
	if h.srcCID == 0 {
		h.srcCID, h.dstCID, h.typ = testCID, hostCID, typeStream
	}
	if h.len == 0 {
		h.len = uint32(len(data))
	}
	var raw [headerSize]byte
	h.encode(&raw)
	out := [][]byte{raw[:]}
	if len(data) > 0 {
		out = append(out, data)
	}
	g.sendRaw(out)
}

// sendRaw pushes a chain to the transmit queue and waits for room if need be.
func (g *guest) sendRaw(out [][]byte) {
	g.txMu.Lock()
	defer g.txMu.Unlock()
	for {
		for {
			r, err := g.tx.Used()
			if err != nil {
				g.t.Error(err)
			}
			if r == nil {
				break
			}
		}
		_, err := g.tx.Push(out)
		if err == nil {
			g.tx.Kick()
			return
		}
		if _, err := g.tx.Next(g.ctx); err != nil {
			if g.ctx.Err() == nil {
				g.t.Error(err)
			}
			return
		}
	}
}

// wait blocks until ok, which is called with mu held.
func (g *guest) wait(what string, ok func() bool) {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	for !ok() {
		if err := g.ctx.Err(); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				g.t.Errorf("%s: did not happen", what)
			}
			return
		}
		g.changed.Wait()
	}
}

// connect opens a socket to a port of the host.
func (g *guest) connect(port uint32) (*socket, error) {
	g.mu.Lock()
	g.nextPort++
	s := g.socket(connKey{host: port, guest: g.nextPort})
	g.mu.Unlock()
	s.send(opRequest, 0, nil)
	g.wait("connect", func() bool { return s.connected || s.reset })
	g.mu.Lock()
	defer g.mu.Unlock()
	if !s.connected {
		return nil, errReset
	}
	return s, nil
}

// mustConnect is connect for a port that answers.
func (g *guest) mustConnect(port uint32) *socket {
	g.t.Helper()
	s, err := g.connect(port)
	if err != nil {
		g.t.Fatal(err)
	}
	return s
}

// listen accepts connections to a port of the guest.
func (g *guest) listen(port uint32) <-chan *socket {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listening[port] = make(chan *socket, 16)
	return g.listening[port]
}

// send sends a packet of this socket.
func (s *socket) send(op uint16, flags uint32, data []byte) {
	s.g.mu.Lock()
	h := header{srcPort: s.key.guest, dstPort: s.key.host, op: op, flags: flags, bufAlloc: guestWindow, fwdCnt: s.fwd}
	s.fwdSent = s.fwd
	s.g.mu.Unlock()
	s.g.send(h, data)
}

// Read gives received bytes, and tells the host that there is room again.
func (s *socket) Read(p []byte) (int, error) {
	s.g.wait("read", func() bool { return len(s.received) > 0 || s.reset || s.peerShut&shutdownSend != 0 })
	s.g.mu.Lock()
	n := copy(p, s.received)
	s.received = s.received[n:]
	s.fwd += uint32(n)
	update := s.fwd-s.fwdSent >= guestWindow/2 && !s.reset
	end, reset := s.peerShut&shutdownSend != 0, s.reset
	s.g.mu.Unlock()
	if update {
		s.send(opCreditUpdate, 0, nil)
	}
	switch {
	case n > 0:
		return n, nil
	case end:
		return 0, io.EOF
	case reset:
		return 0, errReset
	}
	return 0, s.g.ctx.Err()
}

// Write sends p as far as credit goes, and waits for more.
func (s *socket) Write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 {
		s.g.wait("write", func() bool { return s.credit() > 0 || s.reset || s.peerShut&shutdownReceive != 0 })
		s.g.mu.Lock()
		n := min(len(p), int(s.credit()))
		failed := s.reset || s.peerShut&shutdownReceive != 0
		s.sent += uint32(n)
		s.g.changed.Broadcast()
		s.g.mu.Unlock()
		if failed {
			return total, errReset
		}
		if err := s.g.ctx.Err(); err != nil {
			return total, err
		}
		s.send(opData, 0, p[:n])
		p = p[n:]
		total += n
	}
	return total, nil
}

func (s *socket) credit() uint32 { return s.peerBuf - (s.sent - s.peerFwd) }

// fence returns when the device has taken all that was sent before.
func (s *socket) fence() {
	s.g.t.Helper()
	s.g.mu.Lock()
	s.peerBuf = 0
	s.g.mu.Unlock()
	s.send(opCreditRequest, 0, nil)
	s.g.wait("CREDIT_UPDATE", func() bool { return s.peerBuf == windowSize })
}

// closeWrite tells the host that no more comes.
func (s *socket) closeWrite() { s.send(opShutdown, shutdownSend, nil) }

// close closes as Linux does: SHUTDOWN both ways, then wait for RST.
func (s *socket) close() {
	s.g.t.Helper()
	s.send(opShutdown, shutdownBoth, nil)
	s.g.wait("RST after close", func() bool { return s.reset })
}

// waitReset waits for RST.
func (s *socket) waitReset() {
	s.g.t.Helper()
	s.g.wait("RST", func() bool { return s.reset })
}

var _ io.ReadWriter = (*socket)(nil)
