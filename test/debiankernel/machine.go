package debiankernel

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/u-root/u-root/pkg/cpio"
)

// patience bounds the emulated machine, which takes some ten seconds to half a minute.
const patience = 5 * time.Minute

// Build is where make has put things, seen from a test's folder.
const Build = "../../build/"

// Machine is a VM to boot.
type Machine struct {
	Kernel  Kernel
	Guest   string        // folder of the main package that is its PID 1, which calls inside.Main
	Modules []string      // of the kernel, which inside.Main loads with what they depend on
	Extra   []string      // modules that the guest may load later (inside.Load)
	Files   []cpio.Record // of the initramfs, beside the guest's own; with their folders
	Disks   []string      // raw images, for /dev/vda and so on
	Kept    []string      // others that stay as they are, for the devices after those
	Append  string        // to the kernel's command line
}

// Outcome is what a VM has left.
type Outcome struct {
	Console string // of the kernel
	Said    string // by the guest, on another line, into which no kernel message can break
	Checks  []Check
}

// Check is what inside.Report has reported.
type Check struct {
	Name, Detail string
	OK           bool
}

// checkLine is how inside.Report writes.
var checkLine = regexp.MustCompile(`(?m)^CHECK (.*): (ok|FAILED) \((.*)\)$`)

// Run boots the machine and waits until it has powered off. The test fails if the guest
// did not get through. Without a build, or without the kernel, it is skipped, but not in CI.
func (m Machine) Run(t *testing.T) Outcome {
	t.Helper()
	Need(t, strings.TrimPrefix(m.Kernel.file("key"), Build))
	Need(t, "clearrun")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	report := filepath.Join(t.TempDir(), "report")
	// One CPU: emulated ones that run side by side have hung where the kernel patches its code.
	args := []string{
		"-n", "10", "qemu-system-x86_64", "-accel", "tcg,thread=single", "-cpu", "max",
		"-m", "1024", "-smp", "1", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio", "-serial", "file:" + report,
		"-kernel", m.Kernel.file("vmlinuz"), "-initrd", m.initramfs(t), "-append", "console=ttyS0 panic=-1 " + m.Append,
	}
	for n, disk := range slices.Concat(m.Disks, m.Kept) {
		drive := fmt.Sprintf("file=%s,if=none,format=raw,id=disk%d", disk, n)
		if n >= len(m.Disks) {
			drive += ",snapshot=on"
		}
		args = append(args, "-drive", drive, "-device", fmt.Sprintf("virtio-blk-pci,drive=disk%d", n))
	}
	out, err := exec.CommandContext(ctx, "nice", args...).CombinedOutput()
	plain := strings.NewReplacer("\r", "", "\x00", "")
	o := Outcome{Console: plain.Replace(string(out))}
	if err != nil {
		t.Fatalf("QEMU: %v\n%s", err, o.Tail())
	}
	o.Said = plain.Replace(Read(t, report))
	if !strings.Contains(o.Said, "GUEST DONE") || strings.Contains(o.Said, "GUEST FAILED") {
		t.Fatalf("the guest did not get through:\n%s\n%s", o.Said, o.Tail())
	}
	for _, c := range checkLine.FindAllStringSubmatch(o.Said, -1) {
		o.Checks = append(o.Checks, Check{c[1], c[3], c[2] == "ok"})
	}
	return o
}

// Want fails the test for each check that did not hold, and if there are not n of them.
func (o Outcome) Want(t *testing.T, n int) {
	t.Helper()
	if len(o.Checks) != n {
		t.Errorf("%d checks, want %d:\n%s", len(o.Checks), n, o.Said)
	}
	for _, c := range o.Checks {
		if !c.OK {
			t.Errorf("%s: %s", c.Name, c.Detail)
		}
	}
}

// Tail is the end of the console, for messages.
func (o Outcome) Tail() string { return o.Console[max(0, len(o.Console)-12000):] }

// Need skips the test unless build/NAME is there; in CI it fails.
func Need(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Stat(Build + name); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("there is no build/%s: run make test-debian", name)
	}
}

// Read gives a file's content.
func Read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
