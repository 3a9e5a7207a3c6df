package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/attach"
)

// TestTimeoutAsksFirst lets times run out, with and without an app to ask.
func TestTimeoutAsksFirst(t *testing.T) {
	for _, running := range []bool{false, true} {
		ctx, cancel := context.WithCancelCause(t.Context())
		s := watchSignals(cancel)
		s.running.Store(running)
		callOff := s.stopAfter(time.Millisecond, time.Millisecond)
		if running {
			if sig := <-s.forward; sig != unix.SIGTERM {
				t.Errorf("the app was sent %v", sig)
			}
		}
		<-ctx.Done()
		if cause := context.Cause(ctx); !errors.Is(cause, errTimeout) || !s.expired.Load() {
			t.Errorf("running %v: ended by %v", running, cause)
		}
		callOff()
		s.stop()
	}
}

// TestInterruptBeforeTheApp ends a run at the first signal that asks for it.
func TestInterruptBeforeTheApp(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	s := watchSignals(cancel)
	defer s.stop()
	s.received <- unix.SIGWINCH
	s.received <- unix.SIGINT
	<-ctx.Done()
	var signal *attach.SignalError
	if cause := context.Cause(ctx); !errors.As(cause, &signal) || signal.Number != 2 {
		t.Errorf("ended by %v", cause)
	}
}
