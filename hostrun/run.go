package hostrun

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/attach"
	"github.com/clearrun/clearrun/guest/proto"
	"github.com/clearrun/clearrun/hostrun/label"
	"github.com/clearrun/clearrun/hostrun/network"
	"github.com/clearrun/clearrun/hostrun/seccomp"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/vmrun/bundle"
)

// ExitFailure is the exit code of clearrun's own failures, as in docker run.
const ExitFailure = proto.ExitFailure

// Options are the surroundings of a run.
type Options struct {
	// Bundle holds PID 1.
	Bundle *bundle.Bundle
	attach.Streams
	// Notice is told in a line what SELinux does not do for the run, or the network; nil: nobody is.
	Notice func(line string)
	// NetworkLost is told, beside Notice, that the app's network has ended while it runs; nil: nobody is.
	NetworkLost func(line string)
	// Started is told when the app may be asked to end; until then the end of ctx ends the run. nil: nobody is.
	Started func()
	// CNI is where networks of CNI are described.
	CNI network.CNI
	// Report is told what became of what this host does beside the image's isolators, before the
	// app runs; with its error nothing does. nil: nobody is.
	Report func([]pod.Enforcement) error

	found *network.Network // of CNI; nil: it is another kind
}

// Run runs p in a container and gives the app's exit code: 0 to 255, or 128 plus the
// number of the signal that ended it. With an error, the code is clearrun's own: 125,
// or 126 or 127 if the command cannot be executed or found. When ctx ends, so does
// the container, with context.Cause(ctx) as the error.
func Run(ctx context.Context, p *pod.Pod, o Options) (exit int, err error) {
	if !p.Permits() || p.Verdict.Tier() != trust.TierNS && p.Verdict.Tier() != trust.TierHost {
		return ExitFailure, errors.New("refused: no verdict permits this image on the host's kernel")
	}
	rootless := os.Geteuid() != 0
	if rootless && p.Verdict.Tier() == trust.TierHost {
		return ExitFailure, errNotRoot
	}
	if err := o.findNetwork(ctx, p); err != nil {
		return ExitFailure, err
	}
	start, err := startMessage(p, o.Streams)
	if err != nil {
		return ExitFailure, err
	}
	lease, err := o.label(p, start)
	if err != nil {
		return ExitFailure, err
	}
	defer lease.Close()
	if rootless {
		return o.runRootless(ctx, p, start, lease)
	}
	user, err := newUserNS(p)
	if err != nil {
		return ExitFailure, err
	}
	defer user.close()
	image, err := openImage(p.RootFS.File(), p.RootFS.Info, p.RootFS.FSVerity, lease.FileLabel())
	if err != nil {
		return ExitFailure, fmt.Errorf("root image %s: %w", p.RootFS.Path, err)
	}
	defer image.close()
	if err := o.report(p, image.how, user); err != nil {
		return ExitFailure, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer image.guard(func() {
		cancel(fmt.Errorf("root image %s: somebody is about to write to it, and the container was ended", p.RootFS.Path))
	})()
	return run(ctx, p, o, start, prepared{image, lease, user})
}

var errNotRoot = errors.New("tier host needs root: run clearrun by sudo, or ask for tier ns (--ns) or vm (--vm), where the policy allows it")

// prepared is what a run of root's has got before there are processes.
type prepared struct {
	image *image
	lease *label.Lease
	user  *userNS // nil: there is none
}

func run(ctx context.Context, p *pod.Pod, o Options, start *proto.Start, x prepared) (int, error) {
	host := p.Verdict.Tier() == trust.TierHost
	// PID 1 dies with the thread that started it (PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	volumes, err := openVolumes(p.Volumes, x.lease.FileLabel())
	if err != nil {
		return ExitFailure, err
	}
	defer func() { closeAll(volumes) }()
	if host {
		trees, err := openHostTrees()
		if err != nil {
			return ExitFailure, err
		}
		volumes = append(trees, volumes...)
	}
	group, err := makeCgroup(p.Resources, host)
	if err != nil {
		return ExitFailure, err
	}
	defer group.remove()
	inherited := append([]*os.File{x.image.mount}, volumes...)
	if x.user != nil {
		devices, err := openDevices()
		if err != nil {
			return ExitFailure, err
		}
		defer closeAll(devices)
		inherited = slices.Concat(inherited[:1], devices, volumes, []*os.File{x.user.lease})
		x.user.tell(start)
	}
	c, err := startContainer(o.Bundle, p, inherited, x.lease, birth{group, x.user})
	if err != nil {
		return ExitFailure, err
	}
	defer c.kill() // a cgroup with processes stays
	if x.user != nil {
		names := []string{"root image " + p.RootFS.Path}
		for _, v := range p.Volumes {
			names = append(names, "volume "+v.String())
		}
		if err := x.user.mapMounts(c.process.Pid, append([]*os.File{x.image.mount}, volumes...), names); err != nil {
			return ExitFailure, err
		}
	}
	return o.attend(ctx, p, start, c, group)
}

// attend tells PID 1 what to run, and serves it to its end.
func (o Options) attend(ctx context.Context, p *pod.Pod, start *proto.Start, c *container, group *cgroup) (int, error) {
	connected, err := o.connect(ctx, p, c.process.Pid, start)
	if err != nil {
		return ExitFailure, err
	}
	defer o.disconnect(connected)
	defer o.watch(connected)()
	if o.Started != nil {
		o.Started()
	}
	outcome := attach.New(start, p.App.StopSignal, o.Streams, c.accept(start)).Serve(ctx)
	starved := group.oomKilled()
	switch {
	case outcome.Exit != nil:
		// PID 1 sees the whole host's count.
		outcome.Exit.OOMKilled = starved && outcome.Exit.Signal == uint8(unix.SIGKILL)
	case errors.Is(outcome.Err, attach.ErrGone):
		outcome = c.postMortem(starved)
	}
	return outcome.Code()
}

// startMessage is that of every tier, and what keeps an app apart whose kernel is the
// host's: paths that are hidden or read-only (the defaults of Moby) and the filter.
func startMessage(p *pod.Pod, s attach.Streams) (*proto.Start, error) {
	start := attach.StartMessage(p, s)
	start.WallClock = 0 // the host's clock is right, and its own
	for _, v := range p.Volumes {
		start.Volumes = append(start.Volumes, proto.Volume{Target: v.Target, Name: v.String()})
	}
	start.HostNetwork = p.Network == pod.NetworkHost
	if p.Verdict.Tier() == trust.TierHost {
		return start, hostStart(start, p)
	}
	start.MaskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
	start.ReadOnlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
	filter, err := seccomp.Filter(uint64(start.Capabilities), p.App.Seccomp)
	if err != nil {
		return nil, err
	}
	start.Seccomp = string(filter)
	start.OverlaySize = overlaySize(p.Resources.MemoryBytes)
	if start.HostNetwork {
		return start, hostFiles(start)
	}
	return start, nil
}

// defaultOverlay bounds the writable layer of an app without a memory limit, in bytes.
const defaultOverlay = 1 << 30

// overlaySize is half of the app's memory, as in a VM.
func overlaySize(memory uint64) uint64 {
	if memory == 0 {
		return defaultOverlay
	}
	return memory / 2
}
