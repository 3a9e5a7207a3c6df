package vmrun

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/clearrun/clearrun/attach"
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
	attach.Streams

	// Console takes the guest's serial console; nil: it has none.
	Console *os.File
	// OnReport is given the monitor's figures after the run; the guest then
	// also marks the milestones of its start.
	OnReport func(launch.Report)
	// KernelArgs are put behind the guest kernel's command line.
	KernelArgs string
	// Notice is told in a line what SELinux does not do for the run; nil: nobody is.
	Notice func(line string)
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

	m, err := startMonitor(o.Bundle, o.acquire(p), configurePod(p, o))
	if err != nil {
		return ExitFailure, err
	}
	defer m.kill()
	// Nothing is masked in /proc and /sys, unlike the OCI defaults: the guest's kernel
	// serves this app alone, and each masked path would cost a mount.
	outcome := attach.New(attach.StartMessage(p, o.Streams), p.App.StopSignal, o.Streams, m.accept).Serve(ctx)
	if o.OnReport != nil {
		m.awaitExit(reportGrace)
		if r, err := m.report(); err == nil {
			o.OnReport(r)
		}
	}
	return exitCode(outcome, m, filepath.Dir(p.RootFS.Path))
}

// exitCode gives the run's exit code. A VM that ended without a word from the guest
// is looked into; image is the store entry that it ran.
func exitCode(o attach.Outcome, m *monitor, image string) (int, error) {
	if errors.Is(o.Err, attach.ErrGone) {
		return ExitFailure, m.postMortem(image)
	}
	return o.Code()
}
