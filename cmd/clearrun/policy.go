package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/clearrun/clearrun/image/ref"
	"github.com/clearrun/clearrun/image/store"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/trust/tpm"
	"github.com/clearrun/clearrun/vmrun"
)

// exitRefused is the exit code of a check whose answer is no.
const exitRefused = 1

// policyCommand is `clearrun policy`.
func policyCommand(args []string, g globals, io stdio) (int, error) {
	const text = "Check the policy that says which images may run: policy.yaml in --config-dir or\n" +
		"/etc/clearrun; a user's own in ~/.config/clearrun counts if there is neither."
	return group{"policy", text, []command{
		{"check", "explain rule by rule whether an image may run, without running it", policyCheck},
		{"lint", "look for mistakes in a policy file", policyLint},
	}}.run(args, g, io)
}

// policy reads the policy in force; nil: there is none.
func (g globals) policy() (*trust.Policy, error) {
	return trust.LoadPolicy(trust.Places(g.configDir), pod.Vocabulary())
}

func policyLint(args []string, g globals, io stdio) (int, error) {
	f := newFlags("policy lint [FILE]", "Look for mistakes in a policy file, that in force or another. Exit code 1: there are some.", &g, io)
	if err := f.Parse(args); err != nil {
		return vmrun.ExitFailure, err
	}
	if f.NArg() > 1 {
		return vmrun.ExitFailure, errors.New("want one file at most; see clearrun policy lint --help")
	}
	policy, err := g.readPolicy(f.Arg(0))
	var faults trust.PolicyFaults
	if errors.As(err, &faults) {
		fmt.Fprintln(io.out, faults)
		return exitRefused, nil
	}
	if err != nil {
		return vmrun.ExitFailure, err
	}
	if policy == nil {
		fmt.Fprintln(io.out, "there is no policy file: images run that a trusted key has signed, at tier vm")
		return 0, nil
	}
	fmt.Fprintf(io.out, "%s: no mistakes found\n", policy.Source())
	return 0, nil
}

// readPolicy reads the named file, or the policy in force.
func (g globals) readPolicy(path string) (*trust.Policy, error) {
	if path == "" {
		return g.policy()
	}
	return trust.ReadPolicy(path, pod.Vocabulary())
}

// checkOptions are the options of `clearrun policy check`.
type checkOptions struct {
	globals
	fetchOptions
	registryOptions
	tierOptions
	surroundings
	signature string
	insecure  bool
	asJSON    bool
}

func (o *checkOptions) flags(io stdio) *pflag.FlagSet {
	f := newFlags("policy check [--json] IMAGE",
		"Explain rule by rule whether clearrun IMAGE may run, without running it. Exit code 0: it may, 1: it is refused.",
		&o.globals, io)
	o.tierOptions.addTo(f)
	o.surroundings.addTo(f)
	f.StringVar(&o.signature, "signature", "", "detached signature of an ACI (default IMAGE.asc)")
	o.fetchOptions.addTo(f)
	o.registryOptions.addTo(f)
	f.BoolVar(&o.insecure, "insecure-no-verify", false, "explain a run with this option")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	return f
}

func policyCheck(args []string, g globals, io stdio) (int, error) {
	o := &checkOptions{globals: g}
	f := o.flags(io)
	if err := f.Parse(args); err != nil {
		return vmrun.ExitFailure, err
	}
	if f.NArg() != 1 {
		return vmrun.ExitFailure, errors.New("want one image; see clearrun policy check --help")
	}
	e, err := o.check(f.Arg(0), io)
	if err != nil {
		return vmrun.ExitFailure, err
	}
	checkMeasurement(&e)
	code := exitRefused
	if e.Allowed {
		code = 0
	}
	if o.asJSON {
		enc := json.NewEncoder(io.out)
		enc.SetIndent("", "  ")
		return code, enc.Encode(e)
	}
	printExplanation(io.out, e)
	return code, nil
}

func (o *checkOptions) check(image string, io stdio) (trust.Explanation, error) {
	keys, err := trust.OpenKeyring(o.keyringDir())
	if err != nil {
		return trust.Explanation{}, err
	}
	policy, err := o.policy()
	if err != nil {
		return trust.Explanation{}, err
	}
	tier, err := o.tier()
	if err != nil {
		return trust.Explanation{}, err
	}
	po := pod.Options{
		Path: image, SignaturePath: o.signature, Keyring: keys, Policy: policy,
		AskedTier: tier, InsecureNoVerify: o.insecure,
	}
	if err := errors.Join(o.surroundings.apply(&po.Overrides), o.fetchOptions.apply(&po), o.registryOptions.apply(&po, o.globals, io)); err != nil {
		return trust.Explanation{}, err
	}
	if po.Store, err = o.storeFor(image); err != nil {
		return trust.Explanation{}, err
	}
	if po.Store != nil {
		defer po.Store.Close()
	}
	return pod.Check(context.Background(), po)
}

// storeFor opens the store, which may know the image or what it depends on; nil: there is no need for it.
func (o *checkOptions) storeFor(image string) (*store.Store, error) {
	r, err := ref.Parse(image)
	if err != nil {
		return nil, nil // which is for others to say
	}
	switch r.Transport {
	case ref.Docker, ref.Appc:
		return store.Open(o.storeOptions())
	case ref.ACI:
		if so := o.storeOptions(); so.Exists() { // else nothing that it depends on is there
			return store.Open(so)
		}
	}
	return nil, nil
}

// checkMeasurement refuses what would be refused for want of a TPM.
func checkMeasurement(e *trust.Explanation) {
	m := e.Measurement
	if !e.Allowed || m == nil || m.TPM != trust.TPMRequired {
		return
	}
	if _, err := (tpm.Register{Device: m.Device, PCR: m.PCR}).Read(); err != nil {
		e.Refuse(trust.Finding{Required: fmt.Sprintf("measurement into PCR %d of %s", m.PCR, m.Device), Found: err.Error()}, m.Refusal(err))
	}
}

func printExplanation(w io.Writer, e trust.Explanation) {
	policy := e.Policy
	if policy == "" {
		policy = "none; signed images run, at tier vm"
	}
	fmt.Fprintf(w, "image:  %s\ndigest: %s\npolicy: %s\n\n", e.Image, e.Digest, policy)
	for _, r := range e.Rules {
		where := ""
		if r.Line > 0 {
			where = fmt.Sprintf(" (line %d)", r.Line)
		}
		if r.Matches {
			fmt.Fprintf(w, "rule %q%s matches\n", r.Name, where)
			continue
		}
		fmt.Fprintf(w, "rule %q%s does not match: %s\n", r.Name, where, r.Reason)
	}
	for _, f := range e.Findings {
		mark := "no "
		if f.OK {
			mark = "yes"
		}
		fmt.Fprintf(w, "  %s requires: %s\n      found:    %s\n", mark, f.Required, f.Found)
	}
	printAllowance(w, e.Allows)
	printDependencies(w, e.Dependencies, "  ")
	if m := e.Measurement; m != nil {
		fmt.Fprintf(w, "  measured: into PCR %d of %s (%s)\n", m.PCR, m.Device, m.TPM)
	}
	if e.Allowed {
		fmt.Fprintf(w, "\nALLOWED at tier %s: %s\n", e.Tier, e.Decision)
		return
	}
	fmt.Fprintf(w, "\nREFUSED: %s\n", e.Decision)
}

// printDependencies says what became of each, and of what that depends on.
func printDependencies(w io.Writer, list []trust.Explanation, indent string) {
	for _, d := range list {
		mark := "no "
		if d.Allowed {
			mark = "yes"
		}
		fmt.Fprintf(w, "%s%s depends on: %s: %s\n", indent, mark, d.Image, d.Decision)
		printDependencies(w, d.Dependencies, indent+"  ")
	}
}

// printAllowance says what else the rule lets the image have.
func printAllowance(w io.Writer, a *trust.Allowance) {
	if a == nil {
		return
	}
	list := []string{"networks " + strings.Join(a.Networks, ", "), a.PortWords(), a.VolumeWords()}
	if a.Capabilities != nil {
		list = append(list, fmt.Sprintf("capabilities %s", a.Capabilities))
	}
	if a.MemoryBytes > 0 {
		list = append(list, "memory "+pod.FormatSize(a.MemoryBytes))
	}
	if a.CPUs > 0 {
		list = append(list, fmt.Sprintf("%d CPUs", a.CPUs))
	}
	if a.SELinux {
		list = append(list, "under SELinux alone")
	}
	if a.Insecure {
		list = append(list, "--insecure-no-verify")
	}
	if a.PlainHTTP {
		list = append(list, "--plain-http")
	}
	fmt.Fprintf(w, "  allows: %s\n", strings.Join(list, "; "))
}
