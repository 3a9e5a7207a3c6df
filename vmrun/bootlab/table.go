package bootlab

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Widths of the terminal's waterfall, in characters.
const (
	barWidth  = 40
	nameWidth = 20
)

// topInitcalls is how many of the longest initcalls are shown.
const topInitcalls = 15

// Table renders the result for a terminal: a waterfall, in which each phase starts where
// the one before it ended, then the counts.
func (r *Result) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-*s %10s %10s %14s\n", nameWidth, "phase", "median ms", "p99 ms", "instructions")
	total := r.total()
	var done int64
	for _, p := range r.Phases {
		t := p.Nanoseconds.Median
		from, to := scale(done, total), scale(done+t, total)
		fmt.Fprintf(&b, "%s  %s%s\n", row(p), strings.Repeat(" ", from), strings.Repeat("#", max(1, to-from)))
		done += t
	}
	fmt.Fprintf(&b, "%-*s %10.1f\n", nameWidth, "all", milliseconds(total))
	if len(r.Initcalls) > 0 {
		fmt.Fprintf(&b, "\nof the kernel's %d initcalls, the longest\n", len(r.Initcalls))
		for _, p := range longest(r.Initcalls, topInitcalls) {
			fmt.Fprintln(&b, row(p))
		}
	}
	b.WriteString(r.counts())
	for _, c := range r.Beside {
		b.WriteString("\n" + c.Table())
	}
	return b.String()
}

// longest gives the n phases that take the most time, the longest first.
func longest(phases []Phase, n int) []Phase {
	sorted := slices.SortedStableFunc(slices.Values(phases), func(a, b Phase) int {
		return cmp.Compare(b.Nanoseconds.Median, a.Nanoseconds.Median)
	})
	return sorted[:min(n, len(sorted))]
}

func row(p Phase) string {
	return fmt.Sprintf("%-*s %10.1f %10.1f %14d", nameWidth, p.Name,
		milliseconds(p.Nanoseconds.Median), milliseconds(p.Nanoseconds.P99), p.Instructions.Median)
}

// counts lists all that is no time of a phase, but KVM's own statistics: the JSON has them.
func (r *Result) counts() string {
	var b strings.Builder
	line := func(name string, n int64) { fmt.Fprintf(&b, "%-32s %12d\n", name, n) }
	b.WriteByte('\n')
	for _, name := range slices.Sorted(maps.Keys(r.Counts)) {
		if strings.HasPrefix(name, exitPrefix) || strings.HasPrefix(name, devicePrefix) {
			line(name, r.Counts[name].Median)
		}
	}
	line(countCopied, r.Counts[countCopied].Median)
	line(countPages, r.Counts[countPages].Median)
	line("monitor RSS without guest, KiB", r.Counts[countRSS].Median>>10)
	line("CPU time of the monitor, ms", r.Counts[countCPU].Median/1e6)
	line("runs", int64(len(r.Runs)))
	return b.String()
}

// total is the median phases' sum in nanoseconds.
func (r *Result) total() int64 {
	var t int64
	for _, p := range r.Phases {
		t += p.Nanoseconds.Median
	}
	return t
}

func scale(t, total int64) int {
	if total <= 0 {
		return 0
	}
	return min(max(int(float64(t)/float64(total)*barWidth), 0), barWidth)
}

func milliseconds(ns int64) float64 { return float64(ns) / 1e6 }
