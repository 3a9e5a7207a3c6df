package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/signal"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image/store"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/vmrun"
)

// pullOptions are the options of `clearrun image pull`.
type pullOptions struct {
	globals
	fetchOptions
	registryOptions
	signature       string
	insecure        bool
	asJSON, verbose bool
}

func (o *pullOptions) flags(io stdio) *pflag.FlagSet {
	f := newFlags("image pull [options] IMAGE",
		"Verify an image and put it into the store, without running it. Runs find it there without a network, and\nverify it again. "+imageHelp,
		&o.globals, io)
	o.fetchOptions.addTo(f)
	o.registryOptions.addTo(f)
	f.StringVar(&o.signature, "signature", "", "detached signature of an ACI (default IMAGE.asc)")
	f.BoolVar(&o.insecure, "insecure-no-verify", false, "pull the image without checking who signed it; runs of it will still check")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "say what takes time")
	return f
}

// imagePull is `clearrun image pull`.
func imagePull(args []string, g globals, io stdio) (int, error) {
	o := &pullOptions{globals: g}
	f := o.flags(io)
	if err := f.Parse(args); err != nil {
		return vmrun.ExitFailure, err
	}
	if f.NArg() != 1 {
		return vmrun.ExitFailure, errors.New("want one image; see clearrun image pull --help")
	}
	if o.pull == "" {
		o.pull = string(pod.PullAlways)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	pulled, err := o.fetch(ctx, f.Arg(0), io)
	if err != nil {
		return vmrun.ExitFailure, err
	}
	if o.asJSON {
		enc := json.NewEncoder(io.out)
		enc.SetIndent("", "  ")
		return 0, enc.Encode(pulled)
	}
	fmt.Fprintf(io.out, "%s\n", pulled.Digest)
	if o.verbose {
		fmt.Fprintf(io.err, "clearrun: image %s, %s, %s\n", pulled.Name, pod.FormatSize(pulled.Bytes), pulled.Verified)
	}
	return 0, nil
}

func (o *pullOptions) fetch(ctx context.Context, image string, io stdio) (pod.Pulled, error) {
	st, err := store.Open(o.storeOptions())
	if err != nil {
		return pod.Pulled{}, err
	}
	defer st.Close()
	keys, err := trust.OpenKeyring(o.keyringDir())
	if err != nil {
		return pod.Pulled{}, err
	}
	policy, err := o.policy()
	if err != nil {
		return pod.Pulled{}, err
	}
	po := pod.Options{
		Path: image, SignaturePath: o.signature, Store: st, Keyring: keys, Policy: policy, InsecureNoVerify: o.insecure,
	}
	if o.verbose {
		po.Progress = func(step string) { fmt.Fprintln(io.err, "clearrun:", step) }
	}
	if err := errors.Join(o.fetchOptions.apply(&po), o.registryOptions.apply(&po, o.globals, io)); err != nil {
		return pod.Pulled{}, err
	}
	return pod.Pull(ctx, po)
}
