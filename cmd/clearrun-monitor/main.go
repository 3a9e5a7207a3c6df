// Command clearrun-monitor is one virtual machine. clearrun starts it with open
// descriptors and a sealed configuration (package vmm/launch); it is not meant
// to be run by hand.
//
// It opens nothing itself, and forgets how to before the guest's first
// instruction: see confine.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/vmm/launch"
)

// Exit codes: a VM that ran to its power-off, and one that did not.
const (
	exitPoweredOff = 0
	exitFailed     = 1
)

func main() {
	began := time.Now()
	syscall.CloseOnExec(launch.ConfigFD)
	cfg, err := launch.ReadConfig(os.NewFile(launch.ConfigFD, "config"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "clearrun-monitor: not started by clearrun:", err)
		os.Exit(exitFailed)
	}
	if cfg.Labelled {
		endWithParent(cfg.Control)
	}
	report := run(cfg, began)
	out := os.NewFile(uintptr(cfg.Report), "report")
	if err := json.NewEncoder(out).Encode(report); err != nil && !errors.Is(err, unix.EPIPE) {
		fmt.Fprintln(os.Stderr, "clearrun-monitor: write report:", err)
	}
	if report.Outcome != launch.PoweredOff && report.Outcome != launch.Reached {
		os.Exit(exitFailed)
	}
	os.Exit(exitPoweredOff)
}
