package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/test/debiankernel/inside"
)

// hostLabels are those that the host's tools would have given the files.
var hostLabels = map[string]string{
	"/bin/clearrun": "system_u:object_r:bin_t:s0",
	"/app.aci":      "system_u:object_r:usr_t:s0",
	"/dev/kvm":      "system_u:object_r:kvm_device_t:s0",
	"/dev/null":     "system_u:object_r:null_device_t:s0",
	"/dev/full":     "system_u:object_r:null_device_t:s0",
	"/dev/zero":     "system_u:object_r:zero_device_t:s0",
	"/dev/random":   "system_u:object_r:random_device_t:s0",
	"/dev/urandom":  "system_u:object_r:urandom_device_t:s0",
	"/dev/tty":      "system_u:object_r:devtty_t:s0",
}

// nobody is the user that monitors of root run as.
const nobody = 65534

// startVM runs a container in a VM, and finds its monitor.
func (who caller) startVM(name string) (*container, error) {
	c := &container{name: name, user: who.user}
	if who.user == 0 {
		c.user = nobody
	}
	c.cmd = who.commandAt("--vm", []string{"-m", "64M"}, "sh", "-c", "echo ready && sleep 1000")
	c.cmd.Stderr = os.Stdout
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	if line := bufio.NewScanner(out); !line.Scan() || line.Text() != "ready" {
		return nil, fmt.Errorf("it said %q, not ready: %v", line.Text(), c.cmd.Wait())
	}
	c.pid, err = childOf(c.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	c.label = labelOf(fmt.Sprintf("/proc/%d", c.pid))
	fmt.Printf("\nLABEL %s %s\n", name, c.label)
	return c, nil
}

// childOf finds the only child of a process.
func childOf(parent int) (int, error) {
	children, err := processes(func(dir string) bool {
		status, _ := os.ReadFile(dir + "/status")
		return strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", parent))
	})
	if err != nil {
		return 0, err
	}
	if len(children) != 1 {
		return 0, fmt.Errorf("process %d has the children %v, not one", parent, children)
	}
	return children[0], nil
}

// tellDescriptors tells the test outside what a monitor has open, and the labels of it.
func (c *container) tellDescriptors() error {
	dir := fmt.Sprintf("/proc/%d/fd/", c.pid)
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, fd := range list {
		target, err := os.Readlink(dir + fd.Name())
		if err != nil {
			return err
		}
		fmt.Printf("\nOPEN %s %s %s\n", c.name, target, fileLabel(dir+fd.Name()))
	}
	return nil
}

// fileLabel is empty for what has none, such as an eventfd.
func fileLabel(path string) string {
	var label [256]byte
	n, _ := unix.Getxattr(path, "security.selinux", label[:])
	return strings.Trim(string(label[:max(n, 0)]), "\x00")
}

// configuration is the file in memory that a monitor got (launch.ConfigFD), which is labelled
// like all that is its own.
func (c *container) configuration() string { return fmt.Sprintf("/proc/%d/fd/3", c.pid) }

// prepareProbe makes a file of the container's own that is this program.
func (c *container) prepareProbe() error {
	program, err := os.ReadFile("/init")
	if err != nil {
		return err
	}
	c.program = "/var/probe-" + c.name
	if err := os.WriteFile(c.program, program, 0o755); err != nil {
		return err
	}
	own := strings.NewReplacer("system_r:container_kvm_t", "object_r:container_file_t", "system_r:container_t", "object_r:container_file_t").Replace(c.label)
	return unix.Setxattr(c.program, "security.selinux", []byte(own), 0)
}

// labelHost labels files as a host's tools would have. The initial file system takes no
// labels of files from a kernel that enforces.
func labelHost() error {
	for path, label := range hostLabels {
		if err := unix.Setxattr(path, "security.selinux", []byte(label), 0); err != nil {
			return fmt.Errorf("label %s: %w", path, err)
		}
	}
	return nil
}

// tryMonitor has a process with the label of A's monitor do what only a permissive kernel lets
// it do.
func tryMonitor(a, b *container, mode string, works bool) error {
	for _, c := range []struct {
		what, path string
		works      bool
	}{
		{"its own configuration", a.configuration(), true},
		{"the image of both", imageOf(b), true},
		{"VM-B's configuration", b.configuration(), works},
		{"VM-B's memory", fmt.Sprintf("/proc/%d/mem", b.pid), works},
		{"the host's file", "/var/host/secret", works},
	} {
		f, err := os.Open(c.path)
		if err != nil {
			return err
		}
		if strings.HasSuffix(c.path, "/mem") {
			err = seekToMemory(f)
		}
		done, perr := a.escaped("/proc", f, a.program, "probe", inherit, "")
		if err := errors.Join(err, perr, f.Close()); err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		inside.Report(mode+": VM-A's monitor reads "+c.what, done == c.works, fmt.Sprintf("succeeded: %v, want %v", done, c.works))
	}
	done, err := a.escaped("/proc", nil, a.program, "probe", "kill", strconv.Itoa(b.pid))
	if err != nil {
		return err
	}
	inside.Report(mode+": VM-A's monitor kills VM-B's", done == works, fmt.Sprintf("succeeded: %v, want %v", done, works))
	b.reportLife(mode, works)
	return nil
}

// imageOf finds the root image that a monitor has open.
func imageOf(c *container) string {
	list, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", c.pid))
	for _, fd := range list {
		if target, _ := os.Readlink(fd); strings.HasSuffix(target, "/root.img") {
			return target
		}
	}
	return "no root.img"
}

// seekToMemory goes to the first page that the process has (proc(5), maps).
func seekToMemory(mem *os.File) error {
	maps, err := os.ReadFile(filepath.Dir(mem.Name()) + "/maps")
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(maps), "-")
	at, err := strconv.ParseInt(first, 16, 64)
	if err == nil {
		_, err = mem.Seek(at, io.SeekStart)
	}
	return err
}

// abandon kills clearrun, and waits for the end of its monitor, which a process that starts
// under another label than its parent's is not told of by itself.
func (c *container) abandon() error {
	if err := c.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = c.cmd.Wait()
	const looks = 500
	for range looks {
		if c.state() == "" || c.state() == "Z" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	inside.Report("a monitor ends with clearrun", c.state() == "" || c.state() == "Z", "state "+c.state())
	return nil
}
