package attach

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/pod"
)

// testGuest is PID 1's half of a conversation.
type testGuest struct {
	t     *testing.T
	conns chan guestConn // as the runner would hand them out
}

// newConversation makes a session with nobody but the test behind it.
func newConversation(t *testing.T, app pod.App, o Streams) (*Session, *testGuest) {
	t.Helper()
	g := &testGuest{t, make(chan guestConn)}
	t.Cleanup(func() { close(g.conns) })
	p := &pod.Pod{App: app, Hostname: "test", Image: image.Meta{}}
	return New(StartMessage(p, o), app.StopSignal, o, func() (uint32, *net.UnixConn, error) {
		c, ok := <-g.conns
		if !ok {
			return 0, nil, ErrGone
		}
		return c.port, c.UnixConn, nil
	}), g
}

func conn(t *testing.T, fd int) *net.UnixConn {
	t.Helper()
	c, err := UnixConn(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// dial opens a connection to a port of the host.
func (g *testGuest) dial(port uint32) *net.UnixConn {
	g.t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		g.t.Fatal(err)
	}
	g.conns <- guestConn{port, conn(g.t, pair[1])}
	return conn(g.t, pair[0])
}

func (g *testGuest) say(c io.Writer, m proto.Message) {
	g.t.Helper()
	if err := proto.Write(c, m); err != nil {
		g.t.Fatal(err)
	}
}

func TestSessionCarriesStreamsAndExit(t *testing.T) {
	var stdout, stderr bytes.Buffer
	s, g := newConversation(t, pod.App{Exec: []string{"app"}, Stdin: true},
		Streams{Stdin: strings.NewReader("input"), Stdout: &stdout, Stderr: &stderr})
	ended := make(chan Outcome)
	go func() { ended <- s.Serve(t.Context()) }()

	control := g.dial(proto.ControlPort)
	m, err := proto.Read(control)
	if err != nil {
		t.Fatal(err)
	}
	if start, ok := m.(*proto.Start); !ok || start.Args[0] != "app" || !start.Stdin || !start.Stderr {
		t.Fatalf("the guest was told %+v", m)
	}
	in, out, errs := g.dial(proto.StdinPort), g.dial(proto.StdoutPort), g.dial(proto.StderrPort)
	if got, err := io.ReadAll(in); err != nil || string(got) != "input" {
		t.Errorf("input %q, %v", got, err)
	}
	g.say(control, &proto.Started{PID: 2})
	// Somebody in the guest who is not PID 1 tries to speak for it.
	impostor := g.dial(proto.StdoutPort)
	if _, err := io.ReadAll(impostor); err != nil {
		t.Errorf("a second stdout was not closed: %v", err)
	}
	_, _ = io.WriteString(out, "to stdout")
	_, _ = io.WriteString(errs, "to stderr")
	out.Close()
	errs.Close()
	g.say(control, &proto.Exit{Code: 7})
	o := <-ended
	if code, err := o.Code(); code != 7 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
	if stdout.String() != "to stdout" || stderr.String() != "to stderr" {
		t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
	}
}

func TestOutcomeCodes(t *testing.T) {
	for _, tt := range []struct {
		o    Outcome
		code int
		err  string
	}{
		{Outcome{Exit: &proto.Exit{Code: 255}}, 255, ""},
		{Outcome{Exit: &proto.Exit{Signal: 9}}, 137, ""},
		{Outcome{Exit: &proto.Exit{Signal: 9, OOMKilled: true}}, 137, "--memory"},
		{Outcome{Failure: &proto.Failure{Message: "no such\x1b[2J", ExitCode: 127}}, 127, "no such\ufffd[2J"},
		{Outcome{Err: errors.New("broken")}, 125, "broken"},
	} {
		code, err := tt.o.Code()
		if code != tt.code || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%+v: code %d, error %v", tt.o, code, err)
		}
	}
}

func TestSignalBeforeTheAppEndsTheRun(t *testing.T) {
	signals := make(chan os.Signal, 2)
	s, _ := newConversation(t, pod.App{Exec: []string{"app"}}, Streams{Signals: signals})
	signals <- unix.SIGWINCH // no reason to end
	signals <- unix.SIGTERM
	var se *SignalError
	if o := s.Serve(t.Context()); !errors.As(o.Err, &se) || se.Number != 15 {
		t.Errorf("outcome %+v, want a SignalError of 15", o)
	}
}

// TestSignalOvertakesStarted sends a signal before PID 1 says that the app runs.
func TestSignalOvertakesStarted(t *testing.T) {
	signals := make(chan os.Signal, 1)
	s, g := newConversation(t, pod.App{Exec: []string{"app"}}, Streams{Signals: signals, Stdout: io.Discard, Stderr: io.Discard})
	ended := make(chan Outcome)
	go func() { ended <- s.Serve(t.Context()) }()
	control := g.dial(proto.ControlPort)
	if _, err := proto.Read(control); err != nil {
		t.Fatal(err)
	}
	signals <- unix.SIGUSR1
	for _, port := range []uint32{proto.StdoutPort, proto.StderrPort} {
		g.dial(port).Close()
	}
	g.say(control, &proto.Started{PID: 2})
	if m, err := proto.Read(control); err != nil {
		t.Error(err)
	} else if sig, ok := m.(*proto.Signal); !ok || sig.Signal != uint32(unix.SIGUSR1) {
		t.Errorf("PID 1 was told %+v", m)
	}
	g.say(control, &proto.Exit{})
	if o := <-ended; o.Err != nil {
		t.Error(o.Err)
	}
}

func TestContextEndsTheSession(t *testing.T) {
	s, _ := newConversation(t, pod.App{Exec: []string{"app"}}, Streams{})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("timeout")
	cancel(why)
	if o := s.Serve(ctx); !errors.Is(o.Err, why) {
		t.Errorf("Outcome %+v, want the context's cause", o)
	}
}
