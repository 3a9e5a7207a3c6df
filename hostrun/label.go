package hostrun

import (
	"fmt"
	"os"

	"github.com/clearrun/clearrun/guest/proto"
	"github.com/clearrun/clearrun/hostrun/label"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/vmrun/bundle"
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

// startLabelled starts PID 1 with the lease, which it keeps for as long as it lives, and
// with sockets that bear the container's label. The caller stays on its thread.
func startLabelled(b *bundle.Bundle, p *pod.Pod, inherited []*os.File, lease *label.Lease, born birth) (*container, error) {
	if lease.ProcessLabel() == "" {
		return startContainer(b, p, inherited, born)
	}
	if err := lease.LabelSockets(); err != nil {
		return nil, fmt.Errorf("label the sockets of PID 1: %w", err)
	}
	defer label.UnlabelSockets()
	return startContainer(b, p, append(inherited, lease.File()), born)
}
