package hostrun

import (
	"github.com/clearrun/clearrun/guest/proto"
	"github.com/clearrun/clearrun/hostrun/label"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
)

// label gets the container's SELinux labels and puts them into its start message. PID 1
// sets them: clearrun's own domain is what may mount, and the app's what may not.
func (o Options) label(p *pod.Pod, start *proto.Start) (*label.Lease, error) {
	if p.Verdict.Tier() == trust.TierHost {
		return &label.Lease{}, nil // a process of the host's, in clearrun's own domain
	}
	lease, err := label.Acquire(label.StateDir, label.Request{
		Options: p.Label, Required: p.RequireSELinux,
	})
	if err != nil {
		return nil, err
	}
	if n := lease.Notice(); n != "" && o.Notice != nil {
		o.Notice(n)
	}
	start.ProcessLabel, start.MountLabel = lease.ProcessLabel(), lease.FileLabel()
	return lease, nil
}
