package vsock

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"testing"
	"time"

	"github.com/clearrun/clearrun/virtio"
	"github.com/clearrun/clearrun/virtio/virtiotest"
)

func TestSuite(t *testing.T) {
	virtiotest.Suite{
		New: func(t testing.TB) virtio.Device {
			dev, err := New(Config{GuestCID: testCID, Dial: newServices(t).dial})
			if err != nil {
				t.Fatal(err)
			}
			return dev
		},
		Served: []int{queueTX},
		Busy: func(d *virtiotest.Driver) {
			for i := range 20 {
				if _, err := d.Queue(queueRX).Push(nil, rxBufferSize); err != nil {
					d.T.Fatal(err)
				}
				d.Queue(queueRX).Kick()
				port := [...]uint32{portService, portRefused, portHangs}[i%3]
				h := header{srcCID: testCID, dstCID: hostCID, srcPort: uint32(i), dstPort: port, typ: typeStream, op: opRequest, bufAlloc: 1000}
				var raw [headerSize]byte
				h.encode(&raw)
				if _, err := d.Queue(queueTX).Push([][]byte{raw[:]}); err != nil {
					d.T.Fatal(err)
				}
				d.Queue(queueTX).Kick()
			}
		},
	}.Run(t)
}

func TestNewRejectsCIDs(t *testing.T) {
	for _, cid := range []uint32{0, 1, hostCID, math.MaxUint32} {
		if _, err := New(Config{GuestCID: cid}); err == nil {
			t.Errorf("CID %d accepted", cid)
		}
	}
}

func TestConfigSpace(t *testing.T) {
	g := boot(t, Config{}, virtiotest.AllFeatures, 1)
	var b [8]byte
	g.driver.Transport.Read(virtio.RegConfig, b[:])
	if cid := binary.LittleEndian.Uint64(b[:]); cid != testCID {
		t.Errorf("guest CID %d", cid)
	}
}

func TestHeaderLayout(t *testing.T) {
	h := header{srcCID: 0x0102, dstCID: 0x0304, srcPort: 0x05, dstPort: 0x06, len: 0x07, typ: 0x08, op: 0x09, flags: 0x0a, bufAlloc: 0x0b, fwdCnt: 0x0c}
	var b [headerSize]byte
	h.encode(&b)
	want := [headerSize]byte{0: 2, 1: 1, 8: 4, 9: 3, 16: 5, 20: 6, 24: 7, 28: 8, 30: 9, 32: 10, 36: 11, 40: 12}
	if b != want {
		t.Errorf("% x", b)
	}
	if got := decodeHeader(&b); got != h {
		t.Errorf("%+v", got)
	}
}

func TestGuestConnect(t *testing.T) {
	services := newServices(t)
	g := boot(t, Config{Dial: services.dial}, virtiotest.AllFeatures, 16)
	// A dial that hangs keeps nobody waiting, and needs no answer to end.
	g.apps.Go(func() { _, _ = g.connect(portHangs) })
	if _, err := g.connect(portRefused); !errors.Is(err, errReset) {
		t.Errorf("refused port: %v", err)
	}
	s := g.mustConnect(portService)
	transfer(t, s, <-services.conns, 1, 1000)
	s.close()

	// The device without a Dial refuses all.
	g = boot(t, Config{}, virtiotest.AllFeatures, 16)
	if _, err := g.connect(portService); !errors.Is(err, errReset) {
		t.Errorf("no Dial: %v", err)
	}
}

// TestConnectionLimit: beyond the limit there is RST, and room again once one
// has ended.
func TestConnectionLimit(t *testing.T) {
	dial := func(context.Context, uint32) (Conn, error) { return newEchoConn(), nil }
	g := boot(t, Config{Dial: dial}, virtiotest.AllFeatures, 64)
	first := g.mustConnect(portService)
	for range connectionsMax - 1 {
		g.mustConnect(portService)
	}
	if _, err := g.connect(portService); !errors.Is(err, errReset) {
		t.Errorf("one too many: %v", err)
	}
	first.close()
	for { // RST comes a moment before the goroutines are gone
		if _, err := g.connect(portService); err == nil {
			break
		}
		if g.ctx.Err() != nil {
			t.Fatal("no room after close")
		}
	}
}

// TestPacketsThatGetReset: each case is answered by exactly one RST, or not at
// all.
func TestPacketsThatGetReset(t *testing.T) {
	good := header{srcCID: testCID, dstCID: hostCID, srcPort: 9, dstPort: portService, typ: typeStream}
	change := func(f func(*header)) header {
		h := good
		f(&h)
		return h
	}
	cases := []struct {
		name   string
		h      header
		data   []byte
		answer bool
	}{
		{"RST", change(func(h *header) { h.op = opReset }), nil, false},
		{"RESPONSE", change(func(h *header) { h.op = opResponse }), nil, true},
		{"SHUTDOWN", change(func(h *header) { h.op = opShutdown }), nil, true},
		{"data", change(func(h *header) { h.op = opData }), []byte("x"), true},
		{"CREDIT_UPDATE", change(func(h *header) { h.op = opCreditUpdate }), nil, true},
		{"CREDIT_REQUEST", change(func(h *header) { h.op = opCreditRequest }), nil, true},
		{"no operation", change(func(h *header) { h.op = 0 }), nil, true},
		{"unknown operation", change(func(h *header) { h.op = math.MaxUint16 }), nil, true},
		{"unknown type", change(func(h *header) { h.op, h.typ = opRequest, 2 }), nil, true},
		{"other source", change(func(h *header) { h.op, h.srcCID = opRequest, testCID+1 }), nil, false},
		{"source above 32 bits", change(func(h *header) { h.op, h.srcCID = opRequest, 1<<32|testCID }), nil, false},
		{"other destination", change(func(h *header) { h.op, h.dstCID = opRequest, 1 }), nil, false},
		{"destination above 32 bits", change(func(h *header) { h.op, h.dstCID = opRequest, 1<<32|hostCID }), nil, false},
	}
	g := boot(t, Config{Dial: newServices(t).dial}, virtiotest.AllFeatures, 16)
	for i, c := range cases {
		c.h.srcPort = uint32(100 + i)
		g.send(c.h, c.data)
		// What comes after it in the queue is answered after it.
		fence := uint32(200 + i)
		g.send(header{srcPort: fence, dstPort: 1, op: opShutdown}, nil)
		var got []header
		g.wait(c.name, func() bool {
			n := len(g.strays)
			if n == 0 || g.strays[n-1].dstPort != fence {
				return false
			}
			got, g.strays = g.strays[:n-1], nil
			return true
		})
		switch {
		case !c.answer && len(got) != 0:
			t.Errorf("%s: answered by %+v", c.name, got)
		case c.answer && (len(got) != 1 || got[0].op != opReset || got[0].typ != c.h.typ || got[0].dstPort != c.h.srcPort || got[0].srcPort != c.h.dstPort):
			t.Errorf("%s: answered by %+v, want one RST", c.name, got)
		}
	}
	g.sendRaw([][]byte{make([]byte, headerSize-1)}) // too short for an answer
	g.send(header{srcPort: 1, dstPort: 1, op: opShutdown}, nil)
	g.wait("short packet", func() bool { return len(g.strays) == 1 && g.strays[0].dstPort == 1 })
}

// TestViolations: each packet, on an open connection, ends it for both sides.
func TestViolations(t *testing.T) {
	services := newServices(t)
	g := boot(t, Config{Dial: services.dial}, virtiotest.AllFeatures, 16)
	cases := map[string]func(s *socket){
		"second REQUEST":     func(s *socket) { s.send(opRequest, 0, nil) },
		"second RESPONSE":    func(s *socket) { s.send(opResponse, 0, nil) },
		"no operation":       func(s *socket) { s.send(0, 0, nil) },
		"unknown operation":  func(s *socket) { s.send(99, 0, nil) },
		"more than credit":   func(s *socket) { s.send(opData, 0, make([]byte, windowSize+1)) },
		"data after its end": func(s *socket) { s.closeWrite(); s.send(opData, 0, []byte("x")) },
		"len past the chain": func(s *socket) {
			g.send(header{srcPort: s.key.guest, dstPort: s.key.host, op: opData, len: 100}, []byte("x"))
		},
		"huge len": func(s *socket) {
			g.send(header{srcPort: s.key.guest, dstPort: s.key.host, op: opData, len: math.MaxUint32}, []byte("x"))
		},
	}
	for name, violate := range cases {
		s := g.mustConnect(portService)
		host := <-services.conns
		violate(s)
		s.waitReset()
		if n, err := host.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%s: host read %d, %v", name, n, err)
		}
	}
	// All of the window at once is fine.
	s := g.mustConnect(portService)
	s.send(opData, 0, make([]byte, windowSize))
	if _, err := io.ReadFull(<-services.conns, make([]byte, windowSize)); err != nil {
		t.Error(err)
	}
}

// TestCreditRequest: it is answered, though nothing has changed.
func TestCreditRequest(t *testing.T) {
	services := newServices(t)
	g := boot(t, Config{Dial: services.dial}, virtiotest.AllFeatures, 16)
	g.mustConnect(portService).fence()
}

// TestRepliesAreBounded: a guest that provokes RST and takes none is made to
// wait, and gets all of them in the end.
func TestRepliesAreBounded(t *testing.T) {
	dev, err := New(Config{GuestCID: testCID})
	if err != nil {
		t.Fatal(err)
	}
	d := virtiotest.New(t, dev)
	d.Start(virtiotest.AllFeatures)
	tx, rx := d.Queue(queueTX), d.Queue(queueRX)
	h := header{srcCID: testCID, dstCID: hostCID, typ: typeStream, op: opRequest}
	pushed := 0
	push := func() bool {
		h.srcPort = uint32(pushed)
		var raw [headerSize]byte
		h.encode(&raw)
		if _, err := tx.Push([][]byte{raw[:]}); err != nil {
			return false
		}
		pushed++
		tx.Kick()
		return true
	}
	for used := 0; used < resetsMax; used++ {
		push()
		tx.Wait()
	}
	for push() { // these stay in the ring
	}
	for got := range pushed {
		b := rx.Do(nil, rxBufferSize).In[0]
		h := decodeHeader((*[headerSize]byte)(b))
		if h.op != opReset || h.dstPort != uint32(got) {
			t.Fatalf("reply %d is %+v", got, h)
		}
		if taken := int(tx.UsedIdx()); taken > resetsMax+got+1 {
			t.Fatalf("%d packets taken after %d replies", taken, got+1)
		}
	}
	if rx.UsedIdx() != uint16(pushed) {
		t.Errorf("%d replies to %d packets", rx.UsedIdx(), pushed)
	}
}

// TestSmallReceiveBuffer: one without room for a packet is the driver's
// mistake (5.10.6.1.1).
func TestSmallReceiveBuffer(t *testing.T) {
	dev, err := New(Config{GuestCID: testCID})
	if err != nil {
		t.Fatal(err)
	}
	d := virtiotest.New(t, dev)
	d.Start(virtiotest.AllFeatures)
	if _, err := d.Queue(queueRX).Push(nil, headerSize); err != nil {
		t.Fatal(err)
	}
	var raw [headerSize]byte
	(&header{srcCID: testCID, dstCID: hostCID, typ: typeStream, op: opRequest}).encode(&raw)
	if _, err := d.Queue(queueTX).Push([][]byte{raw[:]}); err != nil {
		t.Fatal(err)
	}
	d.Queue(queueTX).Kick()
	if err := d.WaitFailure(); !errors.Is(err, errSmallBuffer) {
		t.Error(err)
	}
}

func TestHostConnect(t *testing.T) {
	l, path := listener(t)
	g := boot(t, Config{Listener: l}, virtiotest.AllFeatures, 64)
	accepted := g.listen(22)
	for i := range byte(3) {
		host := hostDial(t, path)
		// What follows the line in the same write belongs to the guest.
		if _, err := host.Write([]byte("CONNECT 22\nhello")); err != nil {
			t.Fatal(err)
		}
		s := <-accepted
		if line := readLine(host); line != fmt.Sprintf("OK %d\n", s.key.host) || s.key.host < portBase {
			t.Errorf("answered with %q; the guest sees %d", line, s.key.host)
		}
		b := make([]byte, 5)
		if _, err := io.ReadFull(s, b); err != nil || string(b) != "hello" {
			t.Errorf("guest read %q, %v", b, err)
		}
		transfer(t, s, host, i, 1<<20)
		s.close()
		if n, err := host.Read(b); n != 0 || err != io.EOF {
			t.Errorf("host read %d, %v after close", n, err)
		}
	}
}

// readLine reads up to a line feed, and not a byte more.
func readLine(r io.Reader) string {
	var line []byte
	for b := make([]byte, 1); len(line) == 0 || b[0] != '\n'; line = append(line, b[0]) {
		if _, err := io.ReadFull(r, b); err != nil {
			break
		}
	}
	return string(line)
}

func TestHostConnectRefused(t *testing.T) {
	l, path := listener(t)
	accepted := boot(t, Config{Listener: l}, virtiotest.AllFeatures, 64).listen(22)
	cases := map[string]string{
		"nobody listens":    "CONNECT 23\n",
		"no CONNECT":        "GET / HTTP/1.1\n",
		"lower case":        "connect 22\n",
		"no port":           "CONNECT \n",
		"negative port":     "CONNECT -1\n",
		"port too large":    "CONNECT 4294967296\n",
		"not a number":      "CONNECT 22x\n",
		"two ports":         "CONNECT 22 22\n",
		"carriage return":   "CONNECT 22\r\n",
		"empty line":        "\n",
		"line without end":  "CONNECT 00000000000000000000000000000000000022\n",
		"gone before a LF":  "CONNECT 2",
		"gone at once":      "",
		"plus sign":         "CONNECT +22\n",
		"underscore":        "CONNECT 2_2\n",
		"hexadecimal":       "CONNECT 0x16\n",
		"too many spaces":   "CONNECT  22\n",
		"a NUL in the port": "CONNECT 22\x00\n",
	}
	for name, line := range cases {
		host := hostDial(t, path)
		if _, err := host.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		if err := host.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		// The rest of a line that was not read makes it a reset.
		if b, err := io.ReadAll(host); len(b) != 0 || err != nil && !isReset(err) {
			t.Errorf("%s: read %q, %v", name, b, err)
		}
	}
	if n := len(accepted); n != 0 {
		t.Errorf("the guest got %d connections", n)
	}
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}

// TestHostConnectBounds: host processes that say nothing take the places of
// their kind only, and go when the device is reset.
func TestHostConnectBounds(t *testing.T) {
	l, path := listener(t)
	services := newServices(t)
	g := boot(t, Config{Listener: l, Dial: services.dial}, virtiotest.AllFeatures, 64)
	var silent []*net.UnixConn
	for range greetingsMax {
		silent = append(silent, hostDial(t, path))
	}
	late := hostDial(t, path)
	// Well before those that it competes with are sent away for their silence.
	if err := late.SetReadDeadline(time.Now().Add(greetingPatience / 2)); err != nil {
		t.Fatal(err)
	}
	if n, err := late.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one too many: read %d, %v", n, err)
	}
	transfer(t, g.mustConnect(portService), <-services.conns, 1, 100_000)
	g.stop()
	<-g.done
	g.driver.Reset()
	for _, c := range silent {
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("after reset: read %d, %v", n, err)
		}
	}
	// Nobody is there to answer.
	if n, err := hostDial(t, path).Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("no driver: read %d, %v", n, err)
	}
}

// TestResetEndsEverything: dials that hang, requests that the guest does not
// answer, and open connections.
func TestResetEndsEverything(t *testing.T) {
	l, path := listener(t)
	services := newServices(t)
	dialEnded := make(chan struct{})
	dial := func(ctx context.Context, port uint32) (Conn, error) {
		if port == portHangs {
			defer close(dialEnded)
		}
		return services.dial(ctx, port)
	}
	g := boot(t, Config{Listener: l, Dial: dial}, virtiotest.AllFeatures, 64)
	open := g.mustConnect(portService)
	openHost := <-services.conns
	g.apps.Go(func() { _, _ = g.connect(portHangs) })
	asking := hostDial(t, path)
	if _, err := fmt.Fprintf(asking, "CONNECT %d\n", portSilent); err != nil {
		t.Fatal(err)
	}
	g.wait("REQUEST", func() bool { return len(g.strays) == 1 && g.strays[0].op == opRequest })
	transfer(t, open, openHost, 1, 1000)
	g.stop()
	<-g.done
	g.driver.Reset()
	<-dialEnded
	for name, c := range map[string]net.Conn{"open": openHost, "asking": asking} {
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%s connection: read %d, %v", name, n, err)
		}
	}
}
