package vsock

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/clearrun/clearrun/virtio"
)

// Conn is the host's end of a connection; *net.UnixConn is one. Close makes
// blocked Reads and Writes return and does not block itself.
type Conn interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Caller is a host process that wants to connect to the guest; *net.UnixConn is one.
type Caller interface {
	Conn
	SetReadDeadline(time.Time) error
}

// Listener waits for Callers, as a *net.UnixListener does. Package net is left to whoever
// has one: the monitor would start later with it. Close makes a blocked Accept return.
type Listener interface {
	Accept() (Caller, error)
	Close() error
}

// Config describes the device of one guest.
type Config struct {
	// GuestCID is the guest's address, 3 or more.
	GuestCID uint32
	// Dial opens the host's end when the guest connects to a port of the
	// host. It may block, until ctx ends. An error makes the guest's connect
	// fail. Without Dial all do.
	Dial func(ctx context.Context, port uint32) (Conn, error)
	// Listener, optional, takes host processes that want to connect to the
	// guest. The device closes it.
	Listener Listener
}

// Device is the vsock device. The transport that it is given to owns it.
type Device struct {
	cid  uint32
	dial func(context.Context, uint32) (Conn, error)

	listener  Listener
	closing   chan struct{}
	closeOnce sync.Once
	accepting sync.WaitGroup

	mu      sync.Mutex
	session *session // nil unless a driver is in DRIVER_OK
}

var _ virtio.Device = (*Device)(nil)

// New makes the device and starts to accept from Listener. Host processes
// that come while no driver is ready are sent away.
func New(c Config) (*Device, error) {
	if c.GuestCID < guestCIDMin || c.GuestCID == math.MaxUint32 {
		return nil, fmt.Errorf("vsock: guest CID %d is reserved", c.GuestCID)
	}
	d := &Device{cid: c.GuestCID, dial: c.Dial, listener: c.Listener, closing: make(chan struct{})}
	if d.listener != nil {
		d.accepting.Go(d.accept)
	}
	return d, nil
}

// ID: see virtio.Device.
func (d *Device) ID() uint32 { return virtio.IDVsock }

// Features: see virtio.Device. Stream sockets need none (5.10.3).
func (d *Device) Features() uint64 { return 0 }

// QueueSizes: see virtio.Device.
func (d *Device) QueueSizes() []uint16 {
	sizes := make([]uint16, queueCount)
	sizes[queueRX], sizes[queueTX], sizes[queueEvent] = queueSize, queueSize, queueSize
	return sizes
}

// ReadConfig: see virtio.Device.
func (d *Device) ReadConfig(offset uint64, p []byte) {
	var config [configSize]byte
	binary.LittleEndian.PutUint64(config[:], uint64(d.cid))
	if offset < configSize {
		copy(p, config[offset:])
	}
}

// Activate: see virtio.Device.
func (d *Device) Activate(a virtio.Activation) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.session = newSession(d.cid, d.dial, a)
	return nil
}

// Reset: see virtio.Device. What the guest has sent is still passed on to
// host processes that take it in time; then all connections are closed.
func (d *Device) Reset() {
	d.mu.Lock()
	s := d.session
	d.session = nil
	d.mu.Unlock()
	if s != nil {
		s.stop()
	}
}

// Close: see virtio.Device.
func (d *Device) Close() error {
	d.Reset()
	var err error
	d.closeOnce.Do(func() {
		close(d.closing)
		if d.listener != nil {
			err = d.listener.Close()
		}
	})
	d.accepting.Wait()
	return err
}

// accept passes host processes to the session, until Close.
func (d *Device) accept() {
	for {
		host, err := d.listener.Accept()
		if err != nil {
			select {
			case <-time.After(acceptPause):
			case <-d.closing:
				return
			}
			continue
		}
		d.mu.Lock()
		s := d.session
		d.mu.Unlock()
		if s == nil || !s.greet(host) {
			host.Close()
		}
	}
}
