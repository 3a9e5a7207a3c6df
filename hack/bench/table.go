package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/clearrun/clearrun/vmm/launch"
)

// Targets of the project at 128 MiB and one vCPU.
const (
	targetInit    = 6_000_000
	targetExec    = 8_000_000
	targetExits   = 300 // to the app's exec
	targetTouched = 24 << 20
	targetRSS     = 5 << 20
	targetRatio   = 0.25
	targetMinimal = 2.0
	mebibyte      = 1 << 20
	milliSeconds  = 1e6
)

// table renders the measurements as Markdown.
func (l *lab) table(r launch.Report, s starts, sizes []sized) (string, error) {
	var b strings.Builder
	row := func(what, value, target string) { fmt.Fprintf(&b, "| %s | %s | %s | |\n", what, value, target) }
	aim := func(what string, n, target uint64, unit func(uint64) string) {
		fmt.Fprintf(&b, "| %s | %s | at most %s | %.2f |\n", what, unit(n), unit(target), float64(n)/float64(target))
	}
	fmt.Fprintf(&b, "Host: %s. Peer: %s, `-M microvm,accel=kvm`. 128 MiB, 1 vCPU, quiet.\n\n", r.Host, s.qemuVersion)
	b.WriteString("| figure | measured | target | ratio to it |\n|---|---|---|---|\n")
	aim("guest instructions to PID 1", at(r, launch.MarkInit).Instructions, targetInit, count)
	aim("guest instructions to the app's exec", at(r, launch.MarkStarted).Instructions, targetExec, count)
	row("interrupts taken to there, which a busy host makes more", count(at(r, launch.MarkStarted).Interrupts), "")
	for _, reason := range []string{"io", "mmio", "internal-error", "intr"} {
		row("exits to the monitor, whole run: "+reason, count(r.Exits[reason]), "")
	}
	aim("exits to the monitor before the app", sizes[0].exits(), targetExits, count)
	row("bytes copied into the guest at its start", count(r.Copied), "")
	aim("guest memory touched", r.GuestRSS, targetTouched, mebibytes)
	aim("monitor RSS without guest memory", r.RSS-min(r.GuestRSS, r.RSS), targetRSS, mebibytes)
	row("CPU time of the monitor, guest included", fmt.Sprintf("%.0f ms", float64(r.CPUTime)/milliSeconds), "")
	row("monitor's start to the first guest instruction", fmt.Sprintf("%.1f ms", float64(at(r, launch.MarkEntry).Nanoseconds)/milliSeconds), "")
	const start = "process start to the first guest instructions, "
	row(start+"QEMU microvm", fmt.Sprintf("%.1f ms", float64(s.qemu)/milliSeconds), "")
	row(start+"monitor", fmt.Sprintf("%.1f ms", float64(s.monitor)/milliSeconds), "")
	row("ratio of the monitor to QEMU", fmt.Sprintf("%.2f", float64(s.monitor)/float64(s.qemu)), fmt.Sprintf("at most %.2f", targetRatio))
	row(start+"minimal C monitor", fmt.Sprintf("%.1f ms", float64(s.minimal)/milliSeconds), "")
	row("ratio of the monitor to the minimal one", fmt.Sprintf("%.2f", float64(s.monitor)/float64(s.minimal)), fmt.Sprintf("at most %.2f", targetMinimal))
	row(start+"clearrun, signature check and all", fmt.Sprintf("%.1f ms", float64(s.clearrun)/milliSeconds), "")
	row("ratio of clearrun to QEMU", fmt.Sprintf("%.2f", float64(s.clearrun)/float64(s.qemu)), "")
	for _, name := range []string{"clearrun", "clearrun.bare", "clearrun-monitor", "vmlinux", "initramfs.cpio"} {
		info, err := os.Stat(filepath.Join(l.build, name))
		if err != nil {
			return "", err
		}
		row("size of "+name, count(uint64(info.Size()))+" bytes", "")
	}
	return b.String(), nil
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/mebibyte) }

// at finds the first mark of a kind.
func at(r launch.Report, mark uint8) launch.Mark {
	for _, m := range r.Marks {
		if m.Mark == mark {
			return m
		}
	}
	return launch.Mark{}
}

// count writes a number in groups of three digits.
func count(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
