package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/clearrun/clearrun/vmrun"
	"github.com/clearrun/clearrun/vmrun/profile"
)

// profiling is the profile that `clearrun boot` was asked for, if any, and what names the
// kernel's functions.
type profiling struct {
	profile profile.Profile
	symbols *profile.Symbols // nil: addresses remain addresses
	every   time.Duration
}

// minSampleEvery keeps the guest going between two samples.
const minSampleEvery = 50 * time.Microsecond

// profiling checks the options, and has the runs sampled.
func (o *bootOptions) profiling(bo *vmrun.BootOptions) (*profiling, error) {
	p := &profiling{every: o.sampleEvery}
	switch {
	case o.profile == "" && !o.initcalls && !o.console && o.symbols != "":
		return nil, errors.New("--symbols goes with --profile or --initcalls")
	case o.profile != "" && o.sampleEvery < minSampleEvery:
		return nil, fmt.Errorf("--profile-every %v: want at least %v", o.sampleEvery, minSampleEvery)
	}
	if o.symbols != "" {
		f, err := os.Open(o.symbols)
		if err != nil {
			return nil, fmt.Errorf("--symbols: %w", err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return nil, fmt.Errorf("--symbols: %w", err)
		}
		if p.symbols, err = profile.ReadSymbols(f, info.Size()); err != nil {
			return nil, fmt.Errorf("--symbols %s: %w", o.symbols, err)
		}
	}
	if o.profile != "" {
		bo.OnSample, bo.SampleEvery = p.profile.Add, p.every
	}
	return p, nil
}

// symbol names the function at an address of the kernel's.
func (p *profiling) symbol(addr uint64) string { return p.symbols.Name(addr) }

// write writes the profile, if there is one.
func (p *profiling) write(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("--profile: %w", err)
	}
	return errors.Join(p.profile.Write(f, p.symbols, p.every), f.Close())
}
