package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/clearrun/clearrun/attach"
	"github.com/clearrun/clearrun/hostrun"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/vmm/launch"
	"github.com/clearrun/clearrun/vmrun"
	"github.com/clearrun/clearrun/vmrun/bundle"
)

// tierOptions ask for a tier. Without one it is the least that the policy allows.
type tierOptions struct{ vm, ns, host bool }

func (o *tierOptions) addTo(f *pflag.FlagSet) {
	f.BoolVar(&o.vm, "vm", false, "ask for a virtual machine (what runs get without a policy)")
	f.BoolVar(&o.ns, "ns", false, "ask for namespaces on this host's kernel, where the policy allows it")
	f.BoolVar(&o.host, "host", false, "ask for a plain process of this host, where the policy allows it")
}

// tier is the one asked for; zero: none.
func (o *tierOptions) tier() (asked trust.Tier, err error) {
	for _, c := range []struct {
		chosen bool
		tier   trust.Tier
	}{{o.vm, trust.TierVM}, {o.ns, trust.TierNS}, {o.host, trust.TierHost}} {
		switch {
		case c.chosen && asked != 0:
			return 0, fmt.Errorf("--%s and --%s contradict each other", asked, c.tier)
		case c.chosen:
			asked = c.tier
		}
	}
	return asked, nil
}

// announceTier says when an image runs with less isolation than a VM and nobody has asked for
// that at this run, but the policy's rule lists it.
func (o *tierOptions) announceTier(v trust.Verdict, w io.Writer) {
	if asked, _ := o.tier(); asked != 0 || v.Tier() >= trust.TierVM {
		return
	}
	fmt.Fprintf(w, "clearrun: tier %s, the least that rule %q allows; --vm asks for more where the rule lists it\n", v.Tier(), v.Rule())
}

// runPod runs p at the tier of its verdict.
func (o *runOptions) runPod(ctx context.Context, p *pod.Pod, b *bundle.Bundle, s *signals, io stdio) (int, error) {
	streams := attach.Streams{Stdin: io.in, Stdout: io.out, Stderr: io.err, Signals: s.forward}
	if o.tty {
		restore, err := prepareTerminal(&streams, o.interactive, io)
		if err != nil {
			return vmrun.ExitFailure, err
		}
		defer restore()
	}
	if p.Verdict.Tier() == trust.TierVM {
		s.running.Store(true)
		if err := o.report(p, []pod.Enforcement{byMonitor}, io); err != nil {
			return vmrun.ExitFailure, err
		}
		return vmrun.Run(ctx, p, o.vmOptions(b, streams, io))
	}
	if o.console || o.stats != "" || o.kernelArgs != "" {
		return vmrun.ExitFailure, fmt.Errorf("--console, --stats and --kernel-args are about a VM, and %s runs at tier %s: leave them out, or ask for --vm",
			p.Name, p.Verdict.Tier())
	}
	return hostrun.Run(ctx, p, hostrun.Options{
		Bundle: b, Streams: streams,
		Started: func() { s.running.Store(true) },
		Notice:  io.notice, NetworkLost: func(line string) { o.lost = errors.New(line) }, CNI: o.cniOptions.places(),
		Report: func(more []pod.Enforcement) error { return o.report(p, more, io) },
	})
}

func (o *runOptions) vmOptions(b *bundle.Bundle, streams attach.Streams, io stdio) vmrun.Options {
	vo := vmrun.Options{Bundle: b, KernelArgs: o.kernelArgs, Streams: streams, Notice: io.notice}
	if o.console {
		vo.Console = io.err
	}
	if o.stats != "" {
		vo.OnReport = func(r launch.Report) {
			if err := writeStats(o.stats, r); err != nil {
				fmt.Fprintln(io.err, "clearrun: --stats:", err)
			}
		}
	}
	return vo
}
