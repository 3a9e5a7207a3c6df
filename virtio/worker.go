package virtio

import (
	"errors"
	"os"
	"sync/atomic"
	"time"
)

// Worker is the goroutine that serves one queue of a device. The device that
// starts it stops it.
type Worker struct {
	notify *os.File
	stop   atomic.Bool
	done   chan struct{}
	count  [eventSize]byte
}

// Go starts a goroutine that calls handle once, and then whenever the driver
// has kicked the queue. handle runs until it finds no more work or the worker
// is Stopping. If it returns an error or panics, the device Fails.
//
// Only one worker at a time may wait on a queue.
func (a *Activation) Go(queue int, handle func(*Worker) error) *Worker {
	w := &Worker{notify: a.Notify[queue], done: make(chan struct{})}
	fail := a.Fail
	go func() {
		defer close(w.done)
		if err := Guard(func() error { return w.loop(handle) }); err != nil {
			fail(err)
		}
	}()
	return w
}

func (w *Worker) loop(handle func(*Worker) error) error {
	if err := w.notify.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	for !w.Stopping() {
		if err := handle(w); err != nil {
			return err
		}
		// Stop may come between the two lines above and here: its deadline
		// stays, so this read returns at once.
		if _, err := w.notify.Read(w.count[:]); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return nil
}

// Stopping tells handle to return early.
func (w *Worker) Stopping() bool { return w.stop.Load() }

// Stop ends the worker and joins it. It is idempotent, and does nothing for a
// nil Worker. handle must not call it.
func (w *Worker) Stop() {
	if w == nil {
		return
	}
	w.stop.Store(true)
	// A deadline in the past wakes the read, and leaves the eventfd usable.
	_ = w.notify.SetReadDeadline(time.Unix(1, 0))
	<-w.done
}

// Serve starts a Worker that passes each chain of the queue to handle, gives
// it back with what handle wrote, and interrupts the driver as it asked for.
// An error of handle means that the driver broke the device's protocol beyond
// repair.
func (a *Activation) Serve(queue int, handle func(*DescriptorChain) error) *Worker {
	q, interrupt := a.Queues[queue], a.Interrupt
	return a.Go(queue, func(w *Worker) error {
		q.DisableNotify()
		for !w.Stopping() {
			chain, err := q.Pop()
			if err != nil {
				return err
			}
			if chain == nil {
				if !q.EnableNotify() {
					return nil
				}
				q.DisableNotify()
				continue
			}
			if err := handle(chain); err != nil {
				return err
			}
			q.AddUsed(chain.Head(), chain.Writer.Written())
			if q.NeedsInterrupt() {
				interrupt()
			}
		}
		return nil
	})
}
