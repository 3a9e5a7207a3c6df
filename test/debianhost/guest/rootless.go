package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/test/debiankernel/inside"
)

// user is somebody who is not root, and userDir a folder that is the user's.
const (
	user    = 1000
	userDir = "/var/user"
)

// Cgroups as systemd makes them: that of the user's service manager, delegated to the user with all
// controllers but io, and in it one for what the user starts.
const (
	userManager = "/sys/fs/cgroup/user.slice"
	userScope   = userManager + "/scope"
)

// printLimits is the app: it says what its cgroup has.
const printLimits = "busybox cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; busybox ls /sys/fs/cgroup/io.max; true"

// rootless runs containers of a user who was delegated a cgroup without the controller io.
func rootless() error {
	if err := delegate(); err != nil {
		return fmt.Errorf("delegate a cgroup: %w", err)
	}
	stdout, stderr, code, err := userRun(printLimits, "--memory", "64M")
	if err != nil {
		return err
	}
	inside.Report("a user's limits: those of the cgroup that was delegated", code == 0 && stdout == "67108864\n4096\n", quoted(code, stdout, stderr))
	said := isolator("resource/block-iops")
	inside.Report("a user's limits: the image's that cannot be kept are reported",
		strings.HasPrefix(said, "unenforced: ") && strings.Contains(said, "controller io") && strings.Contains(said, "Delegate="), said)
	said = isolator("resource/cpu")
	inside.Report("a user's limits: the image's others are kept", strings.HasPrefix(said, "enforced: "), said)
	_, stderr, code, err = userRun("true", "--blkio-weight", "100")
	inside.Report("a user's limits: one that the user asks for is an error", code == 125 && strings.Contains(stderr, "controller io"), quoted(code, stderr, err))
	_, stderr, code, err = userRun("true", "--strict")
	inside.Report("a user's limits: a strict run is refused", code == 125 && strings.Contains(stderr, "--strict"), quoted(code, stderr, err))
	left, _ := filepath.Glob(userManager + "/clearrun/*/cgroup.procs")
	inside.Report("a user's limits: nothing left", left == nil, fmt.Sprint(left))
	return nil
}

func delegate() error {
	for _, dir := range []string{userManager, userScope, userDir, userDir + "/config"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// Root's containers have had all of them.
	errs := []error{inside.Put("/sys/fs/cgroup/clearrun/cgroup.subtree_control", "-io")}
	for _, c := range []string{"+memory", "+pids", "+cpu", "-io"} {
		errs = append(errs, inside.Put("/sys/fs/cgroup/cgroup.subtree_control", c))
	}
	policy, err := os.ReadFile("/policy.yaml")
	errs = append(errs, err, os.WriteFile(userDir+"/config/policy.yaml", policy, 0o644))
	for _, path := range []string{
		userManager, userManager + "/cgroup.procs", userManager + "/cgroup.subtree_control", userScope, userScope + "/cgroup.procs",
		userDir, userDir + "/config", userDir + "/config/policy.yaml",
	} {
		errs = append(errs, os.Chown(path, user, user))
	}
	return errors.Join(errs...)
}

// userRun runs a shell's script in the image that has limits of its own, as the user.
func userRun(script string, options ...string) (stdout, stderr string, code int, err error) {
	scope, err := unix.Open(userScope, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", "", 0, err
	}
	defer unix.Close(scope)
	args := append([]string{"run", "--ns", "--store", userDir + "/store", "--config-dir", userDir + "/config", "--isolators", userDir + "/isolators.json"}, options...)
	cmd := exec.Command("/bin/clearrun", append(args, "/limits.aci", "--", "sh", "-c", script)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "HOME="+userDir, "USER="+strconv.Itoa(user))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}, UseCgroupFD: true, CgroupFD: scope}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	if err != nil {
		return "", "", 0, err
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode(), copyReport()
}

// copyReport puts the user's report where root's are.
func copyReport() error {
	data, err := os.ReadFile(userDir + "/isolators.json")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return errors.Join(err, os.WriteFile(isolators, data, 0o600))
}
