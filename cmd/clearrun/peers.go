package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/clearrun/clearrun/vmrun"
	"github.com/clearrun/clearrun/vmrun/bootlab"
	"github.com/clearrun/clearrun/vmrun/bzimage"
)

// peers are what --compare asks for, and the times of theirs and ours so far.
type peers struct {
	qemu    bool
	files   []*os.File // other kernels
	kernels bootlab.Comparison
}

// qemuPeer is the name of the peer that is a monitor and no kernel.
const qemuPeer = "qemu-microvm"

// peers opens what --compare names.
func (o *bootOptions) peers() (*peers, error) {
	p := &peers{kernels: bootlab.Comparison{What: "kernels, from the start of the monitor to the end of the run, in turns"}}
	if o.compare == "" {
		return p, nil
	}
	p.kernels.Peers = []bootlab.Peer{{Name: o.kernelName()}}
	for name := range strings.SplitSeq(o.compare, ",") {
		if name == qemuPeer {
			if _, err := bootlab.CheckQEMU(); err != nil {
				return nil, errors.Join(fmt.Errorf("--compare: %w", err), p.close())
			}
			p.qemu = true
			continue
		}
		f, err := bzimage.Open(name)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("--compare: want %s or a kernel: %w", qemuPeer, err), p.close())
		}
		p.files = append(p.files, f)
		p.kernels.Peers = append(p.kernels.Peers, bootlab.Peer{Name: filepath.Base(name)})
	}
	if len(p.files) > 0 && (o.until == "app" || o.until == "exit") {
		return nil, errors.Join(fmt.Errorf("--until %s: only clearrun's own guest runs an app; compare kernels at a mark, or at poweroff", o.until), p.close())
	}
	return p, nil
}

func (p *peers) close() error {
	var errs []error
	for _, f := range p.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// boot takes the time of a run, and boots each other kernel once in the same way.
func (p *peers) boot(ctx context.Context, bo vmrun.BootOptions, ours int64) error {
	if len(p.files) == 0 {
		return nil
	}
	add := func(i int, ns int64) {
		peer := &p.kernels.Peers[i]
		peer.Nanoseconds = append(peer.Nanoseconds, ns)
	}
	add(0, ours)
	bo.OnSample, bo.OnLine = nil, nil
	for i, f := range p.files {
		bo.Kernel = f
		r, err := vmrun.Boot(ctx, bo)
		if err != nil {
			return fmt.Errorf("%s: %w", p.kernels.Peers[i+1].Name, err)
		}
		add(i+1, r.Ended)
	}
	return nil
}

// minPeerRuns makes up for what a start of some milliseconds varies.
const minPeerRuns = 15

// compareQEMU times the smallest start there is: of a payload that tells of itself with its
// first instructions.
func compareQEMU(ctx context.Context, bo vmrun.BootOptions, runs int) (bootlab.Comparison, error) {
	c := bootlab.Comparison{
		What:  "from the start of the monitor to the first guest instructions, in turns",
		Peers: []bootlab.Peer{{Name: "clearrun"}, {Name: qemuPeer}},
	}
	payload, err := os.CreateTemp("", "clearrun-payload-")
	if err != nil {
		return c, err
	}
	defer payload.Close()
	defer os.Remove(payload.Name())
	if _, err := payload.Write(bootlab.Payload()); err != nil {
		return c, err
	}
	own := vmrun.BootOptions{Bundle: bo.Bundle, Kernel: payload, Memory: bo.Memory, CPUs: bo.CPUs}
	for range max(runs, minPeerRuns) {
		ours, err := timeBoot(ctx, own)
		if err != nil {
			return c, err
		}
		c.Peers[0].Nanoseconds = append(c.Peers[0].Nanoseconds, ours.Nanoseconds())
		theirs, err := bootlab.TimeQEMU(ctx, payload.Name(), bo.Memory)
		if err != nil {
			return c, err
		}
		c.Peers[1].Nanoseconds = append(c.Peers[1].Nanoseconds, theirs.Nanoseconds())
	}
	return c, nil
}

// timeBoot boots the payload in a VM of ours, and times it up to its first instructions.
func timeBoot(ctx context.Context, bo vmrun.BootOptions) (time.Duration, error) {
	first, err := bootlab.WatchFirstByte()
	if err != nil {
		return 0, err
	}
	bo.Console = first.Console
	began := time.Now()
	_, err = vmrun.Boot(ctx, bo)
	took, silent := first.Since(began)
	return took, errors.Join(err, silent)
}
