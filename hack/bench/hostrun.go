package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// containers are median times of running a program that does nothing, from the start of
// the runtime's process to its end.
type containers struct {
	clearrun, crun time.Duration
	crunVersion    string
}

// containers times tier ns beside crun, in turns: the same root, namespaces,
// seccomp profile, masked paths and limits. crun runs from a folder, as it is; clearrun
// checks a signature and hashes its image first.
func (l *lab) containers(runs int) (c containers, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err = hideUnified(); err == nil {
			c, err = l.timeContainers(runs)
		}
	}()
	<-done
	return c, err
}

// hideUnified takes cgroup version 2 away from this thread and what it starts, where
// there is version 1: crun knows no hybrid of both.
func hideUnified() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace (as root): %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	_ = unix.Unmount("/sys/fs/cgroup/unified", unix.MNT_DETACH) // if there is one
	return nil
}

func (l *lab) timeContainers(runs int) (c containers, err error) {
	version, err := exec.Command("crun", "--version").Output()
	if err != nil {
		return c, fmt.Errorf("crun, to compare with (apt-get install crun): %w", err)
	}
	c.crunVersion, _, _ = strings.Cut(string(version), "\n")
	if err := l.makeBundle(); err != nil {
		return c, err
	}
	args := []string{"run", "--ns", "--store", l.path("store"), "--config-dir", l.path("config"), "--memory", "128M", "--cpus", "1", l.path("bench.aci")}
	crun := []string{"--root", l.path("crun"), "--cgroup-manager", "cgroupfs", "run", "--bundle", l.path("oci"), "bench"}
	var ours, theirs []time.Duration
	for range runs {
		t, err := timed(l.clearrun, args, 0)
		if err != nil {
			return c, err
		}
		ours = append(ours, t)
		if t, err = timed("crun", crun, 0); err != nil {
			return c, err
		}
		theirs = append(theirs, t)
	}
	c.clearrun, c.crun = median(ours), median(theirs)
	return c, nil
}

// makeBundle writes an OCI bundle (runtime-spec, bundle.md) of the benchmark's root.
func (l *lab) makeBundle() error {
	if err := os.CopyFS(l.path("oci/rootfs"), os.DirFS(l.path("root"))); err != nil {
		return err
	}
	cmd := exec.Command("crun", "spec")
	cmd.Dir = l.path("oci")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("crun spec: %w: %s", err, out)
	}
	path := l.path("oci/config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return err
	}
	spec.Process.Args, spec.Process.Terminal = []string{"/bin/true"}, false
	spec.Root.Readonly = false
	memory, quota, period := int64(memory), int64(100_000), uint64(100_000)
	spec.Linux.Resources = &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: &memory, Swap: &memory},
		CPU:    &specs.LinuxCPU{Quota: &quota, Period: &period},
		Pids:   &specs.LinuxPids{Limit: 4096},
	}
	if spec.Linux.Seccomp, err = seccomp.GetDefaultProfile(&spec); err != nil {
		return err
	}
	if data, err = json.Marshal(spec); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// table renders the measurement as Markdown.
func (c containers) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Tier ns beside %s: `run /bin/true`, 128 MiB, 1 CPU.\n\n| figure | measured | target |\n|---|---|---|\n", c.crunVersion)
	row := func(what, value, target string) { fmt.Fprintf(&b, "| %s | %s | %s |\n", what, value, target) }
	row("crun", fmt.Sprintf("%.1f ms", float64(c.crun)/milliSeconds), "")
	row("clearrun --ns, signature check and hash of the image included", fmt.Sprintf("%.1f ms", float64(c.clearrun)/milliSeconds), "")
	row("ratio of clearrun to crun", fmt.Sprintf("%.2f", float64(c.clearrun)/float64(c.crun)), "at most 1")
	return b.String()
}
