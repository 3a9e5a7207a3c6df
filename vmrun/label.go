package vmrun

import (
	"os"

	"github.com/clearrun/clearrun/hostrun/label"
	"github.com/clearrun/clearrun/pod"
)

// acquire gets the labels of a monitor that inherits these files.
type acquire func(inherited ...*os.File) (*label.Lease, error)

// unlabelled is for a monitor without an image: it is the user's own.
func unlabelled(...*os.File) (*label.Lease, error) { return &label.Lease{}, nil }

// acquire gets the labels of the monitor that runs p. Who holds the lease is this process,
// with which the monitor ends.
func (o Options) acquire(p *pod.Pod) acquire {
	return func(inherited ...*os.File) (*label.Lease, error) {
		lease, err := label.Acquire(label.StateDir, label.Request{
			Kind: label.Monitor, Options: p.Label, Required: p.RequireSELinux,
			Inherited: inherited, Images: []*os.File{p.RootFS.File()},
		})
		if err != nil {
			return nil, err
		}
		if n := lease.Notice(); n != "" && o.Notice != nil {
			o.Notice(n)
		}
		return lease, nil
	}
}
