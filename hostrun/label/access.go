package label

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	selinux "github.com/opencontainers/selinux/go-selinux"
	"golang.org/x/sys/unix"
)

// policyFS is where the kernel answers questions about the loaded policy (selinuxfs).
const policyFS = "/sys/fs/selinux"

// xattr is where a file's label is.
const xattr = "security.selinux"

// may asks the loaded policy whether processes with one label may do all of that to objects of
// a class with another. A class or permission that the policy does not know is none that it forbids.
func may(source, target, class string, permissions ...string) (bool, error) {
	index, err := os.ReadFile(policyFS + "/class/" + class + "/index")
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	allowed, err := query(source + " " + target + " " + strings.TrimSpace(string(index)))
	if err != nil {
		return false, fmt.Errorf("ask the SELinux policy about %s and %s: %w", source, target, err)
	}
	for _, p := range permissions {
		bit, err := os.ReadFile(policyFS + "/class/" + class + "/perms/" + p)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(bit)))
		if err != nil || n < 1 || n > 32 {
			return false, fmt.Errorf("permission %s of class %s has the number %q", p, class, bit)
		}
		if allowed&(1<<(n-1)) == 0 {
			return false, nil
		}
	}
	return true, nil
}

// query gives the access vector that the policy allows.
func query(question string) (allowed uint32, err error) {
	f, err := os.OpenFile(policyFS+"/access", os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if _, err := f.WriteString(question); err != nil {
		return 0, err
	}
	var answer [256]byte
	n, err := f.Read(answer[:])
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscanf(string(answer[:n]), "%x", &allowed)
	return allowed, err
}

// labelOf reads a file's label, as the kernel sees it.
func labelOf(f *os.File) (string, error) {
	var b [4096]byte
	n, err := unix.Fgetxattr(int(f.Fd()), xattr, b[:])
	if err != nil {
		return "", fmt.Errorf("read the label of %s: %w", nameOf(f), err)
	}
	return strings.TrimRight(string(b[:n]), "\x00"), nil
}

func setLabel(f *os.File, label string) error {
	if err := unix.Fsetxattr(int(f.Fd()), xattr, []byte(label), 0); err != nil {
		return fmt.Errorf("label %s %s: %w", nameOf(f), label, err)
	}
	return nil
}

// An obstacle is why the policy does not let a monitor run under its label.
type obstacle string

func (o obstacle) Error() string { return string(o) }

// question is what a policy may allow.
type question struct {
	source, target, class string
	permissions           []string
}

// startable finds out whether this process may start another one as the lease's process: a monitor from a
// file in memory that bears the lease's file label. For the kernel, files in memory are on a
// file system that is mounted nosuid. A container's PID 1 becomes such a process itself, and its app does on
// execution; clearrun has sockets with its label.
func (l *Lease) startable(kind Kind) error {
	own, err := selinux.CurrentLabel()
	if err != nil {
		return err
	}
	questions := []question{
		{own, l.process, "process", []string{"transition"}},
		{l.process, l.file, "file", []string{"entrypoint", "execute", "read", "map"}},
		{l.process, own, "fd", []string{"use"}},
	}
	switch kind {
	case Monitor:
		questions = append(questions, question{own, l.process, "process2", []string{"nosuid_transition"}})
	case Container:
		questions = append(questions,
			question{own, l.process, "process", []string{"dyntransition"}},
			question{own, l.process, "unix_stream_socket", []string{"create", "read", "write"}})
	}
	for _, q := range questions {
		if err := q.ask(); err != nil {
			return err
		}
	}
	return nil
}

func (q question) ask() error {
	ok, err := may(q.source, q.target, q.class, q.permissions...)
	if err == nil && !ok {
		err = obstacle(fmt.Sprintf("the SELinux policy does not let %s have %s {%s} of %s: give clearrun's executable the label of container runtimes, "+
			"or run it as a user whom the policy does not confine (docs/selinux.md)", q.source, q.class, strings.Join(q.permissions, " "), q.target))
	}
	return err
}

// inheritable finds out whether the lease's process gets the open file: the kernel puts
// /dev/null in its place where the policy forbids that.
func (l *Lease) inheritable(f *os.File) error {
	label, err := labelOf(f)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	class, permissions := "file", []string{"getattr", "read", "map"}
	if info.Mode()&os.ModeCharDevice != 0 {
		class, permissions = "chr_file", []string{"getattr", "read", "write", "ioctl"}
	}
	ok, err := may(l.process, label, class, permissions...)
	if err == nil && !ok {
		err = obstacle(fmt.Sprintf("the SELinux policy does not let %s use %s, whose label is %s: restore its label (restorecon)", l.process, nameOf(f), label))
	}
	return err
}

// nameOf is where an open file is; its Name may lead through /proc/self.
func nameOf(f *os.File) string {
	if path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); err == nil {
		return path
	}
	return f.Name()
}
