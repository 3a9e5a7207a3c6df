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
	targetInit   = 10_000_000
	targetExec   = 14_000_000
	targetRSS    = 6 << 20
	targetRatio  = 0.25
	mebibyte     = 1 << 20
	milliSeconds = 1e6
)

// table renders the measurements as Markdown.
func (l *lab) table(r launch.Report, s starts) (string, error) {
	var b strings.Builder
	row := func(what, value, target string) { fmt.Fprintf(&b, "| %s | %s | %s |\n", what, value, target) }
	fmt.Fprintf(&b, "Host: %s. Peer: %s, `-M microvm,accel=kvm`. 128 MiB, 1 vCPU, quiet.\n\n", r.Host, s.qemuVersion)
	b.WriteString("| figure | measured | target |\n|---|---|---|\n")
	row("guest instructions to PID 1", count(at(r, launch.MarkInit).Instructions), "at most "+count(targetInit))
	row("guest instructions to the app's exec", count(at(r, launch.MarkStarted).Instructions), "at most "+count(targetExec))
	for _, reason := range []string{"io", "mmio", "internal-error", "intr"} {
		row("exits to the monitor: "+reason, count(r.Exits[reason]), "")
	}
	row("bytes copied into the guest at its start", count(r.Copied), "")
	row("guest memory touched", fmt.Sprintf("%.1f MiB", float64(r.GuestRSS)/mebibyte), "")
	row("monitor RSS without guest memory", fmt.Sprintf("%.1f MiB", float64(r.RSS-min(r.GuestRSS, r.RSS))/mebibyte),
		fmt.Sprintf("at most %d MiB", targetRSS/mebibyte))
	row("CPU time of the monitor, guest included", fmt.Sprintf("%.0f ms", float64(r.CPUTime)/milliSeconds), "")
	row("monitor's start to the first guest instruction", fmt.Sprintf("%.1f ms", float64(at(r, launch.MarkEntry).Nanoseconds)/milliSeconds), "")
	const start = "process start to first guest instruction and exit, "
	row(start+"QEMU microvm", fmt.Sprintf("%.1f ms", float64(s.qemu)/milliSeconds), "")
	row(start+"monitor", fmt.Sprintf("%.1f ms", float64(s.monitor)/milliSeconds), "")
	row("ratio of the monitor to QEMU", fmt.Sprintf("%.2f", float64(s.monitor)/float64(s.qemu)), fmt.Sprintf("at most %.2f", targetRatio))
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
