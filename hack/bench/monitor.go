package main

import (
	_ "embed" // the C source of a peer
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/vmm/launch"
	"github.com/clearrun/clearrun/vmrun/bootlab"
	"github.com/clearrun/clearrun/vmrun/bundle"
)

// monitorAlone times the monitor process as vmrun starts it, without the
// command line tool around it: what QEMU's process is to compare with.
func (l *lab) monitorAlone(kernel string) (time.Duration, error) {
	k, err := os.Open(kernel)
	if err != nil {
		return 0, err
	}
	defer k.Close()
	info, err := k.Stat()
	if err != nil {
		return 0, err
	}
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer kvm.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	report, err := os.Create(l.path("report.json"))
	if err != nil {
		return 0, err
	}
	defer report.Close()
	config, err := l.monitorConfig(info.Size())
	if err != nil {
		return 0, err
	}
	defer config.Close()
	exe, err := l.monitorExe()
	if err != nil {
		return 0, err
	}
	defer exe.Close()
	cmd := exec.Command(fmt.Sprintf("/proc/self/fd/%d", exe.Fd()))
	first, err := bootlab.WatchFirstByte()
	if err != nil {
		return 0, err
	}
	cmd.ExtraFiles = []*os.File{config, k, kvm, theirs, report, first.Console}
	cmd.Env = []string{"GOMAXPROCS=2"}
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took, silent := first.Since(began)
	if err != nil {
		return 0, fmt.Errorf("monitor: %w: %s", err, out)
	}
	return took, silent
}

// monitorExe gives the monitor as vmrun executes it: in a memory file. Where the linker wrote
// a file, its pages are smaller in the page cache, and each is mapped by itself.
func (l *lab) monitorExe() (*os.File, error) {
	b, err := bundle.Open(l.clearrun)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return b.Executable(bundle.Monitor)
}

// The monitor's descriptors, in the order of ExtraFiles.
const (
	kernelFD = launch.ConfigFD + 1 + iota
	kvmFD
	controlFD
	reportFD
	consoleFD
)

func (l *lab) monitorConfig(kernelSize int64) (*os.File, error) {
	f, err := os.Create(l.path("config.json"))
	if err != nil {
		return nil, err
	}
	err = json.NewEncoder(f).Encode(launch.Config{
		KVM: kvmFD, Memory: memory, VCPUs: 1, Kernel: launch.Section{FD: kernelFD, Size: kernelSize},
		Control: controlFD, Report: reportFD, Console: consoleFD,
	})
	if _, seek := f.Seek(0, 0); err != nil || seek != nil {
		return nil, errors.Join(err, seek, f.Close())
	}
	return f, nil
}

// minimalSource is the peer that does the least a KVM monitor has to do.
//
//go:embed minimal/minimal.c
var minimalSource []byte

// minimal is its program.
const minimal = "minimal"

// makeMinimal compiles it; it needs a C compiler and the kernel's headers.
func (l *lab) makeMinimal() error {
	source := l.path(minimal + ".c")
	if err := os.WriteFile(source, minimalSource, 0o644); err != nil {
		return err
	}
	return l.tool("cc", "-O2", "-Wall", "-Werror", "-static", "-o", l.path(minimal), source)
}
