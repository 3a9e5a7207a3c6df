package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/discovery"
	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/vmrun"
)

// trustFetch is `clearrun trust fetch`: trust add, with the keys that the name's web page
// offers. What vouches for them is TLS alone, so that somebody has to compare the
// fingerprint; there is no --yes.
func trustFetch(args []string, g globals, std stdio) (int, error) {
	f := newFlags("trust fetch [--prefix NAME] NAME", "Get the keys that the web page of an appc name offers (ac-discovery-pubkeys), show them, and trust those that\nyou confirm.", &g, std)
	prefix := f.String("prefix", "", "images they may sign (default NAME)")
	expected := f.String("fingerprint", "", "trust the key with this fingerprint and no other, without asking")
	authority := f.String("tls-ca", "", "file with the certificate of its authority (PEM)")
	asJSON := f.Bool("json", false, "print JSON")
	if err := f.Parse(args); err != nil {
		return vmrun.ExitFailure, err
	}
	if f.NArg() != 1 {
		return vmrun.ExitFailure, errors.New("want one name; see clearrun trust fetch --help")
	}
	name, err := image.ParseName(f.Arg(0))
	if err != nil {
		return vmrun.ExitFailure, err
	}
	if *prefix == "" {
		*prefix = string(name)
	}
	ring, err := trust.OpenKeyring(g.keyringDir())
	if err != nil {
		return vmrun.ExitFailure, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	options := discovery.Options{CAFile: *authority, UserAgent: "clearrun/" + version}
	keys, err := fetchKeys(ctx, ring, name, *prefix, options, confirmation{fingerprint: *expected, io: std})
	if err != nil {
		return vmrun.ExitFailure, err
	}
	return 0, printTrusted(std.out, keys, *asJSON)
}

// fetchedKeysMax bounds how many files of keys a page may name.
const fetchedKeysMax = 16

// fetchKeys trusts of the keys that the name's page offers those that are confirmed. It
// is an error if there are none.
func fetchKeys(ctx context.Context, ring *trust.Keyring, name image.Name, prefix string, o discovery.Options, c confirmation) ([]trust.Key, error) {
	urls, err := discovery.FindKeys(ctx, name, o)
	if err != nil {
		return nil, err
	}
	if len(urls) > fetchedKeysMax {
		return nil, fmt.Errorf("the page of %s names %d files of keys: the limit is %d", name, len(urls), fetchedKeysMax)
	}
	var trusted []trust.Key
	var errs []error
	for _, url := range urls {
		var data bytes.Buffer
		err := discovery.Fetch(ctx, url, &data, keyFileMax, o)
		if err == nil {
			var added []trust.Key
			added, err = confirmKeys(ring, prefix, url, data.Bytes(), c)
			trusted = append(trusted, added...)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(trusted) == 0 {
		return nil, errors.Join(errs...)
	}
	return trusted, nil
}
