package hostrun

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
)

// report tells what this host does for the run beside what the image's isolators ask for,
// before there is an app.
func (o Options) report(p *pod.Pod, howVerified string, root interface{ enforcement() pod.Enforcement }) error {
	if o.Report == nil {
		return nil
	}
	entries := []pod.Enforcement{{Name: pod.RootImage, State: pod.Enforced, Detail: howVerified}}
	if p.Verdict.Tier() == trust.TierNS {
		entries = append(entries, landlock(Landlock(), p.App.Capabilities.Has(unix.CAP_SYS_ADMIN)), root.enforcement())
	}
	return o.Report(entries)
}

// landlockScopes is the version of Landlock's ABI from which on it is about signals and
// abstract sockets, too.
const landlockScopes = 6

// landlock says which part of the second wall stands (guest/init, landlock). Nobody asks for
// it, so that its absence is no failure.
func landlock(version int, mounts bool) pod.Enforcement {
	e := pod.Enforcement{Name: "landlock", State: pod.Adjusted}
	scopes := version >= landlockScopes
	switch {
	case version == 0:
		e.State, e.Detail = pod.Absent, "this kernel has none in use"
	case mounts && scopes:
		e.Detail = fmt.Sprintf("ABI %d: signals and abstract sockets, but no files: CAP_SYS_ADMIN is there to mount", version)
	case mounts:
		e.State, e.Detail = pod.Absent, fmt.Sprintf("ABI %d is about files alone, and CAP_SYS_ADMIN is there to mount", version)
	case scopes:
		e.State, e.Detail = pod.Enforced, fmt.Sprintf("ABI %d: files, signals, abstract sockets", version)
	default:
		e.Detail = fmt.Sprintf("ABI %d: files, but no signals and abstract sockets (those need Linux 6.12)", version)
	}
	return e
}
