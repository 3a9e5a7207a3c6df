package bootlab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Comparison is of several ways to start a VM, timed in turns on this machine. The first
// one is what the others are compared to.
type Comparison struct {
	What  string
	Peers []Peer
}

// Peer is one of them.
type Peer struct {
	Name        string
	Nanoseconds []int64 // of each run
}

// QEMU is the command of the peer that is a monitor.
const QEMU = "qemu-system-x86_64"

// CheckQEMU says whether there is a QEMU, and its version.
func CheckQEMU() (version string, err error) {
	out, err := exec.Command(QEMU, "--version").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%s is not installed (Debian: apt-get install qemu-system-x86)", QEMU)
	}
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", QEMU, err)
	}
	version, _, _ = strings.Cut(string(out), "\n")
	return version, nil
}

// qemuDone is the exit code of a QEMU whose guest wrote to isa-debug-exit. It is none of
// those of QEMU's own failures.
const qemuDone = 2*payloadExit + 1

// TimeQEMU times QEMU's microvm from the start of its process to its guest's first
// instructions, with the file of Payload as its kernel and memory bytes of RAM.
func TimeQEMU(ctx context.Context, payload string, memory uint64) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, QEMU, "-M", "microvm,accel=kvm", "-m", fmt.Sprint(memory>>20), "-kernel", payload,
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-device", fmt.Sprintf("isa-debug-exit,iobase=%#x,iosize=1", payloadExitPort))
	first, err := WatchFirstByte()
	if err != nil {
		return 0, err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = first.Console, &out
	began := time.Now()
	err = cmd.Run()
	took, silent := first.Since(began)
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != qemuDone {
		return 0, fmt.Errorf("%s: %v, want exit code %d: %s", QEMU, err, qemuDone, bytes.TrimSpace(out.Bytes()))
	}
	return took, silent
}

// Table renders the comparison for a terminal. A ratio above 1 is slower than the first.
func (c Comparison) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%-*s %10s %10s %7s\n", c.What, nameWidth, "", "median ms", "p99 ms", "ratio")
	for i, p := range c.Peers {
		s, first := stat(p.Nanoseconds), stat(c.Peers[0].Nanoseconds)
		note := ""
		if i > 0 {
			c := compareTimes(p.Name, c.Peers[0].Nanoseconds, p.Nanoseconds)
			note = map[Judgement]string{Better: "faster", Worse: "slower", Noise: "no difference but noise"}[c.Judgement]
			if c.Judgement == TooFew {
				note = string(TooFew)
			}
			note += c.why()
		}
		fmt.Fprintf(&b, "%-*s %10.1f %10.1f %7.2f  %s\n", nameWidth, p.Name, milliseconds(s.Median), milliseconds(s.P99),
			float64(s.Median)/float64(max(first.Median, 1)), note)
	}
	return b.String()
}
