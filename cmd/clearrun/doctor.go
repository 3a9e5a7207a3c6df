package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/hostrun"
	"github.com/clearrun/clearrun/hostrun/label"
	"github.com/clearrun/clearrun/vmm/kvm"
	"github.com/clearrun/clearrun/vmrun"
	"github.com/clearrun/clearrun/vmrun/bundle"
)

// finding is one line of `clearrun doctor`.
type finding struct {
	Name   string
	OK     bool
	Value  string
	Remedy string `json:",omitempty"`
}

// doctorCommand is `clearrun doctor`. It fails if tier vm cannot run here: that is what
// images get unless a policy says otherwise.
func doctorCommand(args []string, g globals, io stdio) (int, error) {
	f := newFlags("doctor [--json]", "Say what this host offers each tier, what it lacks, and the remedy. Exit code 1: tier vm cannot run.", &g, io)
	asJSON := f.Bool("json", false, "print JSON")
	if err := f.Parse(args); err != nil {
		return vmrun.ExitFailure, err
	}
	findings := examineHost()
	code := 0
	for _, x := range findings {
		if x.Name == tierVM && !x.OK {
			code = 1
		}
	}
	if *asJSON {
		e := json.NewEncoder(io.out)
		e.SetIndent("", "  ")
		return code, e.Encode(findings)
	}
	for _, x := range findings {
		mark := "ok  "
		if !x.OK {
			mark = "LACK"
		}
		fmt.Fprintf(io.out, "%s  %-12s %s\n", mark, x.Name, x.Value)
		if x.Remedy != "" {
			fmt.Fprintf(io.out, "      %-12s -> %s\n", "", x.Remedy)
		}
	}
	return code, nil
}

func examineHost() []finding {
	findings := []finding{examineKernel(), examineBundle(), examineKVM(), examineSELinux(), examineLandlock(), examineCgroups(), examineNetwork()}
	vm := finding{Name: tierVM, OK: true, Value: "ready"}
	for _, x := range findings[1:3] {
		if !x.OK {
			vm = finding{Name: vm.Name, Value: "cannot run: " + x.Value, Remedy: x.Remedy}
		}
	}
	ns := examineNS()
	host := ns // needs the same, as root
	host.Name = "tier host"
	if os.Geteuid() != 0 {
		host = finding{Name: host.Name, Value: "cannot run: it needs root", Remedy: "run clearrun by sudo"}
	}
	return append(findings, vm, ns, host)
}

// tierVM is the name of the finding about that tier.
const tierVM = "tier vm"

// examineNS says whether tier ns can run. That a policy must allow it is no lack.
func examineNS() finding {
	if err := hostrun.Ready(); err != nil {
		what, remedy, _ := strings.Cut(err.Error(), ": ")
		return finding{Name: "tier ns", Value: "cannot run: " + what, Remedy: remedy}
	}
	limits := "none"
	if names := hostrun.Limits(); len(names) > 0 {
		limits = strings.Join(names, ", ")
	}
	ns := finding{Name: "tier ns", OK: true, Value: "ready, where a policy allows it; limits: " + limits}
	if os.Geteuid() == 0 {
		return ns
	}
	ids := hostrun.UserIDs()
	ns.Value += fmt.Sprintf("; rootless, with %d user and group IDs", ids)
	if ids == 1 {
		ns.Remedy = "for apps and files of other users than root: install newuidmap and newgidmap (package uidmap), " +
			"and have root give you ranges (usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER)"
	}
	return ns
}

// examineLandlock says whether the second wall of tier ns stands. Its lack keeps nothing
// from running.
func examineLandlock() finding {
	const scopes = 6 // of the ABI
	switch version := hostrun.Landlock(); {
	case version == 0:
		return finding{Name: "Landlock", OK: true, Value: "absent (tier ns is without its second wall)"}
	case version < scopes:
		return finding{Name: "Landlock", OK: true, Value: fmt.Sprintf("ABI %d: files, but no signals and abstract sockets (those need Linux 6.12)", version)}
	default:
		return finding{Name: "Landlock", OK: true, Value: fmt.Sprintf("ABI %d: files, signals, abstract sockets", version)}
	}
}

func examineKernel() finding {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return finding{Name: "kernel", Value: err.Error()}
	}
	return finding{Name: "kernel", OK: true, Value: "Linux " + unix.ByteSliceToString(u.Release[:])}
}

func examineBundle() finding {
	x := finding{Name: "guest"}
	b, err := bundle.Open("/proc/self/exe")
	if err != nil {
		x.Value, x.Remedy = err.Error(), "build clearrun with `make build`"
		return x
	}
	defer b.Close()
	k, err := b.Part(bundle.Kernel)
	if err != nil {
		x.Value = err.Error()
		return x
	}
	x.OK, x.Value = true, "kernel sha256:"+k.SHA256
	return x
}

func examineKVM() finding {
	x := finding{Name: "KVM"}
	host := kvm.DetectHost("/sys/module")
	s, err := kvm.Open(vmrun.KVMPath)
	switch {
	case errors.Is(err, os.ErrNotExist):
		x.Value = vmrun.KVMPath + " does not exist"
		x.Remedy = "load kvm_intel, kvm_amd or kvm_pvm; in a cloud VM, choose a type with nested virtualization or a PVM kernel"
	case errors.Is(err, os.ErrPermission):
		x.Value = "no permission to open " + vmrun.KVMPath
		x.Remedy = "join the group that owns it: usermod -aG kvm USER, then log in again"
	case err != nil:
		x.Value = err.Error()
		x.Remedy = "have the kernel's own device node there: delete it, then load the KVM module again"
	default:
		defer s.Close()
		x.OK, x.Value = true, fmt.Sprintf("%v, up to %d vCPUs", host, s.MaxVCPUs())
	}
	return x
}

func examineSELinux() finding {
	x := finding{Name: "SELinux", OK: true, Value: label.Host().String()}
	if x.Value == label.Absent.String() {
		x.Value += " (no tier needs it; tier ns has one wall less)"
	}
	return x
}

func examineCgroups() finding {
	x := finding{Name: "cgroups", OK: true}
	switch {
	case exists("/sys/fs/cgroup/cgroup.controllers"):
		x.Value = "v2"
	case exists("/sys/fs/cgroup/unified/cgroup.controllers"):
		x.Value = "hybrid (v1 with v2 beside it)"
	case exists("/sys/fs/cgroup/memory"):
		x.Value = "v1"
	default:
		x.Value = "not mounted (tier vm does not need them)"
	}
	return x
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
