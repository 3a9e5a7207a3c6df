package vm

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/pprof/profile"

	"github.com/clearrun/clearrun/vmm/launch"
	"github.com/clearrun/clearrun/vmrun/bootlab"
)

// TestBoot measures a start of clearrun's own guest.
func TestBoot(t *testing.T) {
	needVM(t)
	takeSlot(t)
	out := filepath.Join(shared.tempDir(t), "profile.pb.gz")
	report := bootOnce(t, "--until", "app", "--profile", out, "--profile-every", "10ms")
	var marks []uint8
	for _, m := range report.Marks {
		marks = append(marks, m.Mark)
	}
	want := []uint8{launch.MarkEntry, launch.MarkInit, launch.MarkMain, 0x11, 0x12, 0x13, 0x14, launch.MarkStarted}
	if !slices.Equal(marks, want) {
		t.Errorf("marks %v, want %v: kernel entry, PID 1, each step of init, and the app's start", marks, want)
	}
	if report.Exits["io"] == 0 || report.Devices["virtio vsock"] == 0 || report.Copied == 0 || report.GuestRSS == 0 || report.RSS == 0 || report.Ended == 0 {
		t.Errorf("the report lacks figures: %+v", report)
	}
	checkProfile(t, out, report)
	checkBaseline(t, report)
}

// bootOnce measures one start with the options.
func bootOnce(t *testing.T, options ...string) launch.Report {
	t.Helper()
	r := run(t, shared.place, append([]string{"boot", "--json", "-"}, options...)...)
	r.check(t, 0)
	result, err := bootlab.Read(strings.NewReader(r.stdout))
	if err != nil || len(result.Runs) != 1 {
		t.Fatalf("no result of one run (%v)\n%v", err, r)
	}
	return result.Runs[0].Report
}

// TestConsoleOfProcesses boots an initramfs that is not clearrun's, and hears what its PID 1
// writes to the serial port: the driver waits for its interrupts.
func TestConsoleOfProcesses(t *testing.T) {
	needVM(t)
	takeSlot(t)
	dir := shared.tempDir(t)
	program, archive, kernel := filepath.Join(dir, "probe"), filepath.Join(dir, "probe.cpio"), filepath.Join(dir, "vmlinux")
	if err := errors.Join(
		goBuild(program, "./apps/probe"),
		command("go", "run", "../../hack/mkinitramfs", "-init", program, "-o", archive),
		command("go", "run", "../../hack/unpack-kernel", "-dir", "../../guest/kernel-config", "-o", kernel),
	); err != nil {
		t.Fatal(err)
	}
	r := run(t, shared.place, "boot", "--kernel", kernel, "--initrd", archive, "--cmdline", "PROBE=power-off",
		"--console", "--until", "poweroff")
	r.check(t, 0)
	if !strings.Contains(r.stderr, "\npower off\r\n") {
		t.Errorf("PID 1's words are not on the console:\n%v", r)
	}
}

// TestSizes: what memory and vCPUs add to a start is little, in instructions, where the host
// counts them.
func TestSizes(t *testing.T) {
	needVM(t)
	takeSlots(t, 2)
	pid1 := func(memory, cpus string) cost {
		return costAt(bootOnce(t, "--until", "pid1", "--memory", memory, "--cpus", cpus), launch.MarkInit)
	}
	least := pid1("128M", "1")
	if least.Instructions == 0 {
		t.Log("this host does not count a guest's instructions: that the sizes start is all that is seen")
	}
	for _, tt := range []struct {
		memory, cpus string
		percent      uint64 // of what 128 MiB and one vCPU take
	}{
		{"64M", "1", 103}, {"200M", "1", 103}, {"16G", "1", 110}, {"128M", "2", 110}, {"128M", "8", 130},
	} {
		c := pid1(tt.memory, tt.cpus)
		allowed := least.Instructions * tt.percent / 100
		if c.Interrupts > least.Interrupts && tt.cpus == "1" { // else there are more with every vCPU
			allowed += (c.Interrupts - least.Interrupts) * tickCost
		}
		t.Logf("%s, %s vCPUs: %+v", tt.memory, tt.cpus, c)
		if c.Instructions > allowed {
			t.Errorf("%s and %s vCPUs take %+v to PID 1, 128M and one %+v: want at most %d %%", tt.memory, tt.cpus, c, least, tt.percent)
		}
	}
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
