package vm

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/pprof/profile"

	"github.com/clearrun/clearrun/vmm/launch"
)

// TestBoot measures a start of clearrun's own guest.
func TestBoot(t *testing.T) {
	needVM(t)
	takeSlot(t)
	out := filepath.Join(shared.tempDir(t), "profile.pb.gz")
	r := run(t, shared.place, "boot", "--json", "-", "--profile", out)
	r.check(t, 0)
	var reports []launch.Report
	if err := json.Unmarshal([]byte(r.stdout), &reports); err != nil || len(reports) != 1 {
		t.Fatalf("%d reports (%v)\n%v", len(reports), err, r)
	}
	report := reports[0]
	var marks []uint8
	for _, m := range report.Marks {
		marks = append(marks, m.Mark)
	}
	if string(marks) != string([]uint8{launch.MarkEntry, launch.MarkInit, launch.MarkMain}) {
		t.Errorf("marks %v, want kernel entry, PID 1 and its own code", marks)
	}
	checkProfile(t, out, report)
}

// checkProfile: the samples account for what the guest has executed.
func checkProfile(t *testing.T, path string, report launch.Report) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := profile.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	var samples, instructions int64
	for _, s := range p.Sample {
		samples += s.Value[0]
		instructions += s.Value[2]
	}
	const least = 100
	if samples < least {
		t.Errorf("%d samples, want at least %d", samples, least)
	}
	if n := int64(report.Instructions); instructions > n || instructions < n/2 {
		t.Errorf("the samples account for %d instructions, the guest had %d", instructions, n)
	}
}
