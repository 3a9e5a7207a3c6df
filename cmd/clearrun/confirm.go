package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/clearrun/clearrun/trust"
)

// confirmation is how a user agrees to trusting keys: by the fingerprint, by
// --yes, or by answering on the terminal.
type confirmation struct {
	fingerprint string
	yes         bool
	io          stdio
}

// ask shows the keys and returns an error unless they are to be trusted.
func (c confirmation) ask(keys []trust.Key, scope string) error {
	if c.fingerprint != "" {
		want, err := trust.ParseFingerprint(c.fingerprint)
		if err != nil {
			return fmt.Errorf("--fingerprint: %w", err)
		}
		for _, k := range keys {
			if k.Fingerprint != want {
				return fmt.Errorf("the file holds key %s, not %s: nothing was trusted", k.Fingerprint, want)
			}
		}
		return nil
	}
	if c.yes {
		return nil
	}
	if !isTerminal(c.io.in) {
		return errors.New("not a terminal, so nobody can check the fingerprint: give --fingerprint (or, for a file that you know, --yes)")
	}
	for _, k := range keys {
		printKey(c.io.err, k)
	}
	fmt.Fprintf(c.io.err, "Trust to sign %s? [y/N] ", scope)
	answer, _ := bufio.NewReader(c.io.in).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("not confirmed: nothing was trusted")
	}
	return nil
}
