package profile

import (
	"io"
	"maps"
	"slices"
	"time"

	"github.com/google/pprof/profile"

	"github.com/clearrun/clearrun/vmm/launch"
)

// Profile gathers samples. The zero value is empty.
type Profile struct {
	counts map[uint64]*count // by address
	last   map[uint32]uint64 // instructions of each vCPU so far
}

type count struct{ samples, instructions int64 }

// Add takes one sample. To a sample belong the instructions since the vCPU's one before:
// where KVM emulates the guest's kernel, they are what costs time.
func (p *Profile) Add(s launch.Sample) {
	if p.counts == nil {
		p.counts, p.last = map[uint64]*count{}, map[uint32]uint64{}
	}
	c := p.counts[s.RIP]
	if c == nil {
		c = &count{}
		p.counts[s.RIP] = c
	}
	c.samples++
	if before := p.last[s.VCPU]; s.Instructions > before {
		c.instructions += int64(s.Instructions - before)
		p.last[s.VCPU] = s.Instructions
	}
}

// NextRun forgets the vCPUs, whose counters begin anew.
func (p *Profile) NextRun() { clear(p.last) }

// Write writes the profile, gzipped, in the format of `go tool pprof`
// (github.com/google/pprof/proto/profile.proto). symbols may be nil.
func (p *Profile) Write(w io.Writer, symbols *Symbols, every time.Duration) error {
	out := &profile.Profile{
		SampleType: []*profile.ValueType{
			{Type: "samples", Unit: "count"}, {Type: "time", Unit: "nanoseconds"}, {Type: "instructions", Unit: "count"},
		},
		DefaultSampleType: "time",
		PeriodType:        &profile.ValueType{Type: "time", Unit: "nanoseconds"},
		Period:            every.Nanoseconds(),
	}
	functions := map[string]*profile.Function{}
	for _, rip := range slices.Sorted(maps.Keys(p.counts)) {
		name, start := symbols.find(rip)
		f := functions[name]
		if f == nil {
			f = &profile.Function{ID: uint64(len(functions) + 1), Name: name, SystemName: name, Filename: "guest"}
			functions[name] = f
			out.Function = append(out.Function, f)
		}
		at := &profile.Location{
			ID: uint64(len(out.Location) + 1), Address: rip,
			Line: []profile.Line{{Function: f, Line: int64(rip - start)}}, // bytes into the function
		}
		out.Location = append(out.Location, at)
		c := p.counts[rip]
		out.Sample = append(out.Sample, &profile.Sample{
			Location: []*profile.Location{at}, Value: []int64{c.samples, c.samples * every.Nanoseconds(), c.instructions},
		})
	}
	if err := out.CheckValid(); err != nil {
		return err
	}
	return out.Write(w)
}
