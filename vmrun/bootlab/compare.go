package bootlab

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aclements/go-moremath/stats"
)

// Judgement says what a difference between two results means.
type Judgement string

const (
	Same   Judgement = "same"
	Better Judgement = "better"
	Worse  Judgement = "worse"
	Noise  Judgement = "noise"        // a difference that the runs do not bear out
	TooFew Judgement = "too few runs" // to tell a difference from noise
)

// Change is one figure of two results. Less is better in all of them.
type Change struct {
	Name      string
	Unit      string // "ns" for times, else empty
	Old, New  int64  // medians
	P         float64
	Judgement Judgement
}

// alpha is the probability of a chance difference from which on it is taken for one.
const alpha = 0.05

// minRuns on both sides is what Mann and Whitney's test needs to find anything at all:
// with three and three, the smallest p is 0.1.
const minRuns = 4

// Compare says what has changed from old to r: times by Mann and Whitney's U test, two-sided,
// on all runs; counts exactly, where noise is what lies within the other's range. Results of
// different settings are refused.
func (r *Result) Compare(old *Result) ([]Change, error) {
	if old.Setting != r.Setting {
		return nil, fmt.Errorf("the baseline was measured with %v, this with %v: they do not compare", old.Setting, r.Setting)
	}
	var changes []Change
	before := map[string]Phase{}
	for _, p := range old.Phases {
		if _, twice := before[p.Name]; !twice {
			before[p.Name] = p
		}
	}
	for _, p := range r.Phases {
		was, ok := before[p.Name]
		if !ok {
			continue
		}
		delete(before, p.Name)
		changes = append(changes, compareTimes(p.Name, values(was.spans, span.time), values(p.spans, span.time)))
		if was.Instructions.Median > 0 && p.Instructions.Median > 0 {
			changes = append(changes, compareCounts(p.Name+", instructions", was.Instructions, p.Instructions))
		}
	}
	changes = append(changes, compareTimes("all", old.ends(), r.ends()))
	for _, name := range slices.Sorted(maps.Keys(r.Counts)) {
		was, ok := old.Counts[name]
		switch {
		case !ok || strings.HasPrefix(name, kvmPrefix):
		case name == countCPU:
			changes = append(changes, compareTimes(name, old.cpuTimes(), r.cpuTimes()))
		default:
			changes = append(changes, compareCounts(name, was, r.Counts[name]))
		}
	}
	return changes, nil
}

func (s Setting) String() string {
	cpus := "1 vCPU"
	if s.CPUs != 1 {
		cpus = fmt.Sprintf("%d vCPUs", s.CPUs)
	}
	text := fmt.Sprintf("kernel %s, %d MiB, %s, until %s, on %s", s.Kernel, s.Memory>>20, cpus, s.Until, s.Host)
	if s.CmdLine != "" {
		text += ", " + s.CmdLine
	}
	return text
}

// ends are how long the runs took from the start of the monitor to their end.
func (r *Result) ends() []int64 {
	var v []int64
	for i := range r.Runs {
		v = append(v, r.Runs[i].Ended)
	}
	return v
}

func (r *Result) cpuTimes() []int64 {
	var v []int64
	for i := range r.Runs {
		v = append(v, r.Runs[i].CPUTime)
	}
	return v
}

func compareTimes(name string, before, after []int64) Change {
	c := Change{Name: name, Unit: "ns", Old: stat(before).Median, New: stat(after).Median, P: 1}
	switch {
	case slices.Equal(before, after): // both are sorted
		c.Judgement = Same
		return c
	case len(before) < minRuns || len(after) < minRuns:
		c.Judgement = TooFew
		return c
	}
	c.P = mannWhitney(before, after)
	c.Judgement = Noise
	if c.P < alpha {
		c.Judgement = direction(c.Old, c.New)
	}
	return c
}

// mannWhitney gives the probability that two samples of one population differ as much.
func mannWhitney(a, b []int64) float64 {
	r, err := stats.MannWhitneyUTest(floats(a), floats(b), stats.LocationDiffers)
	if err != nil { // all values are equal
		return 1
	}
	return r.P
}

func floats(values []int64) []float64 {
	f := make([]float64, len(values))
	for i, v := range values {
		f[i] = float64(v)
	}
	return f
}

func compareCounts(name string, before, after Stat) Change {
	c := Change{Name: name, Old: before.Median, New: after.Median, P: 1}
	switch {
	case c.Old == c.New:
		c.Judgement = Same
	case before.Min <= after.Max && after.Min <= before.Max:
		c.Judgement = Noise
	default:
		c.Judgement = direction(c.Old, c.New)
	}
	return c
}

func direction(before, after int64) Judgement {
	switch {
	case after < before:
		return Better
	case after > before:
		return Worse
	}
	return Noise // medians alike, spread differs
}

// Percent is the change in percent of the old value.
func (c Change) Percent() float64 {
	if c.Old == 0 {
		return 0
	}
	return 100 * float64(c.New-c.Old) / float64(c.Old)
}

// Changes renders a comparison for a terminal; what has not changed is left out.
func Changes(changes []Change) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-40s %14s %14s %9s  %s\n", "compared to the baseline", "before", "now", "change", "")
	shown := 0
	for _, c := range changes {
		if c.Judgement == Same {
			continue
		}
		shown++
		before, now := fmt.Sprint(c.Old), fmt.Sprint(c.New)
		if c.Unit == "ns" {
			before, now = fmt.Sprintf("%.1f ms", milliseconds(c.Old)), fmt.Sprintf("%.1f ms", milliseconds(c.New))
		}
		percent := "new"
		if c.Old != 0 {
			percent = fmt.Sprintf("%+.1f%%", c.Percent())
		}
		fmt.Fprintf(&b, "%-40s %14s %14s %9s  %s%s\n", c.Name, before, now, percent, c.Judgement, c.why())
	}
	if shown == 0 {
		return "nothing has changed since the baseline\n"
	}
	return b.String()
}

func (c Change) why() string {
	switch {
	case c.Judgement == TooFew:
		return fmt.Sprintf(" (want %d on both sides: --runs)", minRuns)
	case c.Unit == "ns":
		return fmt.Sprintf(" (p=%.3f)", c.P)
	}
	return ""
}
