package main

import (
	"errors"
	"fmt"

	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/vmrun"
)

// ended is what `trust remove` and `trust revoke` print with --json.
type ended struct {
	Fingerprint string `json:"fingerprint"`
	Prefix      string `json:"prefix,omitempty"` // that it was removed from; empty: root, or all
	Revoked     bool   `json:"revoked"`
}

func trustRemove(args []string, g globals, std stdio) (int, error) {
	f := newFlags("trust remove (--prefix NAME | --root) FINGERPRINT", "Trust a key no more.", &g, std)
	var s scope
	f.StringVar(&s.prefix, "prefix", "", "the prefix that it was trusted for")
	f.BoolVar(&s.root, "root", false, "it was trusted for every image")
	asJSON := f.Bool("json", false, "print JSON")
	if err := f.Parse(args); err != nil {
		return vmrun.ExitFailure, err
	}
	if f.NArg() != 1 {
		return vmrun.ExitFailure, errors.New("want one fingerprint; clearrun trust list shows them")
	}
	if err := s.check(); err != nil {
		return vmrun.ExitFailure, err
	}
	ring, err := trust.OpenKeyring(g.keyringDir())
	if err != nil {
		return vmrun.ExitFailure, err
	}
	if err := ring.Remove(s.prefix, f.Arg(0)); err != nil {
		return vmrun.ExitFailure, err
	}
	return 0, printEnded(std, *asJSON, f.Arg(0), ended{Prefix: s.prefix})
}

func trustRevoke(args []string, g globals, std stdio) (int, error) {
	f := newFlags("trust revoke [--reason TEXT] FINGERPRINT",
		"Trust a key never again, whoever trusts it: you, the system or the vendor. What root revokes is revoked for everybody.", &g, std)
	reason := f.String("reason", "", "why; shown wherever the key's signatures are refused")
	asJSON := f.Bool("json", false, "print JSON")
	if err := f.Parse(args); err != nil {
		return vmrun.ExitFailure, err
	}
	if f.NArg() != 1 {
		return vmrun.ExitFailure, errors.New("want one fingerprint; clearrun trust list shows them")
	}
	ring, err := trust.OpenKeyring(g.keyringDir())
	if err != nil {
		return vmrun.ExitFailure, err
	}
	if err := ring.Revoke(f.Arg(0), *reason); err != nil {
		return vmrun.ExitFailure, err
	}
	if !*asJSON {
		fmt.Fprintf(std.out, "revoked; to undo it, remove its file from %s/revoked.d\n", ring.Dir())
	}
	return 0, printEnded(std, *asJSON, f.Arg(0), ended{Revoked: true})
}

func printEnded(std stdio, asJSON bool, fingerprint string, e ended) error {
	if !asJSON {
		return nil
	}
	var err error
	if e.Fingerprint, err = trust.ParseFingerprint(fingerprint); err != nil {
		return err
	}
	return printJSON(std.out, e)
}
