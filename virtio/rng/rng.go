// Package rng is the virtio entropy device (5.4): it fills the guest's buffers
// with random bytes of the host's kernel.
//
// It serves the monitor, so that a guest has entropy from its first
// instruction. A request gets at most 64 KiB, whatever its size.
//
// Source: VIRTIO 1.3, 5.4.
package rng

import (
	"crypto/rand"

	"github.com/clearrun/clearrun/virtio"
)

const (
	queueSize = 64
	// requestMax bounds what one request gets, in bytes: 5.4.6.1 lets the
	// device fill less than it was offered.
	requestMax = 64 << 10
	pieceSize  = 4 << 10
)

// Device is the entropy device. The transport that it is given to owns it.
type Device struct {
	worker *virtio.Worker
	piece  [pieceSize]byte // the worker's
}

var _ virtio.Device = (*Device)(nil)

// New makes an entropy device.
func New() *Device { return &Device{} }

// ID: see virtio.Device.
func (d *Device) ID() uint32 { return virtio.IDEntropy }

// Features: see virtio.Device. There are none (5.4.3).
func (d *Device) Features() uint64 { return 0 }

// QueueSizes: see virtio.Device. There is one request queue (5.4.2).
func (d *Device) QueueSizes() []uint16 { return []uint16{queueSize} }

// ReadConfig: see virtio.Device. There is none (5.4.4).
func (d *Device) ReadConfig(uint64, []byte) {}

// Activate: see virtio.Device.
func (d *Device) Activate(a virtio.Activation) error {
	d.worker = a.Serve(0, d.serve)
	return nil
}

// serve fills one buffer.
func (d *Device) serve(c *virtio.DescriptorChain) error {
	// The bytes are made in private memory: the guest must not see, or alter,
	// a generator's state in the making.
	defer clear(d.piece[:])
	for left := min(c.Writable(), requestMax); left > 0; {
		p := d.piece[:min(left, pieceSize)]
		if _, err := rand.Read(p); err != nil {
			return err
		}
		if _, err := c.Writer.Write(p); err != nil {
			return err
		}
		left -= len(p)
	}
	return nil
}

// Reset: see virtio.Device.
func (d *Device) Reset() {
	d.worker.Stop()
	d.worker = nil
}

// Close: see virtio.Device.
func (d *Device) Close() error {
	d.Reset()
	return nil
}
