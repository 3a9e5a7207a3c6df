package vsock

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// pair gives two connected stream sockets of the host.
func pair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socketpair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = c.(*net.UnixConn)
		t.Cleanup(func() { c.Close() })
	}
	return ends[0], ends[1]
}

// services are the ports of the host that the guest can reach: whoever dials
// gets the device's end, the test the other one.
type services struct {
	t     testing.TB
	conns chan *net.UnixConn
	reads atomic.Int64 // by the device, of all connections
}

const (
	portService = 5000
	portRefused = 5001
	portHangs   = 5002 // until the context ends
	portPlain   = 5003 // portService without CloseRead
)

var errRefused = errors.New("connection refused")

func newServices(t testing.TB) *services {
	return &services{t: t, conns: make(chan *net.UnixConn, connectionsMax)}
}

func (s *services) dial(ctx context.Context, port uint32) (Conn, error) {
	switch port {
	case portService:
		mine, theirs := pair(s.t)
		s.conns <- mine
		return &countingConn{theirs, &s.reads}, nil
	case portPlain:
		mine, theirs := pair(s.t)
		s.conns <- mine
		return struct{ Conn }{theirs}, nil
	case portHangs:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, errRefused
}

// countingConn counts reads.
type countingConn struct {
	*net.UnixConn
	reads *atomic.Int64
}

func (c *countingConn) Read(p []byte) (int, error) {
	c.reads.Add(1)
	return c.UnixConn.Read(p)
}

// unixListener is a Listener.
type unixListener struct{ *net.UnixListener }

func (l unixListener) Accept() (Caller, error) { return l.AcceptUnix() }

// listener makes the Unix socket that host processes connect to.
func listener(t testing.TB) (Listener, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vsock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	return unixListener{l}, path
}

// hostDial connects to it.
func hostDial(t testing.TB, path string) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
