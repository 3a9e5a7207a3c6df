package vmrun

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
	"github.com/clearrun/clearrun/pod"
)

// session is one conversation with a guest, from its first connection to its
// last message.
type session struct {
	start   *proto.Start
	options Options
	monitor *monitor

	conns   chan guestConn     // as the guest opens them; closed when the monitor is gone
	inbox   chan proto.Message // from the control connection; closed at its end
	outputs sync.WaitGroup     // streams still being copied to Stdout and Stderr
	done    chan struct{}      // closed when serve returns

	control *net.UnixConn
	seen    map[uint32]bool // ports that the guest has connected to
	started bool
}

// guestConn is a connection that the guest opened to a port of the host.
type guestConn struct {
	port uint32
	*net.UnixConn
}

func newSession(p *pod.Pod, o Options, m *monitor) *session {
	return &session{
		start: startMessage(p, o), options: o, monitor: m,
		seen: map[uint32]bool{}, conns: make(chan guestConn), inbox: make(chan proto.Message), done: make(chan struct{}),
	}
}

// serve talks to the guest until its last message, the end of the monitor, or
// of ctx.
func (s *session) serve(ctx context.Context) outcome {
	defer close(s.done)
	go s.accept()
	for {
		select {
		case <-ctx.Done():
			return outcome{err: context.Cause(ctx)}
		case c, ok := <-s.conns:
			if !ok {
				return outcome{err: errMonitorGone}
			}
			if err := s.connected(c); err != nil {
				return outcome{err: err}
			}
		case sig := <-s.options.Signals:
			if err := s.signal(sig); err != nil {
				return outcome{err: err}
			}
		case msg, ok := <-s.inbox:
			if !ok {
				s.inbox = nil // the monitor's end follows
				continue
			}
			if last := s.receive(ctx, msg); last != nil {
				return *last
			}
		}
	}
}

// accept passes on the guest's connections.
func (s *session) accept() {
	defer close(s.conns)
	for {
		port, conn, err := s.monitor.accept()
		if err != nil {
			return
		}
		select {
		case s.conns <- guestConn{port, conn}:
		case <-s.done:
			conn.Close()
			return
		}
	}
}

// connected puts a new connection to its use. The monitor lets only the ports
// of package proto through. PID 1 connects to each before the app runs: whoever
// comes second is not PID 1.
func (s *session) connected(c guestConn) error {
	if s.seen[c.port] {
		return c.Close()
	}
	s.seen[c.port] = true
	switch c.port {
	case proto.ControlPort:
		s.control = c.UnixConn
		if err := proto.Write(c, s.start); err != nil {
			return fmt.Errorf("tell the guest what to run: %w", err)
		}
		go s.read(c)
	case proto.StdinPort:
		go feed(c.UnixConn, s.options.Stdin)
	case proto.StdoutPort:
		s.drain(s.options.Stdout, c)
	case proto.StderrPort:
		s.drain(s.options.Stderr, c)
	}
	return nil
}

// read passes on what the guest says on its control connection.
func (s *session) read(c io.ReadCloser) {
	defer close(s.inbox)
	defer c.Close()
	for {
		msg, err := proto.Read(c)
		if err != nil {
			return
		}
		select {
		case s.inbox <- msg:
		case <-s.done:
			return
		}
	}
}

// drain copies an output stream to its end. What cannot be written is dropped,
// so that the guest never hangs on a closed pipe of ours.
func (s *session) drain(w io.Writer, c io.ReadCloser) {
	s.outputs.Add(1)
	go func() {
		defer s.outputs.Done()
		defer c.Close()
		if _, err := io.Copy(struct{ io.Writer }{w}, c); err != nil {
			_, _ = io.Copy(io.Discard, c)
		}
	}()
}

// feed copies the input until it ends or the app stops reading.
func feed(c *net.UnixConn, r io.Reader) {
	if r != nil {
		_, _ = io.Copy(c, struct{ io.Reader }{r})
	}
	_ = c.CloseWrite()
}

// outputGrace bounds the wait for output that the guest sent before it said
// that the app ended: it is on its way through local sockets.
const outputGrace = 30 * time.Second

// receive serves one message and gives the outcome if it was the last one.
func (s *session) receive(ctx context.Context, msg proto.Message) *outcome {
	switch m := msg.(type) {
	case *proto.Started:
		s.started = true
	case *proto.Exit:
		if err := s.awaitStreams(ctx); err != nil {
			return &outcome{err: err}
		}
		s.finish(ctx)
		return &outcome{exit: m}
	case *proto.Failure:
		s.finish(ctx)
		return &outcome{failure: m}
	default:
		return &outcome{err: fmt.Errorf("the guest sent a message that only the host sends: %T", m)}
	}
	return nil
}

// awaitStreams takes the output streams that the guest has opened but that have
// not been seen here yet: they come by another socket than its messages.
func (s *session) awaitStreams(ctx context.Context) error {
	for s.start.Stdout && !s.seen[proto.StdoutPort] || s.start.Stderr && !s.seen[proto.StderrPort] {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case c, ok := <-s.conns:
			if !ok {
				return errMonitorGone
			}
			if err := s.connected(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// finish waits for the last output and lets the guest power off.
func (s *session) finish(ctx context.Context) {
	drained := make(chan struct{})
	go func() {
		s.outputs.Wait()
		close(drained)
	}()
	select {
	case <-drained:
	case <-ctx.Done():
	case <-time.After(outputGrace):
	}
	s.control.Close()
}

// signal passes a signal to the app. Before there is an app, one that would end
// it ends the VM.
func (s *session) signal(sig os.Signal) error {
	n := signalNumber(sig)
	switch {
	case sig == unix.SIGWINCH:
		if !s.started || !s.start.TTY || s.options.WindowSize == nil {
			return nil
		}
		rows, cols := s.options.WindowSize()
		return s.tell(&proto.Resize{Rows: rows, Cols: cols})
	case s.started:
		return s.tell(&proto.Signal{Signal: n})
	}
	return &SignalError{Number: int(n)}
}

// tell sends a message. A guest that is about to end may not read it any more.
func (s *session) tell(m proto.Message) error {
	if err := proto.Write(s.control, m); err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("talk to the guest: %w", err)
	}
	return nil
}

// SignalError means that a signal ended the VM before the app ran.
type SignalError struct{ Number int }

func (e *SignalError) Error() string {
	return fmt.Sprintf("ended by signal %d before the app had started", e.Number)
}
