package vm

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/clearrun/clearrun/vmm/launch"
)

// baselineFile holds the counts of a start that no change may raise by more than growth.
const (
	baselineFile = "testdata/baseline.json"
	updateEnv    = "CLEARRUN_UPDATE_BASELINE" // write the file instead
	growth       = 1.03
	howToUpdate  = "; if it has to be so, or to hold on to what has become less, run make bench-baseline and commit " + baselineFile
)

// baseline is what a start of clearrun's own guest takes at 128 MiB and one vCPU.
type baseline struct {
	Host   string // the kind of KVM it was measured on
	PID1   cost   // from the kernel's entry to PID 1
	Exec   cost   // to the app's exec
	Exits  uint64 // port and MMIO accesses to there
	Copied uint64 // bytes
}

// cost is in instructions of the guest, and in interrupts that came on the way: ticks of
// the clock, of which a busy host lets a start take more.
type cost struct{ Instructions, Interrupts uint64 }

// tickCost is how many instructions an interrupt more may take: the timer's, with the
// process that it switches to and back; 4,000 to 6,500 were measured. A machine with
// nothing else to do has none more.
const tickCost = 8000

// exitSlack is for interrupts of a device that come one by one instead of together.
const exitSlack = 10

func costAt(r launch.Report, mark uint8) cost {
	for _, m := range r.Marks {
		if m.Mark == mark {
			return cost{m.Instructions, m.Interrupts}
		}
	}
	return cost{}
}

func baselineOf(r launch.Report) baseline {
	return baseline{
		Host: r.Host, PID1: costAt(r, launch.MarkInit), Exec: costAt(r, launch.MarkStarted),
		Exits: r.Exits["io"] + r.Exits["mmio"], Copied: r.Copied,
	}
}

// grown says whether now is more than before allows.
func (c cost) grown(before cost) bool {
	allowed := float64(before.Instructions) * growth
	if c.Interrupts > before.Interrupts {
		allowed += float64(c.Interrupts-before.Interrupts) * tickCost
	}
	return float64(c.Instructions) > allowed
}

// checkBaseline holds a start's counts against the committed ones, or replaces those.
func checkBaseline(t *testing.T, r launch.Report) {
	t.Helper()
	now := baselineOf(r)
	if os.Getenv(updateEnv) != "" {
		data, err := json.MarshalIndent(now, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(baselineFile, append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	before := readBaseline(t)
	t.Logf("counts %+v, baseline %+v", now, before)
	if now.Host != before.Host {
		t.Logf("instructions and exits are not compared: the baseline is of a host with %s, this one has %s", before.Host, now.Host)
	} else {
		now.check(t, before)
	}
	if float64(now.Copied) > float64(before.Copied)*growth {
		t.Errorf("%d bytes copied into the guest, the baseline has %d%s", now.Copied, before.Copied, howToUpdate)
	}
}

func (now baseline) check(t *testing.T, before baseline) {
	t.Helper()
	if now.PID1.grown(before.PID1) {
		t.Errorf("PID 1 takes %+v, the baseline has %+v%s", now.PID1, before.PID1, howToUpdate)
	}
	if now.Exec.grown(before.Exec) {
		t.Errorf("the app's exec takes %+v, the baseline has %+v%s", now.Exec, before.Exec, howToUpdate)
	}
	if float64(now.Exits) > float64(before.Exits)*growth+exitSlack {
		t.Errorf("%d exits for devices, the baseline has %d%s", now.Exits, before.Exits, howToUpdate)
	}
}

func readBaseline(t *testing.T) baseline {
	t.Helper()
	data, err := os.ReadFile(baselineFile)
	if err != nil {
		t.Fatal(err)
	}
	var b baseline
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatalf("%s: %v", baselineFile, err)
	}
	if b.PID1.Instructions == 0 || b.Exec.Instructions <= b.PID1.Instructions || b.Exits == 0 || b.Copied == 0 {
		t.Fatalf("%s lacks counts: %+v; make bench-baseline writes it", baselineFile, b)
	}
	return b
}

// TestGrown needs no VM: it is about what the check lets through.
func TestGrown(t *testing.T) {
	before := cost{1_000_000, 100}
	for _, c := range []struct {
		now  cost
		want bool
	}{
		{before, false},
		{cost{900_000, 100}, false},
		{cost{1_030_000, 100}, false},
		{cost{1_031_000, 100}, true},
		{cost{1_031_000, 101}, false},
		{cost{1_831_000, 200}, true},
		{cost{1_031_000, 10}, true},
	} {
		if got := c.now.grown(before); got != c.want {
			t.Errorf("%+v against %+v: grown %v, want %v", c.now, before, got, c.want)
		}
	}
}
