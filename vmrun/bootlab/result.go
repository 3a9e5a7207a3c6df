package bootlab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/clearrun/clearrun/vmm/launch"
)

// Version is that of Result's JSON. A change of what a field means makes a new one.
const Version = 1

// Result is a measurement: what was booted, each run, and all runs together.
type Result struct {
	Version int
	Setting Setting
	Runs    []Run

	// What follows is computed from Runs.
	Phases    []Phase
	Initcalls []Phase         `json:",omitempty"`
	Counts    map[string]Stat // by name; see Run.counts
	// Beside are comparisons that were made in the same measurement.
	Beside []Comparison `json:",omitempty"`
}

// Setting is what a measurement depends on. Results of different settings do not compare.
type Setting struct {
	Host    string // kind of KVM
	Kernel  string // file name, or "clearrun's own"
	CmdLine string `json:",omitempty"`
	Memory  uint64 // bytes
	CPUs    int
	Until   string
}

// Run is one boot: the monitor's report, and what the kernel said of its initcalls.
type Run struct {
	launch.Report
	Initcalls []Initcall `json:",omitempty"`
}

// Stat is a figure over all runs.
type Stat struct {
	Median, P99, Min, Max int64
}

// Phase is a part of a start over all runs. In the guest, phases follow each other
// without gaps; initcalls lie inside the kernel's.
type Phase struct {
	Name         string
	Start        Stat // nanoseconds since clearrun began to start the monitor
	Nanoseconds  Stat
	Instructions Stat // of the guest's, emulated by KVM; 0 where they are not counted

	spans []span
}

// Gather makes a Result of runs of the same setting.
func Gather(s Setting, runs []Run) *Result {
	r := &Result{Version: Version, Setting: s, Runs: runs}
	r.summarize()
	return r
}

func (r *Result) summarize() {
	phases, initcalls := timeline{}, timeline{}
	counts := map[string][]int64{}
	for i := range r.Runs {
		phases.add(r.Runs[i].phases())
		initcalls.add(r.Runs[i].initcallSpans())
		for name, n := range r.Runs[i].counts() {
			counts[name] = append(counts[name], n)
		}
	}
	r.Phases, r.Initcalls = phases.list(), initcalls.list()
	r.Counts = map[string]Stat{}
	for name, values := range counts {
		// An exit that a run did not have is one that it had 0 times.
		r.Counts[name] = stat(append(values, make([]int64, len(r.Runs)-len(values))...))
	}
}

// Names of Counts besides those of exits, devices and KVM's statistics.
const (
	countCopied = "bytes copied into the guest"
	countPages  = "guest pages touched"
	countRSS    = "monitor RSS without guest memory, bytes"
	countCPU    = "CPU time of the monitor, ns"
	countInsn   = "guest instructions"

	exitPrefix   = "exits: "
	devicePrefix = "device: "
	kvmPrefix    = "kvm: "
)

const pageSize = 4096

// counts are the figures of a run that are not times of phases.
func (r *Run) counts() map[string]int64 {
	n := map[string]int64{
		countCopied: int64(r.Copied), countPages: int64(r.GuestRSS / pageSize),
		countRSS: int64(r.RSS - min(r.RSS, r.GuestRSS)), countCPU: r.CPUTime, countInsn: int64(r.Instructions),
	}
	for prefix, group := range map[string]map[string]uint64{exitPrefix: r.Exits, devicePrefix: r.Devices, kvmPrefix: r.KVM} {
		for name, count := range group {
			n[prefix+name] = int64(count)
		}
	}
	return n
}

// stat sorts values.
func stat(values []int64) Stat {
	if len(values) == 0 {
		return Stat{}
	}
	slices.Sort(values)
	return Stat{Median: percentile(values, 50), P99: percentile(values, 99), Min: values[0], Max: values[len(values)-1]}
}

// percentile is the smallest of the sorted values that is not below p percent of all.
func percentile(sorted []int64, p int) int64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)*p+99)/100-1]
}

// maxResult bounds a file of results in bytes.
const maxResult = 256 << 20

// Read reads a Result that Write wrote. What is computed from the runs is computed anew.
func Read(in io.Reader) (*Result, error) {
	data, err := io.ReadAll(io.LimitReader(in, maxResult+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxResult {
		return nil, fmt.Errorf("more than %d bytes", maxResult)
	}
	r := &Result{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("not a result of clearrun boot --json: %w", err)
	}
	if r.Version != Version {
		return nil, fmt.Errorf("result of version %d, this clearrun reads %d: measure again", r.Version, Version)
	}
	if len(r.Runs) == 0 {
		return nil, errors.New("result without runs")
	}
	r.summarize()
	return r, nil
}

// Write writes the Result as JSON.
func (r *Result) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
