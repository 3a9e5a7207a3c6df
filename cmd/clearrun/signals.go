package main

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/attach"
)

// signals passes what clearrun is sent on to the app.
type signals struct {
	forward  chan os.Signal
	received chan os.Signal
	done     chan struct{}
	cancel   context.CancelCauseFunc

	// running is set as soon as there may be an app to hear of a signal. Before, one
	// that asks for an end ends the run: nobody waits for a download to be asked twice.
	running atomic.Bool
	// expired is set when the time of a timeout is over.
	expired atomic.Bool
}

// doubleInterrupt is how soon a second Ctrl-C must follow the first one to
// mean: end it now, whatever the app does.
const doubleInterrupt = 3 * time.Second

// watchSignals starts to catch signals. Two interrupts in short order cancel
// the run.
func watchSignals(cancel context.CancelCauseFunc) *signals {
	s := &signals{
		forward:  make(chan os.Signal, 16),
		received: make(chan os.Signal, 16),
		done:     make(chan struct{}),
		cancel:   cancel,
	}
	signal.Notify(s.received, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH)
	go s.relay()
	return s
}

func (s *signals) relay() {
	var last time.Time
	for {
		select {
		case <-s.done:
			return
		case sig := <-s.received:
			if !s.running.Load() && endsRun(sig) {
				number, _ := sig.(unix.Signal)
				s.cancel(&attach.SignalError{Number: int(number)})
			}
			if sig == unix.SIGINT {
				if time.Since(last) < doubleInterrupt {
					s.cancel(errInterrupted)
				}
				last = time.Now()
			}
			s.pass(sig)
		}
	}
}

// pass hands a signal to whoever talks to the app.
func (s *signals) pass(sig os.Signal) {
	select {
	case s.forward <- sig:
	default: // nobody has taken the last sixteen: drop it, as the kernel would
	}
}

// endsRun tells which signals ask for an end.
func endsRun(sig os.Signal) bool {
	return sig == unix.SIGINT || sig == unix.SIGTERM || sig == unix.SIGHUP || sig == unix.SIGQUIT
}

// stopAfter asks the app to end when the time is over, as SIGTERM does, and after the
// grace ends the run. What it returns calls that off.
func (s *signals) stopAfter(timeout, grace time.Duration) (callOff func()) {
	ctx, cancel := context.WithCancel(context.Background())
	first := time.AfterFunc(timeout, func() {
		s.expired.Store(true)
		if !s.running.Load() {
			s.cancel(errTimeout)
			return
		}
		s.pass(unix.SIGTERM)
		last := time.AfterFunc(grace, func() { s.cancel(errTimeout) })
		context.AfterFunc(ctx, func() { last.Stop() })
	})
	return func() {
		first.Stop()
		cancel()
	}
}

func (s *signals) stop() {
	signal.Stop(s.received)
	close(s.done)
}
