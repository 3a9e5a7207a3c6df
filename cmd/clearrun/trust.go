package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/vmrun"
)

// trustCommand is `clearrun trust`.
func trustCommand(args []string, g globals, std stdio) (int, error) {
	const text = "Manage the keys that may sign images: OpenPGP keys for ACIs, cosign keys for OCI images.\n" +
		"Root's are the system's, in /etc/clearrun/trust.d; a user's own lie in ~/.config/clearrun/trust.d and come on top."
	return group{"trust", text, []command{
		{"add", "trust the keys in a file for a name and what is below it, or with --root for every image", trustAdd},
		{"fetch", "trust the keys that the web page of an appc name offers, once confirmed", trustFetch},
		{"list", "list the trusted keys", trustList},
		{"show", "show a trusted key, or those in a file without trusting them", trustShow},
		{"remove", "trust a key no longer for a name", trustRemove},
		{"revoke", "trust a key for nothing, whoever else trusts it", trustRevoke},
	}}.run(args, g, std)
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

func trustAdd(args []string, g globals, std stdio) (int, error) {
	f := newFlags("trust add (--prefix NAME | --root) KEYFILE", "Trust the keys in a file, OpenPGP or cosign.pub, to sign images below a name.", &g, std)
	var s scope
	f.StringVar(&s.prefix, "prefix", "", "images they may sign, by whole path components of the name")
	f.BoolVar(&s.root, "root", false, "they may sign every image")
	expected := f.String("fingerprint", "", "refuse any other key than the one with this fingerprint")
	yes := f.BoolP("yes", "y", false, "do not ask")
	asJSON := f.Bool("json", false, "print JSON")
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
	keys, err := addKeys(ring, s, f.Arg(0), confirmation{*expected, *yes, std})
	if err != nil {
		return vmrun.ExitFailure, err
	}
	return 0, printTrusted(std.out, keys, *asJSON)
}

// printTrusted says which keys are trusted from now on.
func printTrusted(w io.Writer, keys []trust.Key, asJSON bool) error {
	if asJSON {
		return printJSON(w, keys)
	}
	for _, k := range keys {
		fmt.Fprintf(w, "trusted for %s: %s\n", scopeName(k.Prefix), describeKey(k))
	}
	return nil
}

// keyFileMax bounds a file of keys in bytes.
const keyFileMax = 8 << 20

// addKeys shows the keys, has them confirmed and trusts them.
func addKeys(ring *trust.Keyring, s scope, path string, c confirmation) ([]trust.Key, error) {
	data, err := readKeyFile(path) // once: what is shown is what is added
	if err != nil {
		return nil, err
	}
	return confirmKeys(ring, s.prefix, path, data, c)
}

// confirmKeys shows the keys in data, which came from a file or URL, has them confirmed and
// trusts them.
func confirmKeys(ring *trust.Keyring, prefix, from string, data []byte, c confirmation) ([]trust.Key, error) {
	keys, err := ring.Preview(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	if err := c.ask(keys, scopeName(prefix)); err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	added, err := ring.Add(prefix, bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return added, nil
}

func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, keyFileMax+1))
	if err != nil {
		return nil, err
	}
	if len(data) > keyFileMax {
		return nil, fmt.Errorf("%s: more than %d bytes", path, keyFileMax)
	}
	return data, nil
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
	if k.Level == trust.LevelSystem || k.Level == trust.LevelVendor {
		s += " (" + string(k.Level) + ")"
	}
	return s
}
