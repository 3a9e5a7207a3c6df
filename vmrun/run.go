package vmrun

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/vmm/launch"
	"github.com/clearrun/clearrun/vmrun/bundle"
)

// Defaults of a VM's size.
const (
	DefaultMemory = 256 << 20
	DefaultCPUs   = 1
)

// ExitFailure is the exit code of clearrun's own failures, as in docker run.
const ExitFailure = proto.ExitFailure

// reportGrace is how long a VM may take to power off by itself when somebody
// wants its report. Nothing is lost when it is killed instead.
const reportGrace = 20 * time.Second

// Options are the surroundings of a run.
type Options struct {
	Bundle *bundle.Bundle

	// Stdin is read only if the pod's app asks for it. A Read that blocks when
	// the app ends is left behind.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Signals are passed to the app, window changes as a new terminal size.
	Signals <-chan os.Signal
	// WindowSize tells the terminal's size in characters; needed with a TTY.
	WindowSize func() (rows, cols uint16)

	// Console takes the guest's serial console; nil: it has none.
	Console *os.File
	// OnReport is given the monitor's figures after the run; the guest then
	// also marks the milestones of its start.
	OnReport func(launch.Report)
	// KernelArgs are put behind the guest kernel's command line.
	KernelArgs string
}

// Run runs p in a VM and gives the app's exit code: 0 to 255, or 128 plus the
// number of the signal that ended it. With an error, the code is clearrun's
// own: 125, or 126 or 127 if the command cannot be executed or found. When ctx
// ends, so does the VM, with context.Cause(ctx) as the error.
func Run(ctx context.Context, p *pod.Pod, o Options) (exit int, err error) {
	if !p.Permits() || p.Verdict.Tier() != trust.TierVM {
		return ExitFailure, errors.New("refused: no verdict permits this image in a VM")
	}
	// The monitor dies with the thread that started it (PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	m, err := startMonitor(o.Bundle, configurePod(p, o))
	if err != nil {
		return ExitFailure, err
	}
	defer m.kill()
	s := newSession(p, o, m)
	outcome := s.serve(ctx)
	if o.OnReport != nil {
		m.awaitExit(reportGrace)
		if r, err := m.report(); err == nil {
			o.OnReport(r)
		}
	}
	return outcome.code(m, filepath.Dir(p.RootFS.Path))
}

// outcome is how a session ended: by one of the guest's last messages, or with
// an error.
type outcome struct {
	exit    *proto.Exit
	failure *proto.Failure
	err     error // neither came
}

func (o outcome) code(m *monitor, image string) (int, error) {
	switch {
	case o.exit != nil && o.exit.Signal != 0:
		if o.exit.OOMKilled {
			return 128 + int(o.exit.Signal), errors.New("the app was killed for want of memory: give it more (--memory)")
		}
		return 128 + int(o.exit.Signal), nil
	case o.exit != nil:
		return int(o.exit.Code), nil
	case o.failure != nil:
		return int(o.failure.ExitCode), errors.New(printable(o.failure.Message))
	case errors.Is(o.err, errMonitorGone):
		return ExitFailure, m.postMortem(image)
	}
	return ExitFailure, o.err
}

// printable makes a guest's words fit for a terminal: nothing in them moves the
// cursor or forges a line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// errMonitorGone means that the monitor closed its control socket.
var errMonitorGone = errors.New("monitor ended")

// startMessage is what PID 1 is told to do. It masks nothing in /proc and /sys,
// unlike the OCI defaults: the guest's kernel serves this app alone, and each
// masked path would cost a mount.
func startMessage(p *pod.Pod, o Options) *proto.Start {
	app := p.App
	s := &proto.Start{
		Args: app.Exec, Env: app.Env, Dir: app.Dir,
		User: app.User, Group: app.Group, SupplementaryGIDs: app.SupplementaryGIDs,
		Hostname:        p.Hostname,
		TTY:             app.TTY,
		Stdin:           app.Stdin,
		Stdout:          true,
		Stderr:          !app.TTY,
		Capabilities:    proto.CapabilitySet(app.Capabilities),
		NoNewPrivileges: app.NoNewPrivileges,
		Umask:           defaultUmask,
		ReadOnlyRoot:    p.ReadOnlyRoot,
		WallClock:       time.Now().UnixNano(),
		Files: []proto.File{
			{Path: "/etc/hostname", Content: p.Hostname + "\n", Mode: 0o644},
			{Path: "/etc/hosts", Content: fmt.Sprintf("127.0.0.1\tlocalhost\n127.0.1.1\t%s\n", p.Hostname), Mode: 0o644},
		},
	}
	for _, r := range app.Rlimits {
		s.Rlimits = append(s.Rlimits, proto.Rlimit{Resource: r.Resource, Soft: r.Soft, Hard: r.Hard})
	}
	if app.TTY && o.WindowSize != nil {
		s.Rows, s.Cols = o.WindowSize()
	}
	return s
}

const defaultUmask = 0o022

// signalNumber is the number of s, 0 if it has none.
func signalNumber(s os.Signal) uint32 {
	if n, ok := s.(unix.Signal); ok {
		return uint32(n)
	}
	return 0
}
