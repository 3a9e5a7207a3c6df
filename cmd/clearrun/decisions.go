package main

import (
	"errors"

	"github.com/spf13/pflag"

	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/vmrun/bundle"
)

// decisions writes what happens to one run into the decision log.
type decisions struct {
	log    *trust.Log
	bundle *bundle.Bundle
	record trust.Record // what is known from the start
	seq    uint64       // of the decision
}

// What a user can have skipped, for one run.
const (
	bypassedSignature = "signature" // by --insecure-no-verify
	bypassedTLS       = "tls"       // by --plain-http
)

// decisions opens the log for a run of the image.
func (o *runOptions) decisions(image string, b *bundle.Bundle) (*decisions, error) {
	dir, err := trust.LogDir(o.configDir)
	if err != nil {
		return nil, err
	}
	d := &decisions{log: trust.OpenLog(dir, trust.LogBounds{}), bundle: b}
	d.record = trust.Record{Reference: image, Options: o.given}
	if o.insecure {
		d.record.Bypassed = append(d.record.Bypassed, bypassedSignature)
	}
	if o.plainHTTP {
		d.record.Bypassed = append(d.record.Bypassed, bypassedTLS)
	}
	return d, nil
}

// partDigest is what the bundle says of its part; make build computed it.
func partDigest(b *bundle.Bundle, name string) string {
	p, err := b.Part(name)
	if err != nil {
		return ""
	}
	return "sha256-" + p.SHA256
}

// refused records why the run did not come to be. What cannot be recorded is told, too:
// nothing runs in either case.
func (d *decisions) refused(cause error) error {
	r := d.record
	r.Event, r.Decision = trust.EventRefused, cause.Error()
	var refusal *trust.Refusal
	if errors.As(cause, &refusal) {
		r.Image, r.Digest = string(refusal.Name), refusal.Digest.String()
		r.Policy, r.Rule = refusal.Policy, refusal.Rule
	}
	_, err := d.log.Append(r)
	return errors.Join(cause, err)
}

// allowed records the decision. Nothing may run unless it returns nil.
func (d *decisions) allowed(p *pod.Pod) error {
	v := p.Verdict
	r := d.record
	r.Event, r.Image, r.Digest = trust.EventAllowed, string(v.ImageName()), v.ImageDigest().String()
	r.Signer, r.Identity, r.Trusted = v.Signer().Fingerprint, v.Signer().Identity, !v.Signer().IsZero()
	r.Policy, r.Rule, r.Tier, r.Decision = v.Policy(), v.Rule(), v.Tier().String(), v.How()
	if v.Tier() == trust.TierVM {
		r.Monitor, r.Kernel = partDigest(d.bundle, bundle.Monitor), partDigest(d.bundle, bundle.Kernel)
	}
	m := v.Measurement()
	var err error
	if m.TPM == trust.TPMOff {
		d.seq, err = d.log.Append(r)
	} else {
		d.seq, err = d.log.AppendMeasured(r, m, measure(m))
	}
	return err
}

// exited records how the run ended.
func (d *decisions) exited(code int, cause error) error {
	r := trust.Record{Event: trust.EventExit, Run: d.seq, Exit: &code}
	if cause != nil {
		r.Error = cause.Error()
	}
	_, err := d.log.Append(r)
	return err
}

// given lists the options on the command line. The environment's values are left out:
// they may be secrets.
func given(f *pflag.FlagSet) []string {
	var list []string
	f.Visit(func(flag *pflag.Flag) {
		if flag.Name == "env" {
			list = append(list, "--env")
			return
		}
		list = append(list, "--"+flag.Name+"="+flag.Value.String())
	})
	return list
}
