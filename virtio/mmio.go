package virtio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/clearrun/clearrun/vmm/guestmem"
)

// MMIOTransport is one virtio-mmio device as the guest sees it: a page of
// registers, an interrupt line and an eventfd per queue (4.2). It owns its
// Device. All methods may be called concurrently.
type MMIOTransport struct {
	device    Device
	memory    *guestmem.GuestMemory
	interrupt func()
	onFail    func(error)
	offered   uint64
	sizes     []uint16
	notify    []*os.File

	// Shared with the device's goroutines, which never take mu: Reset joins
	// them while it holds mu.
	interruptStatus  atomic.Uint32
	configGeneration atomic.Uint32
	needsReset       atomic.Bool

	mu                sync.Mutex
	closed            bool
	dead              bool   // Reset itself failed: nothing is safe any more
	status            uint32 // without DEVICE_NEEDS_RESET
	deviceFeaturesSel uint32
	driverFeaturesSel uint32
	driverFeatures    uint64
	queueSel          uint32
	queues            []queueState
}

// queueState is what the driver wrote for one queue, and once QueueReady is
// set the queue made of it.
type queueState struct {
	config QueueConfig
	ready  *Queue
}

// NewMMIOTransport puts device behind registers. interrupt raises the
// device's line and must not block; onFail, optional, learns why a device
// needs a reset: a driver that broke the rules, or a *PanicError. It is called
// from the device's goroutines and must neither block nor close the transport.
//
// The transport owns device from here on, also if it returns an error.
func NewMMIOTransport(device Device, memory *guestmem.GuestMemory, interrupt func(), onFail func(error)) (*MMIOTransport, error) {
	if onFail == nil {
		onFail = func(error) {}
	}
	t := &MMIOTransport{
		device: device, memory: memory, interrupt: interrupt, onFail: onFail,
		offered: device.Features() | transportFeatures,
		sizes:   device.QueueSizes(),
	}
	t.queues = make([]queueState, len(t.sizes))
	for i := range t.sizes {
		f, err := newEventFD(fmt.Sprintf("virtio-%d-notify-%d", device.ID(), i))
		if err != nil {
			return nil, errors.Join(err, t.Close())
		}
		t.notify = append(t.notify, f)
	}
	return t, nil
}

// Notify gives one eventfd per queue. The monitor registers each with KVM
// (ioeventfd) at register RegQueueNotify, 4 bytes, for the queue's index as
// the value. They stay the transport's.
func (t *MMIOTransport) Notify() []*os.File { return t.notify }

// Read answers a guest's load of len(p) bytes at offset of the register area.
// What the spec does not define reads as zeros.
func (t *MMIOTransport) Read(offset uint64, p []byte) {
	clear(p)
	if offset >= RegConfig {
		t.readConfig(offset-RegConfig, p)
		return
	}
	if len(p) == registerSize && offset%registerSize == 0 {
		binary.LittleEndian.PutUint32(p, t.readRegister(offset))
	}
}

// Write performs a guest's store of p at offset of the register area. What
// the spec does not allow has no effect.
func (t *MMIOTransport) Write(offset uint64, p []byte) {
	if offset >= RegConfig {
		t.writeConfig(offset-RegConfig, p)
		return
	}
	if len(p) == registerSize && offset%registerSize == 0 {
		t.writeRegister(offset, binary.LittleEndian.Uint32(p))
	}
}

// Close stops the device for good and joins it. It is idempotent.
func (t *MMIOTransport) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	err := Guard(t.device.Close)
	for _, f := range t.notify {
		err = errors.Join(err, f.Close())
	}
	return err
}

func (t *MMIOTransport) readConfig(offset uint64, p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || offset >= MMIOSize-RegConfig {
		return
	}
	t.guard(func() error { t.device.ReadConfig(offset, p); return nil })
}

func (t *MMIOTransport) writeConfig(offset uint64, p []byte) {
	w, ok := t.device.(ConfigWriter)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// 3.1.1: not before the driver has found the device.
	if t.closed || t.status&StatusDriver == 0 || offset >= MMIOSize-RegConfig {
		return
	}
	t.guard(func() error { w.WriteConfig(offset, p); return nil })
}

// guard runs a device method on the vCPU's thread.
func (t *MMIOTransport) guard(f func() error) {
	if err := Guard(f); err != nil {
		t.fail(err)
	}
}

// raise sets bits of InterruptStatus and triggers the line. The bits come
// first: the driver reads them when the interrupt arrives.
func (t *MMIOTransport) raise(bits uint32) {
	t.interruptStatus.Or(bits)
	t.interrupt()
}

func (t *MMIOTransport) configChanged() {
	t.configGeneration.Add(1)
	t.raise(InterruptConfig)
}

// fail puts the device into DEVICE_NEEDS_RESET and tells the driver (2.1.2).
// The first reason counts.
func (t *MMIOTransport) fail(err error) {
	if t.needsReset.CompareAndSwap(false, true) {
		t.onFail(fmt.Errorf("virtio device %d: %w", t.device.ID(), err))
		t.raise(InterruptConfig)
	}
}

// setStatus performs the driver's write of the status register.
// Preconditions: mu is held.
func (t *MMIOTransport) setStatus(written uint32) {
	written &^= StatusNeedsReset
	switch nextAction(t.status, written) {
	case actAccept:
		t.status = written
	case actNegotiate:
		// 3.1.1 step 5: the driver reads back whether its choice was taken.
		if t.driverFeatures&^t.offered == 0 && t.driverFeatures&FeatureVersion1 != 0 {
			t.status = written
		}
	case actActivate:
		if !t.dead && !t.needsReset.Load() {
			t.status = written
			t.guard(t.activate)
		}
	case actReset:
		t.reset()
	case actRefuse:
	}
}

// activate hands the queues to the device.
func (t *MMIOTransport) activate() error {
	queues := make([]*Queue, len(t.queues))
	for i := range t.queues {
		if queues[i] = t.queues[i].ready; queues[i] == nil {
			return fmt.Errorf("queue %d is not ready at DRIVER_OK", i)
		}
	}
	return t.device.Activate(Activation{
		Memory: t.memory, Features: t.driverFeatures, Queues: queues, Notify: t.notify,
		Interrupt:     func() { t.raise(InterruptUsed) },
		ConfigChanged: t.configChanged,
		Fail:          t.fail,
	})
}

// reset brings device and registers to where they were at power-on (2.4).
func (t *MMIOTransport) reset() {
	if t.dead {
		return
	}
	if err := Guard(func() error { t.device.Reset(); return nil }); err != nil {
		t.dead = true
		t.fail(err)
		return
	}
	t.status = stateReset
	t.deviceFeaturesSel, t.driverFeaturesSel, t.queueSel = 0, 0, 0
	t.driverFeatures = 0
	clear(t.queues)
	t.interruptStatus.Store(0)
	t.needsReset.Store(false)
}
