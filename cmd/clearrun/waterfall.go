package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/clearrun/clearrun/vmm/launch"
)

// phase is what lies between two marks, over all runs.
type phase struct {
	name         string
	nanoseconds  []int64
	instructions []int64
}

// bootSummary is what `clearrun boot` shows of its runs.
type bootSummary struct {
	runs   int
	phases []phase
	exits  map[string][]int64
	copied []int64 // bytes
	rss    []int64 // of the monitor, without guest memory
	cpu    []int64 // nanoseconds
}

// markNames are the milestones of clearrun's own guest (guest/init has the
// list); another guest's marks go by their number.
var markNames = map[uint8]string{
	launch.MarkEntry: "monitor set-up", launch.MarkInit: "kernel, to PID 1", launch.MarkMain: "init's runtime",
	0x11: "vsock connected", 0x12: "told what to run", 0x13: "root mounted", 0x14: "root populated",
	launch.MarkStarted: "app executed", 0x16: "app ended",
}

// summarize gathers the runs. Phases are those of the first run: a guest that
// marks differently from run to run has no common picture.
func summarize(reports []launch.Report) *bootSummary {
	s := &bootSummary{runs: len(reports), exits: map[string][]int64{}}
	for _, r := range reports {
		var last launch.Mark
		for i, m := range r.Marks {
			if i == len(s.phases) && len(s.cpu) == 0 {
				name, known := markNames[m.Mark]
				if !known {
					name = fmt.Sprintf("to mark %#x", m.Mark)
				}
				s.phases = append(s.phases, phase{name: name})
			}
			if i < len(s.phases) {
				p := &s.phases[i]
				p.nanoseconds = append(p.nanoseconds, m.Nanoseconds-last.Nanoseconds)
				p.instructions = append(p.instructions, int64(m.Instructions-last.Instructions))
			}
			last = m
		}
		for reason, n := range r.Exits {
			s.exits[reason] = append(s.exits[reason], int64(n))
		}
		s.copied = append(s.copied, int64(r.Copied))
		s.rss = append(s.rss, int64(r.RSS-min(r.RSS, r.GuestRSS)))
		s.cpu = append(s.cpu, r.CPUTime)
	}
	return s
}

// percentile is the smallest value that is not below p percent of all.
func percentile(values []int64, p int) int64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)*p+99)/100-1]
}

// barWidth is how many characters the longest time takes.
const barWidth = 40

// table renders the summary for a terminal: a waterfall of the phases, in which
// each starts where the one before ended.
func (s *bootSummary) table() string {
	var total int64
	for _, p := range s.phases {
		total += percentile(p.nanoseconds, 50)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-18s %10s %10s %14s\n", "phase", "median ms", "p99 ms", "instructions")
	var done int64
	for _, p := range s.phases {
		t := percentile(p.nanoseconds, 50)
		from, to := scale(done, total), scale(done+t, total)
		fmt.Fprintf(&b, "%-18s %10.1f %10.1f %14d  %s%s\n", p.name, milliseconds(t), milliseconds(percentile(p.nanoseconds, 99)),
			percentile(p.instructions, 50), strings.Repeat(" ", from), strings.Repeat("#", max(1, to-from)))
		done += t
	}
	fmt.Fprintf(&b, "%-18s %10.1f\n\n", "all", milliseconds(total))
	for _, reason := range slices.Sorted(maps.Keys(s.exits)) {
		fmt.Fprintf(&b, "exits, %-12s %9d\n", reason, percentile(s.exits[reason], 50))
	}
	fmt.Fprintf(&b, "bytes copied        %9d\nmonitor RSS, KiB    %9d\nCPU time, ms        %9.0f\nruns                %9d\n",
		percentile(s.copied, 50), percentile(s.rss, 50)>>10, milliseconds(percentile(s.cpu, 50)), s.runs)
	return b.String()
}

func scale(t, total int64) int {
	if total <= 0 {
		return 0
	}
	return int(t * barWidth / total)
}

func milliseconds(ns int64) float64 { return float64(ns) / 1e6 }
