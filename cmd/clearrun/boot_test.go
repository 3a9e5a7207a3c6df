package main

import (
	"strings"
	"testing"

	"github.com/clearrun/clearrun/vmm/launch"
)

func TestParseUntil(t *testing.T) {
	for text, want := range map[string]uint8{"pid1": 1, "init": 0x10, "poweroff": 0, "0x20": 0x20, "255": 255} {
		if got, err := parseUntil(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "0", "256", "-1", "app"} {
		if n, err := parseUntil(bad); err == nil {
			t.Errorf("%q was taken for mark %d", bad, n)
		}
	}
}

func TestPercentile(t *testing.T) {
	values := []int64{5, 1, 4, 2, 3}
	for p, want := range map[int]int64{1: 1, 20: 1, 21: 2, 50: 3, 99: 5, 100: 5} {
		if got := percentile(values, p); got != want {
			t.Errorf("percentile %d is %d, want %d", p, got, want)
		}
	}
	if percentile(nil, 50) != 0 {
		t.Error("nothing has a median")
	}
}

func TestSummaryOfRuns(t *testing.T) {
	run := func(kernel int64, instructions uint64) launch.Report {
		return launch.Report{
			Marks: []launch.Mark{{Mark: launch.MarkEntry, Nanoseconds: 5e6}, {Mark: 0x77, Nanoseconds: 5e6 + kernel, Instructions: instructions}},
			Exits: map[string]uint64{"io": 3}, Copied: 10, RSS: 5 << 20, GuestRSS: 3 << 20, CPUTime: 1e9,
		}
	}
	s := summarize([]launch.Report{run(30e6, 100), run(10e6, 101), run(20e6, 102)})
	table := s.table()
	for _, want := range []string{
		"monitor set-up            5.0        5.0              0",
		"to mark 0x77             20.0       30.0            101",
		"all                      25.0",
		"exits, io                   3",
		"monitor RSS, KiB         2048",
		"runs                        3",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("no line %q in\n%s", want, table)
		}
	}
	// The second bar starts where the first one ended.
	lines := strings.Split(table, "\n")
	if first, second := strings.Count(lines[1], "#"), strings.Count(lines[2], "#"); first+second != barWidth {
		t.Errorf("bars of %d and %d do not make up %d:\n%s", first, second, barWidth, table)
	}
}

func TestBootRefuses(t *testing.T) {
	io := devNull(t)
	for _, args := range [][]string{
		{"vmlinux"},
		{"--memory", "1M"},
		{"--cpus", "0"},
		{"--runs", "0"},
		{"--until", "tomorrow"},
		{"--initrd", "x"},
		{"--kernel", "/nonexistent"},
	} {
		if code := run(append([]string{"boot"}, args...), io); code != 125 {
			t.Errorf("boot %q: exit code %d, want 125", args, code)
		}
	}
}
