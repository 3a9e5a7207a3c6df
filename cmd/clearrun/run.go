package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/clearrun/clearrun/attach"
	"github.com/clearrun/clearrun/image/store"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/vmm/launch"
	"github.com/clearrun/clearrun/vmrun"
	"github.com/clearrun/clearrun/vmrun/bundle"
)

// defaultStopTimeout is that of docker stop.
const defaultStopTimeout = 10 * time.Second

// exitTimeout is the exit code after --timeout, as of timeout(1).
const exitTimeout = 124

// runOptions are the options of `clearrun run`.
type runOptions struct {
	globals
	fetchOptions
	registryOptions
	tierOptions
	memory            string
	cpus              int
	env               []string
	user, workdir     string
	hostname          string
	entrypoint        string
	tty, interactive  bool
	readOnly, console bool
	noNewPrivileges   bool
	capAdd, capDrop   []string
	timeout           time.Duration
	stopSignal        string
	stopTimeout       time.Duration
	signature         string
	insecure          bool
	verbose           bool
	isolation
	surroundings
	blockIO
	cniOptions
	stats, kernelArgs string
	given             []string // on the command line, for the decision log
	lost              error    // for the log as well: the app's network ended while it ran
}

func (o *runOptions) flags(io stdio) *pflag.FlagSet {
	f := newFlags("run [--vm|--ns|--host] [options] IMAGE [-- ARGUMENT...]",
		"Verify an image and run its app. Arguments behind -- are appended to an ACI's command, and replace an OCI image's Cmd.\n"+imageHelp, &o.globals, io)
	o.tierOptions.addTo(f)
	f.StringVarP(&o.memory, "memory", "m", "", "memory, such as 512M or 2G (default: 256M in a VM, else what the host has)")
	f.IntVar(&o.cpus, "cpus", 0, "CPUs, 1 to 32 (default: 1 in a VM, else all)")
	f.StringArrayVarP(&o.env, "env", "e", nil, "set KEY=VALUE in the app's environment, or pass KEY on from here")
	f.StringVarP(&o.user, "user", "u", "", "run as USER[:GROUP], names or numbers")
	f.StringVarP(&o.workdir, "workdir", "w", "", "working directory in the image")
	f.StringVar(&o.entrypoint, "entrypoint", "", "run this command in place of the image's")
	f.StringVar(&o.hostname, "hostname", "", "host name that the app sees")
	f.BoolVarP(&o.interactive, "interactive", "i", false, "pass standard input on to the app")
	f.BoolVarP(&o.tty, "tty", "t", false, "give the app a terminal")
	f.BoolVar(&o.readOnly, "read-only", false, "make the app's root file system read-only")
	f.StringArrayVar(&o.capAdd, "cap-add", nil, "add a Linux capability, or ALL")
	f.StringArrayVar(&o.capDrop, "cap-drop", nil, "drop a Linux capability, or ALL")
	f.BoolVar(&o.noNewPrivileges, "no-new-privileges", false, "make set-user-ID programs powerless")
	f.DurationVar(&o.timeout, "timeout", 0, "ask the app to end after this time, such as 90s or 5m (exit code 124)")
	f.StringVar(&o.stopSignal, "stop-signal", "", "what the app gets when it is asked to end (default: the image's, or SIGTERM)")
	f.DurationVar(&o.stopTimeout, "stop-timeout", defaultStopTimeout, "how long after --timeout the app may take to end")
	f.StringVar(&o.signature, "signature", "", "detached signature of an ACI (default IMAGE.asc)")
	f.BoolVar(&o.insecure, "insecure-no-verify", false, "run the image without checking who signed it, this once")
	f.BoolVar(&o.console, "console", false, "show the guest kernel's console on stderr")
	f.BoolVar(&o.verbose, "verbose", false, "say what was verified and what takes time")
	o.isolation.addTo(f)
	o.surroundings.addTo(f)
	o.blockIO.addTo(f)
	o.cniOptions.addTo(f)
	f.StringVar(&o.stats, "stats", "", "write figures about the VM's start and run to this file, as JSON")
	o.fetchOptions.addTo(f)
	o.registryOptions.addTo(f)
	f.StringVar(&o.kernelArgs, "kernel-args", "", "append to the guest kernel's command line")
	return f
}

// runCommand is `clearrun run`.
func runCommand(args []string, g globals, io stdio) (int, error) {
	o := &runOptions{globals: g}
	f := o.flags(io)
	if err := f.Parse(args); err != nil {
		return vmrun.ExitFailure, err
	}
	o.given = given(f)
	image, appArgs, err := splitArgs(f)
	if err != nil {
		return vmrun.ExitFailure, err
	}
	if f.Changed("cpus") && o.cpus == 0 {
		return vmrun.ExitFailure, fmt.Errorf("--cpus 0: want 1 to %d", maxCPUs)
	}
	for option, d := range map[string]time.Duration{"timeout": o.timeout, "stop-timeout": o.stopTimeout} {
		if d < 0 {
			return vmrun.ExitFailure, fmt.Errorf("--%s %v: want a time, such as 90s or 5m", option, d)
		}
	}
	overrides, err := o.overrides(appArgs)
	if err != nil {
		return vmrun.ExitFailure, err
	}
	if o.tty && o.interactive && !isTerminal(io.in) {
		return vmrun.ExitFailure, errors.New("-i with -t needs a terminal as standard input: leave -t out for a pipe or file")
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := watchSignals(cancel)
	defer signals.stop()
	if o.timeout > 0 {
		defer signals.stopAfter(o.timeout, o.stopTimeout)()
	}
	code, err := o.execute(ctx, image, overrides, signals, io)
	return o.conclude(code, err)
}

var (
	errTimeout     = errors.New("timeout")
	errInterrupted = errors.New("interrupted twice: the run was ended")
)

// exitInterrupted is 128 plus SIGINT.
const exitInterrupted = 130

// conclude maps what ended the run from outside to its exit code.
func (o *runOptions) conclude(code int, err error) (int, error) {
	var signal *attach.SignalError
	switch {
	case errors.Is(err, errTimeout):
		return exitTimeout, fmt.Errorf("the timeout of %v is over: the run was ended", o.timeout)
	case errors.Is(err, errInterrupted):
		return exitInterrupted, err
	case errors.As(err, &signal):
		return 128 + signal.Number, err
	}
	return code, err
}

// splitArgs separates the image from the app's arguments.
func splitArgs(f *pflag.FlagSet) (image string, appArgs []string, err error) {
	own := f.Args()
	if n := f.ArgsLenAtDash(); n >= 0 {
		own, appArgs = own[:n], own[n:]
	}
	switch len(own) {
	case 0:
		return "", nil, errors.New("no image given; see clearrun run --help")
	case 1:
		return own[0], appArgs, nil
	}
	return "", nil, fmt.Errorf("unexpected argument %q: put the app's arguments behind --", own[1])
}

func (o *runOptions) overrides(args []string) (pod.Overrides, error) {
	v := pod.Overrides{
		Args: args, Dir: o.workdir, User: o.user, CPUs: o.cpus, Hostname: o.hostname,
		CapAdd: o.capAdd, CapDrop: o.capDrop, NoNewPrivileges: o.noNewPrivileges,
		ReadOnlyRoot: o.readOnly, Strict: o.strict, TTY: o.tty, Stdin: o.interactive,
		StopSignal: o.stopSignal,
	}
	if o.entrypoint != "" {
		v.Entrypoint = []string{o.entrypoint}
	}
	for _, e := range o.env {
		if !strings.Contains(e, "=") {
			value, set := os.LookupEnv(e)
			if !set {
				continue // as docker run does
			}
			e += "=" + value
		}
		v.Env = append(v.Env, e)
	}
	if o.cpus < 0 || o.cpus > maxCPUs {
		return v, fmt.Errorf("--cpus %d: want 1 to %d", o.cpus, maxCPUs)
	}
	if o.memory != "" {
		n, err := pod.ParseSize(o.memory)
		if err != nil {
			return v, fmt.Errorf("--memory: %w", err)
		}
		if n < minMemory || n > maxMemory {
			return v, fmt.Errorf("--memory %s: want 64M to 64G", o.memory)
		}
		v.MemoryBytes = n
	}
	if err := o.blockIO.apply(&v); err != nil {
		return v, err
	}
	return v, o.surroundings.apply(&v)
}

// What a VM can be given; the monitor checks it again.
const (
	maxCPUs   = 32
	minMemory = 64 << 20
	maxMemory = 64 << 30
)

// execute verifies the image and runs it. What is decided and how it ends is recorded.
func (o *runOptions) execute(ctx context.Context, image string, v pod.Overrides, s *signals, io stdio) (int, error) {
	b, err := bundle.Open("/proc/self/exe")
	if err != nil {
		return vmrun.ExitFailure, err
	}
	defer b.Close()
	d, err := o.decisions(image, b)
	if err != nil {
		return vmrun.ExitFailure, err
	}
	p, err := o.open(ctx, image, v, io)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return vmrun.ExitFailure, d.refused(err)
	}
	defer p.Close()
	if err := d.allowed(p); err != nil {
		return vmrun.ExitFailure, err
	}
	o.announce(p, io)
	code, err := o.runPod(ctx, p, b, s, io)
	if s.expired.Load() {
		err = errTimeout
	}
	code, err = o.conclude(code, err)
	return code, errors.Join(err, d.exited(code, errors.Join(err, o.lost)))
}

// open verifies the image and renders it if the store does not have it.
func (o *runOptions) open(ctx context.Context, image string, v pod.Overrides, io stdio) (*pod.Pod, error) {
	st, err := store.Open(o.storeOptions())
	if err != nil {
		return nil, err
	}
	defer st.Close()
	keys, err := trust.OpenKeyring(o.keyringDir())
	if err != nil {
		return nil, err
	}
	policy, err := o.policy()
	if err != nil {
		return nil, err
	}
	tier, err := o.tier()
	if err != nil {
		return nil, err
	}
	po := pod.Options{
		Path: image, SignaturePath: o.signature, Store: st, Keyring: keys, Policy: policy, AskedTier: tier,
		InsecureNoVerify: o.insecure, Overrides: v,
	}
	if err := errors.Join(o.fetchOptions.apply(&po), o.registryOptions.apply(&po, o.globals, io)); err != nil {
		return nil, err
	}
	if o.verbose || isTerminal(io.err) {
		po.Progress = func(step string) { fmt.Fprintln(io.err, "clearrun:", step) }
	}
	return pod.Open(ctx, po)
}

// announce says loudly what was not verified and, when asked, what was.
func (o *runOptions) announce(p *pod.Pod, io stdio) {
	if o.insecure {
		fmt.Fprintf(io.err, "clearrun: WARNING: %s runs UNVERIFIED (--insecure-no-verify): nobody vouches for it\n", p.Name)
	}
	o.announceTier(p.Verdict, io.err)
	if !o.verbose {
		return
	}
	fmt.Fprintf(io.err, "clearrun: image %s, %s\nclearrun: tier %s, %s\n", p.Name, p.Verdict.ImageDigest(), p.Verdict.Tier(), p.Verdict.How())
}

// report tells what became of each isolator, and of what the runner does beside them.
func (o *runOptions) report(p *pod.Pod, more []pod.Enforcement, io stdio) error {
	p.Enforcement = append(p.Enforcement, more...)
	if o.verbose {
		for _, e := range p.Enforcement {
			fmt.Fprintf(io.err, "clearrun: isolator %s is %s: %s\n", e.Name, e.State, e.Detail)
		}
	}
	return o.isolation.report(p)
}

func writeStats(path string, r launch.Report) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

func (g globals) storeOptions() store.Options {
	so := store.Options{Dir: g.storeDir, Quota: g.storeQuota}
	if g.configDir != "" {
		so.KeyFile = g.configDir + "/store.key"
	}
	return so
}

func (g globals) keyringDir() string {
	if g.configDir == "" {
		return ""
	}
	return g.configDir + "/trust.d"
}
