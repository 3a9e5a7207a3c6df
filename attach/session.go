package attach

import (
	"cmp"
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
)

// Session is one conversation with PID 1, from its first connection to its last
// message.
type Session struct {
	start   *proto.Start
	stop    unix.Signal // what SIGTERM means to the app
	streams Streams
	accept  Accept
	conns   chan guestConn     // as the guest opens them; closed when there will be none any more
	inbox   chan proto.Message // from the control connection; closed at its end
	outputs sync.WaitGroup     // streams still being copied to Stdout and Stderr
	done    chan struct{}      // closed when Serve returns

	control *net.UnixConn
	seen    map[uint32]bool // ports that the guest has connected to
	started bool

	// held are signals that came before the app is known to run, and overdue tells
	// when to stop waiting for it.
	held    []os.Signal
	overdue <-chan time.Time
}

// guestConn is a connection that the guest opened to a port of the host.
type guestConn struct {
	port uint32
	*net.UnixConn
}

// Accept waits for PID 1's next connection and gives the port (of package proto) that
// it is for. It fails when there will be none any more.
type Accept func() (port uint32, conn *net.UnixConn, err error)

// New makes a session that tells PID 1 start and connects its streams to streams. The app
// gets stop for each SIGTERM; zero: SIGTERM.
func New(start *proto.Start, stop unix.Signal, streams Streams, accept Accept) *Session {
	return &Session{
		start: start, stop: cmp.Or(stop, unix.SIGTERM), streams: streams, accept: accept,
		seen: map[uint32]bool{}, conns: make(chan guestConn), inbox: make(chan proto.Message), done: make(chan struct{}),
	}
}

// Serve talks to PID 1 until its last message, the end of its connections, or that of
// ctx.
func (s *Session) Serve(ctx context.Context) Outcome {
	defer close(s.done)
	go s.acceptAll()
	for {
		select {
		case <-ctx.Done():
			return Outcome{Err: context.Cause(ctx)}
		case c, ok := <-s.conns:
			if !ok {
				return Outcome{Err: ErrGone}
			}
			if err := s.connected(c); err != nil {
				return Outcome{Err: err}
			}
		case sig := <-s.streams.Signals:
			if err := s.signal(sig); err != nil {
				return Outcome{Err: err}
			}
		case <-s.overdue:
			return Outcome{Err: &SignalError{Number: int(signalNumber(s.held[0]))}}
		case msg, ok := <-s.inbox:
			if !ok {
				s.inbox = nil // the end of the connections follows
				continue
			}
			if last := s.receive(ctx, msg); last != nil {
				return *last
			}
		}
	}
}

// acceptAll passes on the guest's connections.
func (s *Session) acceptAll() {
	defer close(s.conns)
	for {
		port, conn, err := s.accept()
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

// connected puts a new connection to its use. Only the ports of package
// proto get here. PID 1 connects to each before the app runs: whoever
// comes second is not PID 1.
func (s *Session) connected(c guestConn) error {
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
		go feed(c.UnixConn, s.streams.Stdin)
	case proto.StdoutPort:
		s.drain(s.streams.Stdout, c)
	case proto.StderrPort:
		s.drain(s.streams.Stderr, c)
	}
	return nil
}

// read passes on what the guest says on its control connection.
func (s *Session) read(c io.ReadCloser) {
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
func (s *Session) drain(w io.Writer, c io.ReadCloser) {
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
func (s *Session) receive(ctx context.Context, msg proto.Message) *Outcome {
	switch m := msg.(type) {
	case *proto.Started:
		if err := s.appStarted(); err != nil {
			return &Outcome{Err: err}
		}
	case *proto.Exit:
		if err := s.awaitStreams(ctx); err != nil {
			return &Outcome{Err: err}
		}
		s.finish(ctx)
		return &Outcome{Exit: m}
	case *proto.Failure:
		if s.started {
			s.finish(ctx)
		} else {
			s.control.Close() // there was no app to put anything out
		}
		return &Outcome{Failure: m}
	default:
		return &Outcome{Err: fmt.Errorf("the guest sent a message that only the host sends: %T", m)}
	}
	return nil
}

// awaitStreams takes the output streams that the guest has opened but that have
// not been seen here yet: they come by another socket than its messages.
func (s *Session) awaitStreams(ctx context.Context) error {
	for s.start.Stdout && !s.seen[proto.StdoutPort] || s.start.Stderr && !s.seen[proto.StderrPort] {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case c, ok := <-s.conns:
			if !ok {
				return ErrGone
			}
			if err := s.connected(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// finish waits for the last output and lets the guest power off.
func (s *Session) finish(ctx context.Context) {
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
// it ends the run, after startedGrace.
func (s *Session) signal(sig os.Signal) error {
	n := signalNumber(sig)
	switch {
	case sig == unix.SIGWINCH:
		if !s.started || !s.start.TTY || s.streams.WindowSize == nil {
			return nil
		}
		rows, cols := s.streams.WindowSize()
		return s.tell(&proto.Resize{Rows: rows, Cols: cols})
	case s.started && sig == unix.SIGTERM:
		return s.tell(&proto.Signal{Signal: uint32(s.stop)})
	case s.started:
		return s.tell(&proto.Signal{Signal: n})
	}
	if s.held = append(s.held, sig); s.overdue == nil {
		s.overdue = time.After(startedGrace)
	}
	return nil
}

// startedGrace is how long a signal waits for word that the app runs: somebody may
// have seen the app's first output, which goes by another socket.
const startedGrace = 200 * time.Millisecond

// appStarted passes on what was held.
func (s *Session) appStarted() error {
	s.started, s.overdue = true, nil
	for _, sig := range s.held {
		if err := s.signal(sig); err != nil {
			return err
		}
	}
	s.held = nil
	return nil
}

// tell sends a message. A guest that is about to end may not read it any more.
func (s *Session) tell(m proto.Message) error {
	if err := proto.Write(s.control, m); err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("talk to the guest: %w", err)
	}
	return nil
}

// SignalError means that a signal ended the run before there was an app.
type SignalError struct{ Number int }

func (e *SignalError) Error() string {
	return fmt.Sprintf("ended by signal %d before the app had started", e.Number)
}
