package vm

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/vmm/launch"
)

// TestDemo goes the way of a newcomer: trust a key, run an image; then run it again,
// from the store.
func TestDemo(t *testing.T) {
	needVM(t)
	p := fresh(t)

	r := run(t, p, "trust", "add", "--prefix", "example.com/app", "--yes", shared.keyFile(shared.alice))
	r.check(t, 0)
	if want := "trusted for example.com/app: "; !strings.HasPrefix(r.stdout, want) || !strings.Contains(r.stdout, shared.alice) {
		t.Errorf("trust add says %q, want %q and %s", r.stdout, want, shared.alice)
	}
	r = run(t, p, "trust", "list")
	r.check(t, 0)
	if !strings.HasPrefix(r.stdout, "example.com/app ") || !strings.Contains(r.stdout, shared.alice) || strings.Count(r.stdout, "\n") != 1 {
		t.Errorf("trust list says %q", r.stdout)
	}

	takeSlot(t)
	r = run(t, p, "--vm", shared.probe)
	r.check(t, 0)
	if r.stdout != "to stdout\n" || r.stderr != "to stderr\n" {
		t.Errorf("the streams are not as the app wrote them:\n%v", r)
	}

	stats := filepath.Join(shared.tempDir(t), "stats.json")
	r = run(t, p, "run", "--verbose", "--stats", stats, shared.probe, "--", "exit", "3")
	r.check(t, 3)
	if r.stdout != "to stdout\n" {
		t.Errorf("stdout is not as the app wrote it:\n%v", r)
	}
	for _, want := range []string{
		"clearrun: image example.com/app/probe, sha512-",
		"clearrun: tier vm, signed by " + shared.alice + ", key ",
		", trusted for example.com/app\n",
		"\nto stderr\n",
	} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("--verbose does not say %q:\n%v", want, r)
		}
	}
	for _, cold := range []string{"unpacking", "rendering"} {
		if strings.Contains(r.stderr, cold) {
			t.Errorf("the second run is %s the image again:\n%v", cold, r)
		}
	}
	checkStats(t, stats)
}

// checkStats looks for the milestones of a start, in order.
func checkStats(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var report launch.Report
	if err := json.Unmarshal(data, &report); err != nil {
		t.Fatal(err)
	}
	if report.Outcome != launch.PoweredOff {
		t.Errorf("outcome %q, want %q", report.Outcome, launch.PoweredOff)
	}
	expected := []uint8{launch.MarkEntry, launch.MarkInit, launch.MarkStarted}
	last := int64(0)
	for _, m := range report.Marks {
		if m.Nanoseconds < last {
			t.Errorf("mark %#x at %d ns comes after one at %d ns", m.Mark, m.Nanoseconds, last)
		}
		last = m.Nanoseconds
		if len(expected) > 0 && m.Mark == expected[0] {
			expected = expected[1:]
		}
	}
	if len(expected) > 0 {
		t.Errorf("mark %#x is missing in %+v", expected[0], report.Marks)
	}
}
