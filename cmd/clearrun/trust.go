package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/vmrun"
)

// trustCommand is `clearrun trust`.
func trustCommand(args []string, g globals, io stdio) (int, error) {
	const text = "Manage the keys that may sign images: OpenPGP keys for ACIs, cosign keys for OCI images."
	if len(args) > 0 {
		switch args[0] {
		case "add":
			return trustAdd(args[1:], g, io)
		case "list":
			return trustList(args[1:], g, io)
		case "remove":
			return trustRemove(args[1:], g, io)
		case "--help", "-h", "help":
			fmt.Fprintf(io.out, "%s\n\nUsage:\n  clearrun trust add (--prefix NAME | --root) KEYFILE\n  clearrun trust list [--json]\n  clearrun trust remove (--prefix NAME | --root) FINGERPRINT\n", text)
			return 0, nil
		}
		return vmrun.ExitFailure, fmt.Errorf("unknown command %q: want trust add, list or remove", args[0])
	}
	return vmrun.ExitFailure, errors.New("want trust add, list or remove; see clearrun trust --help")
}

// scope is what a key may sign: a name prefix, or everything.
type scope struct {
	prefix string
	root   bool
}

func (s scope) check() error {
	if (s.prefix == "") == s.root {
		return nil
	}
	return errors.New("say what the key may sign: --prefix NAME, or --root for every image")
}

func trustAdd(args []string, g globals, io stdio) (int, error) {
	f := newFlags("trust add (--prefix NAME | --root) KEYFILE", "Trust the keys in a file, OpenPGP or cosign.pub, to sign images below a name.", &g, io)
	var s scope
	f.StringVar(&s.prefix, "prefix", "", "images they may sign, by whole path components of the name")
	f.BoolVar(&s.root, "root", false, "they may sign every image")
	expected := f.String("fingerprint", "", "refuse any other key than the one with this fingerprint")
	yes := f.BoolP("yes", "y", false, "do not ask")
	if err := f.Parse(args); err != nil {
		return vmrun.ExitFailure, err
	}
	if f.NArg() != 1 {
		return vmrun.ExitFailure, errors.New("want one file with keys; see clearrun trust add --help")
	}
	if err := s.check(); err != nil {
		return vmrun.ExitFailure, err
	}
	ring, err := trust.OpenKeyring(g.keyringDir())
	if err != nil {
		return vmrun.ExitFailure, err
	}
	keys, err := addKeys(ring, s, f.Arg(0), confirmation{*expected, *yes, io})
	if err != nil {
		return vmrun.ExitFailure, err
	}
	for _, k := range keys {
		fmt.Fprintf(io.out, "trusted for %s: %s\n", scopeName(k.Prefix), describeKey(k))
	}
	return 0, nil
}

// addKeys shows the keys, has them confirmed and trusts them.
func addKeys(ring *trust.Keyring, s scope, path string, c confirmation) ([]trust.Key, error) {
	data, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	keys, err := ring.Preview(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := c.ask(keys, scopeName(s.prefix)); err != nil {
		return nil, err
	}
	if _, err := data.Seek(0, 0); err != nil {
		return nil, err
	}
	added, err := ring.Add(s.prefix, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return added, nil
}

func trustList(args []string, g globals, io stdio) (int, error) {
	f := newFlags("trust list [--json]", "List the trusted keys.", &g, io)
	asJSON := f.Bool("json", false, "print JSON")
	if err := f.Parse(args); err != nil {
		return vmrun.ExitFailure, err
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
		e := json.NewEncoder(io.out)
		e.SetIndent("", "  ")
		return 0, e.Encode(append([]trust.Key{}, keys...))
	}
	for _, k := range keys {
		fmt.Fprintf(io.out, "%-30s %s\n", scopeName(k.Prefix), describeKey(k))
	}
	return 0, nil
}

func trustRemove(args []string, g globals, io stdio) (int, error) {
	f := newFlags("trust remove (--prefix NAME | --root) FINGERPRINT", "Trust a key no more.", &g, io)
	var s scope
	f.StringVar(&s.prefix, "prefix", "", "the prefix that it was trusted for")
	f.BoolVar(&s.root, "root", false, "it was trusted for every image")
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
	return 0, nil
}

func scopeName(prefix string) string {
	if prefix == "" {
		return "every image"
	}
	return prefix
}

func describeKey(k trust.Key) string {
	s := k.Fingerprint
	for _, id := range k.Identities {
		s += " " + id
	}
	if !k.Expires.IsZero() {
		s += " (expires " + k.Expires.Format(time.DateOnly) + ")"
	}
	if k.Unusable != "" {
		s += " [" + k.Unusable + "]"
	}
	return s
}
