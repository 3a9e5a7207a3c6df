package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/clearrun/clearrun/vmrun/bootlab"
)

// readBaseline reads what --baseline names, before anything is booted; nil: nothing.
func (o *bootOptions) readBaseline() (*bootlab.Result, error) {
	if o.baseline == "" {
		return nil, nil
	}
	f, err := os.Open(o.baseline)
	if err != nil {
		return nil, fmt.Errorf("--baseline: %w", err)
	}
	defer f.Close()
	r, err := bootlab.Read(f)
	if err != nil {
		return nil, fmt.Errorf("--baseline %s: %w", o.baseline, err)
	}
	return r, nil
}

// show prints the result, and writes it where it was asked for. What it takes hours to
// measure is not lost to a baseline that does not compare: that comes last.
func (o *bootOptions) show(r, baseline *bootlab.Result, io stdio) error {
	text := io.out
	if o.json == "-" {
		text = io.err
		if err := r.Write(io.out); err != nil {
			return err
		}
	} else if err := writeFile("--json", o.json, r.Write); err != nil {
		return err
	}
	if err := writeFile("--svg", o.svg, r.SVG); err != nil {
		return err
	}
	if o.json != "-" {
		if _, err := fmt.Fprint(text, r.Table()); err != nil {
			return err
		}
	}
	if baseline == nil {
		return nil
	}
	changes, err := r.Compare(baseline)
	if err != nil {
		return fmt.Errorf("--baseline %s: %w", o.baseline, err)
	}
	_, err = fmt.Fprint(text, "\n", bootlab.Changes(changes))
	return err
}

// writeFile writes a file that an option names, if it does.
func writeFile(option, path string, write func(io.Writer) error) error {
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	return errors.Join(write(f), f.Close())
}
