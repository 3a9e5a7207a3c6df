package vmrun

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/pod"
)

// testGuest is the guest's half of a conversation: it dials as the monitor
// would hand its connections out.
type testGuest struct {
	t       *testing.T
	handout *net.UnixConn
}

// newConversation makes a session without a VM behind it.
func newConversation(t *testing.T, app pod.App, o Options) (*session, *testGuest) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := conn(t, pair[0]), conn(t, pair[1])
	p := &pod.Pod{App: app, Hostname: "test", Image: image.Meta{}}
	return newSession(p, o, &monitor{control: ours}), &testGuest{t, theirs}
}

func conn(t *testing.T, fd int) *net.UnixConn {
	t.Helper()
	c, err := unixConn(fd)
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
	message := []byte{byte(port >> 24), byte(port >> 16), byte(port >> 8), byte(port)}
	if _, _, err := g.handout.WriteMsgUnix(message, unix.UnixRights(pair[1]), nil); err != nil {
		g.t.Fatal(err)
	}
	unix.Close(pair[1])
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
		Options{Stdin: strings.NewReader("input"), Stdout: &stdout, Stderr: &stderr})
	ended := make(chan outcome)
	go func() { ended <- s.serve(t.Context()) }()

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
	if code, err := o.code(nil, ""); code != 7 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
	if stdout.String() != "to stdout" || stderr.String() != "to stderr" {
		t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
	}
}

func TestOutcomeCodes(t *testing.T) {
	for _, tt := range []struct {
		o    outcome
		code int
		err  string
	}{
		{outcome{exit: &proto.Exit{Code: 255}}, 255, ""},
		{outcome{exit: &proto.Exit{Signal: 9}}, 137, ""},
		{outcome{exit: &proto.Exit{Signal: 9, OOMKilled: true}}, 137, "--memory"},
		{outcome{failure: &proto.Failure{Message: "no such\x1b[2J", ExitCode: 127}}, 127, "no such\ufffd[2J"},
		{outcome{err: errors.New("broken")}, 125, "broken"},
	} {
		code, err := tt.o.code(nil, "")
		if code != tt.code || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%+v: code %d, error %v", tt.o, code, err)
		}
	}
}

func TestSignalBeforeTheAppEndsTheRun(t *testing.T) {
	s, _ := newConversation(t, pod.App{Exec: []string{"app"}}, Options{})
	err := s.signal(unix.SIGTERM)
	var se *SignalError
	if !errors.As(err, &se) || se.Number != 15 {
		t.Errorf("error %v, want a SignalError of 15", err)
	}
	if err := s.signal(unix.SIGWINCH); err != nil {
		t.Errorf("a new window size is no reason to end: %v", err)
	}
}

func TestContextEndsTheSession(t *testing.T) {
	s, _ := newConversation(t, pod.App{Exec: []string{"app"}}, Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("timeout")
	cancel(why)
	if o := s.serve(ctx); !errors.Is(o.err, why) {
		t.Errorf("outcome %+v, want the context's cause", o)
	}
}

func TestRunRefusesWithoutAVerdict(t *testing.T) {
	code, err := Run(t.Context(), &pod.Pod{}, Options{})
	if code != ExitFailure || err == nil || !strings.Contains(err.Error(), "verdict") {
		t.Errorf("code %d, %v", code, err)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var tl tail
	_, _ = tl.Write(bytes.Repeat([]byte("x"), 2*maxTail))
	_, _ = tl.Write([]byte("the end"))
	if s := tl.suffix(); len(s) > maxTail+2 || !strings.HasSuffix(s, "the end") {
		t.Errorf("%d bytes, ending %q", len(s), s[max(0, len(s)-10):])
	}
}
