package main

import (
	"context"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// signals passes what clearrun is sent on to the app.
type signals struct {
	forward  chan os.Signal
	received chan os.Signal
	done     chan struct{}
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
	}
	signal.Notify(s.received, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH)
	go s.relay(cancel)
	return s
}

func (s *signals) relay(cancel context.CancelCauseFunc) {
	var last time.Time
	for {
		select {
		case <-s.done:
			return
		case sig := <-s.received:
			if sig == unix.SIGINT {
				if time.Since(last) < doubleInterrupt {
					cancel(errInterrupted)
				}
				last = time.Now()
			}
			select {
			case s.forward <- sig:
			default: // nobody has taken the last sixteen: drop it, as the kernel would
			}
		}
	}
}

func (s *signals) stop() {
	signal.Stop(s.received)
	close(s.done)
}
