package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/test/debiankernel/inside"
)

// container is one that runs.
type container struct {
	name, label string
	pid         int    // of its app, or of its VM's monitor, on the host
	program     string // a copy of this program that processes with the label may be
	user        uint32 // of its processes
	cmd         *exec.Cmd
}

// checks runs two containers, and lets what would be a process of A that has left its
// namespaces try to read and to kill: under an enforcing kernel, then under a permissive one.
func checks() error {
	if err := prepareHost(); err != nil {
		return err
	}
	vmB, err := root("").startVM("VM-B")
	if err != nil {
		return fmt.Errorf("VM B: %w", err)
	}
	vmA, err := root("").startVM("VM-A")
	if err != nil {
		return fmt.Errorf("VM A: %w", err)
	}
	b, err := root("").start("B")
	if err != nil {
		return fmt.Errorf("container B: %w", err)
	}
	a, err := root("").start("A")
	if err != nil {
		return fmt.Errorf("container A: %w", err)
	}
	// Behind the containers' start, which labelled all that was there.
	if err := os.Link("/var/host/secret", "/var/shared/secret"); err != nil {
		return err
	}
	if err := errors.Join(vmB.tellDescriptors(), vmB.prepareProbe(), vmA.prepareProbe(), a.prepareProbe()); err != nil {
		return err
	}
	inside.Report("monitors' labels differ", vmA.label != vmB.label, vmA.label+" "+vmB.label)
	inside.Report("labels differ", a.label != b.label && a.label != "", a.label+" "+b.label)
	if err := errors.Join(tryReach(a, b, "enforcing", false), tryKeyrings(a, b, "enforcing", false), try(a, b, "enforcing", false), tryMonitor(vmA, vmB, "enforcing", false)); err != nil {
		return err
	}
	if err := inside.Put(enforce, "0"); err != nil {
		return err
	}
	if err := errors.Join(tryReach(a, b, "permissive", true), tryKeyrings(a, b, "permissive", true), try(a, b, "permissive", true), tryMonitor(vmA, vmB, "permissive", true)); err != nil {
		return err
	}
	if err := inside.Put(enforce, "1"); err != nil {
		return err
	}
	return vmA.abandon()
}

// prepareHost makes the kernel enforce, and the files that the checks are about.
func prepareHost() error {
	if err := labelHost(); err != nil {
		return err
	}
	for path, value := range map[string]string{
		enforce:                             "1",
		"/proc/sys/kernel/printk_ratelimit": "0", // no denial may go unseen
	} {
		if err := inside.Put(path, value); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	return prepareFiles()
}

// try has A's escaped process do what only a permissive kernel lets it do.
func try(a, b *container, mode string, works bool) error {
	for _, c := range []struct {
		what, dir string
		args      []string
		works     bool
	}{
		{"A reads its own file", a.root(), []string{"cat", "own"}, true},
		{"A reads B's file", b.root(), []string{"cat", "own"}, works},
		{"A reads the host's file", "/var/host", []string{"cat", "secret"}, works},
		{"A kills B", "/", []string{"kill", "-9", strconv.Itoa(b.pid)}, works},
	} {
		done, err := a.escaped(c.dir, nil, a.root()+"/bin/busybox", c.args...)
		if err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		inside.Report(mode+": "+c.what, done == c.works, fmt.Sprintf("succeeded: %v, want %v", done, c.works))
	}
	b.reportLife(mode, works)
	return nil
}

// reportLife tells whether the container outlived an attempt to kill it, which was to work or not.
func (c *container) reportLife(mode string, killed bool) {
	alive := unix.Kill(c.pid, 0) == nil && c.state() != "Z"
	if killed {
		_ = c.cmd.Wait()
		alive = unix.Kill(c.pid, 0) == nil
	}
	inside.Report(mode+": "+c.name+" lives", alive == !killed, fmt.Sprintf("lives: %v, want %v", alive, !killed))
}

func prepareFiles() error {
	for _, dir := range []string{"/var/config", "/var/host", "/var/tools", "/var/shared", "/var/volume-A", "/var/volume-B", "/var/volume-C"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	program, err := os.ReadFile("/init")
	if err != nil {
		return err
	}
	if err := os.WriteFile(tools, program, 0o755); err != nil {
		return err
	}
	policy, err := os.ReadFile("/policy.yaml")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile("/var/config/policy.yaml", policy, 0o600), os.WriteFile("/var/host/secret", []byte("secret\n"), 0o644))
}

// tools is this program, in a volume of all containers.
const tools = "/var/tools/guest"

// caller is who runs clearrun, and how.
type caller struct {
	user    uint32
	dir     string // for what the caller keeps
	options []string
}

// root is the administrator; userNS is a value of --userns, or empty.
func root(userNS string) caller {
	c := caller{dir: "/var"}
	if userNS != "" {
		c.options = []string{"--userns", userNS}
	}
	return c
}

// command runs a program in a container.
func (c caller) command(options []string, args ...string) *exec.Cmd {
	return c.commandAt("--ns", options, args...)
}

// commandAt runs a program at a tier.
func (c caller) commandAt(tier string, options []string, args ...string) *exec.Cmd {
	line := slices.Concat([]string{"run", "--store", c.dir + "/store", "--config-dir", c.dir + "/config", tier}, c.options, options, []string{"/app.aci", "--"}, args)
	cmd := exec.Command("/bin/clearrun", line...)
	cmd.Env = append(os.Environ(), "HOME="+c.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: c.user, Gid: c.user}}
	return cmd
}

// start runs a container that writes files and stays, listening.
func (who caller) start(name string) (*container, error) {
	c := &container{name: name}
	c.cmd = who.command([]string{"--network", "host", "-v", "/var/tools:/tools:ro,z", "-v", "/var/shared:/shared:z", "-v", "/var/volume-" + name + ":/volume:Z"},
		"sh", "-c", "echo "+name+" | tee /own /volume/file > /shared/"+name+" && cat /proc/self/attr/current && echo && exec /tools/guest probe listen "+c.socket())
	c.cmd.Stderr = os.Stdout
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := strings.Trim(lines.Text(), "\x00")
		if line == "ready" {
			return c, c.find()
		}
		if strings.Contains(line, ":") {
			c.label = line
		}
	}
	return nil, fmt.Errorf("it ended: %v", c.cmd.Wait())
}

// find waits for the app's last command, whose label is what /proc says, too.
func (c *container) find() error {
	const looks = 500
	for range looks {
		if err := c.look(); err != nil || c.pid != 0 {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("no process has the label %q", c.label)
}

func (c *container) look() error {
	found, err := processes(func(dir string) bool {
		line, _ := os.ReadFile(dir + "/cmdline")
		return labelOf(dir) == c.label && strings.HasPrefix(string(line), "/tools/guest")
	})
	if err != nil || len(found) == 0 {
		return err
	}
	c.pid = found[0]
	fmt.Printf("\nLABEL %s %s\n", c.name, c.label)
	return nil
}

// processes lists those that fit, each by its folder in /proc.
func processes(fits func(dir string) bool) (pids []int, err error) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, d := range dirs {
		if pid, err := strconv.Atoi(d.Name()); err == nil && fits("/proc/"+d.Name()) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// labelOf is the label of a process, by its folder in /proc.
func labelOf(dir string) string {
	label, _ := os.ReadFile(dir + "/attr/current")
	return strings.Trim(string(label), "\x00\n")
}

// root is the container's root directory. It is entered, and its program executed, with
// the rights of an administrator; what is done there, with the container's.
func (c *container) root() string { return fmt.Sprintf("/proc/%d/root", c.pid) }

func (c *container) state() string {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	return rest[:min(1, len(rest))]
}

// enforce is the file with the kernel's mode: 1 or 0.
const enforce = "/sys/fs/selinux/enforce"

// execLabel is the file with the label of the next program that this thread executes.
const execLabel = "/proc/thread-self/attr/exec"

// escaped runs a program with the container's label and user, but on the host: in no
// namespace. It says whether the program succeeded.
func (c *container) escaped(dir string, stdin *os.File, program string, args ...string) (bool, error) {
	runtime.LockOSThread() // the label for the next program is a thread's
	defer runtime.UnlockOSThread()
	if err := inside.Put(execLabel, c.label); err != nil {
		return false, err
	}
	defer func() { _ = inside.Put(execLabel, "\n") }() // the policy's choice again
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	if stdin != nil {
		cmd.Stdin = stdin
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: c.user, Gid: c.user}}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return false, err
	}
	return err == nil, nil
}
