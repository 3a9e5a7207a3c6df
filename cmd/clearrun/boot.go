package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/vmm/launch"
	"github.com/clearrun/clearrun/vmrun"
	"github.com/clearrun/clearrun/vmrun/bootlab"
	"github.com/clearrun/clearrun/vmrun/bundle"
	"github.com/clearrun/clearrun/vmrun/bzimage"
)

// bootOptions are the options of `clearrun boot`.
type bootOptions struct {
	globals
	kernel, initrd, cmdline string
	memory, until, json     string
	cpus, runs              int
	svg, baseline, compare  string
	console, initcalls      bool
	timeout                 time.Duration
	profile, symbols        string
	sampleEvery             time.Duration
}

// maxRuns keeps a typing error from running for days.
const maxRuns = 1000

// bootCommand is `clearrun boot`.
func bootCommand(args []string, g globals, io stdio) (int, error) {
	o := &bootOptions{globals: g}
	f := newFlags("boot [options]", "Boot a kernel, no image needed, and show where a start spends its time.\nA guest marks milestones by writing a byte to I/O port 0xf4, or to the page at\n0xd0008000 (docs/boot.md).", &o.globals, io)
	f.StringVar(&o.kernel, "kernel", "", "vmlinux or bzImage (default: clearrun's own guest)")
	f.StringVar(&o.initrd, "initrd", "", "initramfs for --kernel")
	f.StringVar(&o.cmdline, "cmdline", "", "append to the kernel's command line")
	f.StringVarP(&o.memory, "memory", "m", "128M", "memory of the VM")
	f.IntVar(&o.cpus, "cpus", 1, "virtual CPUs, 1 to 32")
	f.IntVar(&o.runs, "runs", 1, "how often to boot")
	f.StringVar(&o.until, "until", "init", "where a run ends: pid1, init (its own code), app (executed), exit (the app's), poweroff, or the number of a mark")
	f.StringVar(&o.json, "json", "", "write all figures, of every run and of all together, to this file; - for standard output")
	f.StringVar(&o.svg, "svg", "", "draw the start as a picture into this file")
	f.StringVar(&o.baseline, "baseline", "", "say what has changed since this file of --json was written, and whether it is more than noise")
	f.StringVar(&o.compare, "compare", "", "time others in turns with this: qemu-microvm, or kernels that boot in the same way, by commas")
	f.BoolVar(&o.initcalls, "initcalls", false, "have the kernel report its initcalls on the console, which takes time of its own")
	f.BoolVar(&o.console, "console", false, "show the guest kernel's console on stderr (which takes time of its own)")
	f.StringVar(&o.profile, "profile", "", "write a profile of the guest's instruction pointer to this file, for go tool pprof")
	f.StringVar(&o.symbols, "symbols", "", "System.map or unstripped vmlinux that names the functions in the profile")
	f.DurationVar(&o.sampleEvery, "profile-every", time.Millisecond, "time between the profile's samples")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "end a run after this time")
	if err := f.Parse(args); err != nil {
		return vmrun.ExitFailure, err
	}
	if f.NArg() > 0 {
		return vmrun.ExitFailure, fmt.Errorf("unexpected argument %q: a kernel is given by --kernel", f.Arg(0))
	}
	baseline, err := o.readBaseline()
	if err != nil {
		return vmrun.ExitFailure, err
	}
	bo, err := o.resolve(io)
	if err != nil {
		return vmrun.ExitFailure, err
	}
	defer closeApp(bo.App)
	p, err := o.profiling(&bo)
	if err != nil {
		return vmrun.ExitFailure, err
	}
	others, err := o.peers()
	if err != nil {
		return vmrun.ExitFailure, err
	}
	defer others.close()
	result, err := o.boot(bo, p, others, io)
	if err == nil {
		err = p.write(o.profile)
	}
	if err != nil {
		return vmrun.ExitFailure, err
	}
	if err := o.show(result, baseline, io); err != nil {
		return vmrun.ExitFailure, err
	}
	return 0, nil
}

// resolve checks the options and opens what they name.
func (o *bootOptions) resolve(io stdio) (vmrun.BootOptions, error) {
	bo := vmrun.BootOptions{CmdLine: o.cmdline, CPUs: o.cpus}
	var err error
	if bo.Memory, err = pod.ParseSize(o.memory); err != nil || bo.Memory < minMemory || bo.Memory > maxMemory {
		return bo, fmt.Errorf("--memory %s: want 64M to 64G", o.memory)
	}
	if o.cpus < 1 || o.cpus > maxCPUs {
		return bo, fmt.Errorf("--cpus %d: want 1 to %d", o.cpus, maxCPUs)
	}
	if o.runs < 1 || o.runs > maxRuns {
		return bo, fmt.Errorf("--runs %d: want 1 to %d", o.runs, maxRuns)
	}
	if bo.StopAt, err = parseUntil(o.until); err != nil {
		return bo, err
	}
	if o.kernel != "" && (o.until == "app" || o.until == "exit") {
		return bo, fmt.Errorf("--until %s: only clearrun's own guest runs an app; end at a mark of --kernel's own, or at poweroff", o.until)
	}
	if o.initrd != "" && o.kernel == "" {
		return bo, errors.New("--initrd goes with --kernel: clearrun's own guest has its own")
	}
	if o.kernel != "" {
		if bo.Kernel, err = bzimage.Open(o.kernel); err != nil {
			return bo, fmt.Errorf("--kernel: %w", err)
		}
	}
	if o.initrd != "" {
		if bo.Initramfs, err = os.Open(o.initrd); err != nil {
			return bo, err
		}
	}
	if o.console {
		bo.Console = io.err
	}
	if o.initcalls {
		bo.CmdLine = strings.TrimSpace(bo.CmdLine + " initcall_debug ignore_loglevel")
	}
	if o.until == "app" || o.until == "exit" {
		bo.App, err = builtinApp()
	}
	return bo, err
}

// parseUntil gives the mark to stop at; 0: none.
func parseUntil(s string) (uint8, error) {
	switch s {
	case "pid1":
		return launch.MarkInit, nil
	case "init":
		return launch.MarkMain, nil
	case "app":
		return launch.MarkStarted, nil
	case "exit", "poweroff":
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 0, 8)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("--until %q: want pid1, init, app, exit, poweroff, or a mark from 1 to 255", s)
	}
	return uint8(n), nil
}

// boot runs all the runs.
func (o *bootOptions) boot(bo vmrun.BootOptions, p *profiling, others *peers, io stdio) (*bootlab.Result, error) {
	b, err := bundle.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer b.Close()
	bo.Bundle = b
	initcalls := bootlab.Initcalls{Symbol: p.symbol}
	if o.console || o.initcalls {
		bo.OnLine = initcalls.Line
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := watchSignals(cancel)
	defer signals.stop()
	go func() {
		for range signals.forward {
			cancel(errors.New("interrupted: the VM was ended"))
		}
	}()
	var runs []bootlab.Run
	for n := range o.runs {
		if isTerminal(io.err) && o.runs > 1 {
			fmt.Fprintf(io.err, "\rrun %d of %d", n+1, o.runs)
		}
		run, stop := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("run %d did not end in %v (--timeout)", n+1, o.timeout))
		r, err := vmrun.Boot(run, bo)
		p.profile.NextRun()
		if err == nil {
			err = others.boot(run, bo, r.Ended)
		}
		stop()
		if err != nil {
			return nil, err
		}
		runs = append(runs, bootlab.Run{Report: r, Initcalls: initcalls.Take()})
	}
	if isTerminal(io.err) && o.runs > 1 {
		fmt.Fprintln(io.err)
	}
	result := bootlab.Gather(o.setting(bo, runs[0].Host), runs)
	if len(others.files) > 0 {
		result.Beside = append(result.Beside, others.kernels)
	}
	if others.qemu {
		c, err := compareQEMU(ctx, bo, o.runs)
		if err != nil {
			return nil, err
		}
		result.Beside = append(result.Beside, c)
	}
	return result, nil
}

// setting is what the runs have in common.
func (o *bootOptions) setting(bo vmrun.BootOptions, host string) bootlab.Setting {
	return bootlab.Setting{
		Host: host, Kernel: o.kernelName(), CmdLine: bo.CmdLine, Memory: bo.Memory, CPUs: bo.CPUs, Until: o.until,
	}
}

func (o *bootOptions) kernelName() string {
	if o.kernel == "" {
		return "clearrun's own"
	}
	return filepath.Base(o.kernel)
}
