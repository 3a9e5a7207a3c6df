package virtio

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/clearrun/clearrun/vmm/guestmem"
)

// Device is one virtio device behind a transport. The transport calls its
// methods one at a time; a device that also changes state in goroutines of its
// own guards it itself.
type Device interface {
	// ID is the device type (5).
	ID() uint32
	// Features are the device-specific feature bits offered. The transport
	// adds those of ring and transport.
	Features() uint64
	// QueueSizes gives the largest size of each virtqueue, powers of two.
	QueueSizes() []uint16
	// ReadConfig fills p from the device configuration space. What lies
	// outside of it reads as zeros; p arrives zeroed.
	ReadConfig(offset uint64, p []byte)
	// Activate starts the device: the driver has set DRIVER_OK. It does not
	// block.
	Activate(Activation) error
	// Reset stops what Activate started and forgets all of the driver's
	// state. When it returns, no goroutine touches guest memory any more or
	// calls anything of the Activation. It may be called without Activate.
	Reset()
	// Close is Reset for good, and releases what the device owns.
	Close() error
}

// ConfigWriter is a Device whose configuration space the driver may write.
type ConfigWriter interface {
	WriteConfig(offset uint64, p []byte)
}

// Activation is what a device gets when the driver is ready, valid until
// Reset.
type Activation struct {
	Memory   *guestmem.GuestMemory
	Features uint64     // as negotiated
	Queues   []*Queue   // one per QueueSizes, all ready
	Notify   []*os.File // one nonblocking eventfd per queue: the driver's kicks

	// Interrupt tells the driver of used buffers. Ask Queue.NeedsInterrupt
	// first.
	Interrupt func()
	// ConfigChanged tells the driver that the configuration space changed.
	ConfigChanged func()
	// Fail puts the device into DEVICE_NEEDS_RESET (2.1.2). The device must
	// not use the rings after it.
	Fail func(error)
}

// PanicError is a bug in a device, caught before it could end the VM.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("device panic: %v\n%s", e.Value, e.Stack)
}

// Guard calls f and turns a panic in it into a *PanicError. Every goroutine
// of a device runs under it.
func Guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}
