package vsock

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/clearrun/clearrun/virtio"
	"github.com/clearrun/clearrun/virtio/virtiotest"
)

// echoConn gives back what is written to it, without descriptors.
type echoConn struct {
	mu     sync.Mutex
	more   *sync.Cond
	data   []byte
	ended  bool
	closed bool
}

func newEchoConn() *echoConn {
	c := &echoConn{}
	c.more = sync.NewCond(&c.mu)
	return c
}

func (c *echoConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.data) == 0 && !c.ended && !c.closed {
		c.more.Wait()
	}
	if c.closed {
		return 0, io.ErrClosedPipe
	}
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.data)
	c.data = c.data[n:]
	return n, nil
}

func (c *echoConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.more.Broadcast()
	if c.closed || c.ended {
		return 0, io.ErrClosedPipe
	}
	c.data = append(c.data, p...)
	return len(p), nil
}

func (c *echoConn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.more.Broadcast()
	c.ended = true
	return nil
}

func (c *echoConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.more.Broadcast()
	c.closed = true
	return nil
}

func FuzzVsock(f *testing.F) {
	const payload, buffer = virtiotest.ChaosPayload, 0x20000
	room := virtiotest.ChaosChain(queueRX, nil, virtiotest.Desc{Addr: buffer, Len: 4096, Flags: virtio.DescWrite})
	packet := func(op uint16, flags uint32, data string) []byte {
		h := header{
			srcCID: testCID, dstCID: hostCID, srcPort: 1, dstPort: portService, len: uint32(len(data)),
			typ: typeStream, op: op, flags: flags, bufAlloc: 100,
		}
		var raw [headerSize]byte
		h.encode(&raw)
		return virtiotest.ChaosChain(queueTX, append(raw[:], data...),
			virtiotest.Desc{Addr: payload, Len: uint32(headerSize + len(data))})
	}
	script := func(steps ...[]byte) []byte {
		var b []byte
		for _, s := range steps {
			b = append(append(b, room...), s...)
		}
		return b
	}
	request := packet(opRequest, 0, "")
	f.Add(script(request, packet(opData, 0, "hello"), packet(opShutdown, shutdownBoth, "")))
	f.Add(script(request, packet(opData, 0, strings.Repeat("x", 200)), packet(opCreditUpdate, 0, ""), packet(opReset, 0, "")))
	f.Add(script(request, packet(opShutdown, shutdownSend, ""), packet(opCreditRequest, 0, "")))
	f.Add(script(request, packet(opShutdown, shutdownReceive, ""), packet(opData, 0, "x")))
	f.Add(script(request, request))
	f.Add(script(packet(opResponse, 0, ""), packet(99, 0, "")))
	f.Add(append(virtiotest.ChaosChain(queueRX, nil, virtiotest.Desc{Addr: buffer, Len: 10, Flags: virtio.DescWrite}), request...))

	f.Fuzz(func(t *testing.T, script []byte) {
		dev, err := New(Config{GuestCID: testCID, Dial: func(_ context.Context, port uint32) (Conn, error) {
			if port%2 == 1 {
				return nil, errRefused
			}
			return newEchoConn(), nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		virtiotest.Chaos(t, dev, []int{queueTX}, script)
	})
}

// FuzzGreeting: whatever a host process sends first, it names a port in the
// one way there is, or it is sent away.
func FuzzGreeting(f *testing.F) {
	for _, line := range []string{"CONNECT 1\n", "CONNECT 4294967295\nrest", "CONNECT 4294967296\n", "CONNECT", "\n", strings.Repeat("9", 40)} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		in := &struct{ io.Reader }{strings.NewReader(string(line))}
		port, err := readGreeting(in)
		if err != nil {
			return
		}
		rest, _ := io.ReadAll(in)
		said := strings.TrimSuffix(string(line), string(rest))
		digits := strings.TrimSuffix(strings.TrimPrefix(said, "CONNECT "), "\n")
		if len(said) > greetingMax || strings.Trim(digits, "0123456789") != "" || digits == "" {
			t.Errorf("%q gave port %d", line, port)
		}
	})
}
