package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/clearrun/clearrun/vmrun"
	"github.com/clearrun/clearrun/vmrun/profile"
)

// profiling is the profile that `clearrun boot` was asked for, if any.
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
	case o.profile == "" && o.symbols != "":
		return nil, errors.New("--symbols goes with --profile")
	case o.profile == "":
		return p, nil
	case o.sampleEvery < minSampleEvery:
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
	bo.OnSample, bo.SampleEvery = p.profile.Add, p.every
	return p, nil
}

func (p *profiling) nextRun() { p.profile.NextRun() }

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
