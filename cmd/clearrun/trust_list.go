package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/vmrun"
)

func trustList(args []string, g globals, std stdio) (int, error) {
	f := newFlags("trust list [--json]", "List the trusted keys: yours, the system's and the vendor's.", &g, std)
	asJSON := f.Bool("json", false, "print JSON")
	if err := f.Parse(args); err != nil {
		return vmrun.ExitFailure, err
	}
	if f.NArg() > 0 {
		return vmrun.ExitFailure, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	ring, err := trust.OpenKeyring(g.keyringDir())
	if err != nil {
		return vmrun.ExitFailure, err
	}
	keys, err := ring.List()
	if err != nil {
		return vmrun.ExitFailure, err
	}
	if *asJSON {
		return 0, printJSON(std.out, append([]trust.Key{}, keys...))
	}
	for _, k := range keys {
		fmt.Fprintf(std.out, "%-30s %s\n", scopeName(k.Prefix), describeKey(k))
	}
	return 0, nil
}

func trustShow(args []string, g globals, std stdio) (int, error) {
	f := newFlags("trust show [--json] (FINGERPRINT | KEYFILE)",
		"Show all about a key in the keyring, or about those in a file without trusting them.", &g, std)
	asJSON := f.Bool("json", false, "print JSON")
	if err := f.Parse(args); err != nil {
		return vmrun.ExitFailure, err
	}
	if f.NArg() != 1 {
		return vmrun.ExitFailure, errors.New("want one fingerprint or file; see clearrun trust show --help")
	}
	ring, err := trust.OpenKeyring(g.keyringDir())
	if err != nil {
		return vmrun.ExitFailure, err
	}
	keys, err := findKeys(ring, f.Arg(0))
	if err != nil {
		return vmrun.ExitFailure, err
	}
	if *asJSON {
		return 0, printJSON(std.out, append([]trust.Key{}, keys...))
	}
	for _, k := range keys {
		printKey(std.out, k)
	}
	return 0, nil
}

// findKeys finds the entries of a key in the keyring by its fingerprint, or reads a file.
func findKeys(ring *trust.Keyring, what string) ([]trust.Key, error) {
	fpr, err := trust.ParseFingerprint(what)
	if err != nil {
		data, err := readKeyFile(what)
		if err != nil {
			return nil, fmt.Errorf("%q is neither a fingerprint nor a file that can be read: %w", what, err)
		}
		return ring.Preview(bytes.NewReader(data))
	}
	all, err := ring.List()
	if err != nil {
		return nil, err
	}
	var keys []trust.Key
	for _, k := range all {
		if k.Fingerprint == fpr {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("no key %s is trusted; clearrun trust list shows those that are", fpr)
	}
	return keys, nil
}

// printKey prints one key, the fingerprint in groups as people compare it.
func printKey(w io.Writer, k trust.Key) {
	fmt.Fprintf(w, "fingerprint: %s\nkind:        %s\n", grouped(k.Fingerprint), k.Kind)
	for _, id := range k.Identities {
		fmt.Fprintf(w, "identity:    %s\n", id)
	}
	if !k.Created.IsZero() {
		fmt.Fprintf(w, "created:     %s\n", k.Created.UTC().Format(time.DateOnly))
	}
	if !k.Expires.IsZero() {
		fmt.Fprintf(w, "expires:     %s\n", k.Expires.UTC().Format(time.DateOnly))
	}
	if k.Unusable != "" {
		fmt.Fprintf(w, "unusable:    it %s\n", k.Unusable)
	}
	if k.Level != "" {
		fmt.Fprintf(w, "trusted for: %s (%s, %s)\n", scopeName(k.Prefix), k.Level, k.File)
	}
	fmt.Fprintln(w)
}

// grouped sets a fingerprint in groups of four.
func grouped(fpr string) string {
	const size = 4
	var b []byte
	for i := range len(fpr) {
		if i > 0 && i%size == 0 {
			b = append(b, ' ')
		}
		b = append(b, fpr[i])
	}
	return string(b)
}
