package vm

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// vectorReport is what one of two processes found (test/vm/apps/probe, VectorReport).
type vectorReport struct {
	Process         string
	Widths, Checker []string
	Phases          []struct {
		Name                   string
		Rounds                 int
		Wrong                  string
		Voluntary, Involuntary int64
		Signals                int64
	}
}

// TestVectorRegisters has two processes share one CPU and check that each keeps its
// own vector registers, whatever makes the kernel switch: a wait, a signal, the clock.
// In the end each moves to and fro between two CPUs.
func TestVectorRegisters(t *testing.T) {
	needVM(t)
	takeSlots(t, 2)
	r := run(t, shared.place, "--cpus", "2", shared.probe, "--", "vectors")
	r.check(t, 0)
	var reports []vectorReport
	if err := json.Unmarshal([]byte(r.stdout), &reports); err != nil {
		t.Fatalf("%v\n%v", err, r)
	}
	if len(reports) != 2 {
		t.Fatalf("%d processes have reported, want 2", len(reports))
	}
	widths, checker := expectedWidths(t)
	for _, report := range reports {
		if !slices.Equal(report.Widths, widths) {
			t.Errorf("process %s checked %q, want %q as the host has", report.Process, report.Widths, widths)
		}
		if !slices.Equal(report.Checker, checker) {
			t.Errorf("process %s finds the faults %q, want %q: its check is worth nothing", report.Process, report.Checker, checker)
		}
		report.check(t)
	}
}

// expectedWidths says what the probe must have checked on a host like this one, and
// which faults its check must have found when they were put there.
func expectedWidths(t *testing.T) (widths, checker []string) {
	t.Helper()
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	_, flags, _ := strings.Cut(string(info), "\nflags")
	flags, _, _ = strings.Cut(flags, "\n")
	has := func(flag string) bool { return slices.Contains(strings.Fields(flags), flag) }
	widths, checker = []string{"xmm"}, []string{"register 15 byte 15", "MXCSR"}
	if has("avx") {
		widths, checker = append(widths, "ymm"), append(checker, "register 15 byte 31")
	}
	if has("avx512f") && has("avx512bw") {
		widths, checker = append(widths, "zmm"), append(checker, "register 31 byte 63", "mask 7")
	}
	t.Logf("checked: %q", widths)
	return widths, checker
}

// check: the registers were right in each round, and there was what could have spoiled
// them.
func (r vectorReport) check(t *testing.T) {
	t.Helper()
	type least struct {
		rounds               int
		switches, interrupts int64
		signals              int64
	}
	want := map[string]least{
		"both use all":       {rounds: 200, switches: 200},
		"one uses xmm alone": {rounds: 100, switches: 100},
		"signals":            {rounds: 50, switches: 50, signals: 50},
		"interrupted":        {rounds: 5, switches: 5, interrupts: 5},
		"moved between CPUs": {rounds: 20},
	}
	for _, p := range r.Phases {
		w, ok := want[p.Name]
		delete(want, p.Name)
		if !ok {
			t.Errorf("process %s: unknown phase %q", r.Process, p.Name)
		}
		if p.Wrong != "" {
			t.Errorf("process %s, %s: after %d good rounds, %s", r.Process, p.Name, p.Rounds, p.Wrong)
		}
		if p.Rounds < w.rounds || p.Voluntary+p.Involuntary < w.switches || p.Involuntary < w.interrupts || p.Signals < w.signals {
			t.Errorf("process %s: %+v, want at least %+v", r.Process, p, w)
		}
	}
	if len(want) > 0 {
		t.Errorf("process %s did not go through %v", r.Process, want)
	}
}
