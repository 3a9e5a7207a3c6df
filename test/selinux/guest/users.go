package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/test/debiankernel/inside"
)

// user is somebody who is not root.
func user() caller { return caller{user: 1000, dir: "/var/user"} }

// users has containers in user namespaces be apart as others are: those of root with --userns auto,
// and those of a user.
func users() error {
	if err := prepareHost(); err != nil {
		return err
	}
	if err := errors.Join(works(root("auto"), "--userns auto"), apart(root("auto"), "--userns auto")); err != nil {
		return fmt.Errorf("--userns auto: %w", err)
	}
	if err := user().makeFiles("/var/tools", "/var/shared", "/var/volume-A", "/var/volume-B"); err != nil {
		return err
	}
	if err := errors.Join(works(user(), "rootless"), apart(user(), "rootless")); err != nil {
		return fmt.Errorf("rootless: %w", err)
	}
	if err := usersVM(); err != nil {
		return err
	}
	taken, err := root("").start("C")
	if err != nil {
		return err
	}
	return errors.Join(labelOptions(taken), taken.end(), confined())
}

// usersVM starts a VM of a user who may use KVM.
func usersVM() error {
	if err := os.Chmod("/dev/kvm", 0o666); err != nil {
		return err
	}
	vm, err := user().startVM("VM")
	if err != nil {
		return fmt.Errorf("a user's VM: %w", err)
	}
	inside.Report("a user's VM runs", vm.owner() == "1000", vm.owner())
	return vm.end()
}

// confinedUser is the label of a user whom Debian's policy confines (semanage login -a -s user_u NAME).
const confinedUser = "user_u:user_r:user_t:s0"

// confined has such a user run clearrun. Only a login makes a process one of that user's; here a kernel does
// that does not enforce for the moment, and the process itself ends that moment.
func confined() error {
	if err := startConfined(exec.Command("/init", "probe", "run clearrun", "")); err != nil {
		return err
	}
	text, err := os.ReadFile(confinedSays)
	if err != nil {
		return err
	}
	said := string(text)
	inside.Report("a confined user is told that there are no labels", strings.Contains(said, "does not let "+confinedUser+" have process {transition} of ") &&
		strings.Contains(said, "run it as a user whom the policy does not confine"), fmt.Sprintf("%q", said))
	inside.Report("a confined user is refused, with a remedy", strings.Contains(said, "SELinux does not let this one") && strings.Contains(said, "semanage login"), fmt.Sprintf("%q", said))
	return nil
}

func startConfined(cmd *exec.Cmd) error {
	runtime.LockOSThread() // the label for the next program is a thread's
	defer runtime.UnlockOSThread()
	if err := errors.Join(inside.Put(enforce, "0"), inside.Put(execLabel, confinedUser)); err != nil {
		return err
	}
	defer func() { _ = inside.Put(execLabel, "\n") }()
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil // it may have failed
	}
	return errors.Join(err, inside.Put(enforce, "1"))
}

// confinedSays gets what clearrun says, for a confined user may not use what others have opened.
const confinedSays = "/tmp/confined/said"

// becomeConfined makes files for the user, lets the kernel enforce again, and executes clearrun.
func becomeConfined() error {
	who := caller{user: 1001, dir: filepath.Dir(confinedSays)}
	if err := who.makeFiles(); err != nil {
		return err
	}
	said, err := os.Create(confinedSays)
	if err != nil {
		return err
	}
	id := int(who.user)
	switchBack, err := os.OpenFile(enforce, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(syscall.Setgid(id), syscall.Setuid(id)); err != nil {
		return err
	}
	if _, err := switchBack.WriteString("1"); err != nil {
		return err
	}
	for fd := range 3 {
		if err := unix.Dup3(int(said.Fd()), fd, 0); err != nil {
			return err
		}
	}
	cmd := who.command(nil, "true")
	return unix.Exec(cmd.Path, cmd.Args, cmd.Environ())
}

// rights is what root of a container may do to what is the container's, and then its users.
func rights(owner string) string {
	return strings.ReplaceAll("cd /dev/shm && busybox mkdir d && busybox chown OWNER d && busybox chmod 2700 d && busybox touch d/f && busybox chown OWNER d/f && "+
		"busybox chroot / busybox true && { busybox sleep 100 & busybox kill $!; } && busybox stat -c %u:%g d/f && busybox id -u", "OWNER", owner)
}

// works runs apps with rights of their user namespace, under the label of containers.
func works(who caller, mode string) error {
	type app struct {
		what    string
		options []string
		script  string
		want    string
	}
	apps := []app{{"an app has its label", nil, "busybox cut -d: -f3 /proc/self/attr/current", "container_t\n"}}
	apps = append(apps, app{"an app has a terminal", []string{"-t"}, "busybox tty; echo to the terminal >/dev/tty", "/dev/pts/0\r\nto the terminal\r\n"})
	// They are the host's own.
	apps = append(apps, app{"an app reads devices", nil, "for d in null full zero random urandom; do busybox head -c 4 </dev/$d | busybox wc -c; done", "0\n4\n4\n4\n4\n"})
	if who.user == 0 {
		apps = append(apps, app{"an app uses root's rights", nil, rights("5:6"), "5:6\n0\n"},
			app{"an app is another user", []string{"--user", "5:6"}, "busybox id -u; busybox id -g; echo >/dev/stderr", "5\n6\n\n"})
	} else { // without ranges of IDs
		apps = append(apps, app{"an app uses root's rights", nil, rights("0:0"), "0:0\n0\n"})
	}
	for _, a := range apps {
		out, err := who.command(a.options, "sh", "-c", a.script).CombinedOutput()
		inside.Report(mode+": "+a.what, err == nil && string(out) == a.want, fmt.Sprintf("%v, %q", err, out))
	}
	return nil
}

// apart has a process that has left container A, and kept its label, try what it may not.
func apart(who caller, mode string) error {
	b, err := who.start("B")
	if err != nil {
		return fmt.Errorf("container B: %w", err)
	}
	a, err := who.start("A")
	if err != nil {
		return fmt.Errorf("container A: %w", err)
	}
	const secret = "/var/shared/secret"
	if err := errors.Join(os.Link("/var/host/secret", secret), a.prepareProbe()); err != nil {
		return err
	}
	inside.Report(mode+": labels differ", a.label != b.label && a.label != "", a.label+" "+b.label)
	owner := a.owner()
	inside.Report(mode+": root of the container is somebody else", owner != "" && owner != "0", owner)
	return errors.Join(tryReach(a, b, mode, false), try(a, b, mode, false), a.end(), b.end(), os.Remove(secret))
}

// owner is the user that the container's app is on the host.
func (c *container) owner() string {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.pid))
	_, line, _ := strings.Cut(string(status), "\nUid:")
	if fields := strings.Fields(line); len(fields) > 0 {
		return fields[0]
	}
	return ""
}

// end ends the container.
func (c *container) end() error {
	err := c.cmd.Process.Kill()
	_ = c.cmd.Wait()
	return err
}

// makeFiles makes what the caller keeps, and gives it with other trees to the caller.
func (who caller) makeFiles(trees ...string) error {
	if err := os.MkdirAll(who.dir+"/config", 0o755); err != nil {
		return err
	}
	policy, err := os.ReadFile("/policy.yaml")
	if err != nil {
		return err
	}
	errs := []error{os.WriteFile(who.dir+"/config/policy.yaml", policy, 0o644)}
	for _, tree := range append(trees, who.dir) {
		errs = append(errs, filepath.WalkDir(tree, func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Chown(path, int(who.user), int(who.user)))
		}))
	}
	return errors.Join(errs...)
}
