package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/mdlayher/vsock"
	"golang.org/x/sys/unix"
)

// Report is what an app can see of its surroundings. Errors are texts, empty if all
// went well.
type Report struct {
	Args, Env     []string
	Dir, Hostname string
	UID, GID      int
	Groups        []int
	PID           int

	// Status is /proc/self/status, MemInfo /proc/meminfo in KiB.
	Status  map[string]string
	MemInfo map[string]string
	Mounts  map[string]Mount // by mount point
	Devices map[string]Device
	Files   map[string]string // contents, by path

	CPUs        int
	Threads     []Thread
	DirWrite    string // error of making a file in the working directory
	ShmWrite    string // error of making a file in /dev/shm
	Loopback    string // error of talking to itself over 127.0.0.1
	Interfaces  []string
	VSock       map[uint32]string // what a connection to this port of the host came to
	Time        time.Time
	Random      [2]string
	Descriptors []string // what 0, 1 and 2 are
}

// Mount is one line of /proc/self/mountinfo.
type Mount struct{ Type, Options string }

// Device is a node in /dev.
type Device struct {
	Type         string // such as "Dc---------"
	Major, Minor uint32
	Perm         fs.FileMode
	Target       string // of a symbolic link
	Error        string
}

// report prints a Report.
func report([]string) error {
	r := Report{
		Args: os.Args, Env: os.Environ(), UID: os.Getuid(), GID: os.Getgid(), PID: os.Getpid(),
		CPUs: runtime.NumCPU(), Time: time.Now(),
		Status: fields("/proc/self/status"), MemInfo: fields("/proc/meminfo"),
		Mounts: mounts(), Devices: devices(), Files: files(),
		DirWrite: text(tryWrite("probe-was-here")), ShmWrite: text(tryWrite("/dev/shm/probe")),
		Loopback: text(loopback()), VSock: dialHost(),
	}
	var err error
	if r.Dir, err = os.Getwd(); err != nil {
		return err
	}
	if r.Hostname, err = os.Hostname(); err != nil {
		return err
	}
	if r.Groups, err = os.Getgroups(); err != nil {
		return err
	}
	if err := r.network(); err != nil {
		return err
	}
	for fd := range 3 {
		target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err != nil {
			return err
		}
		r.Descriptors = append(r.Descriptors, target)
	}
	for i := range r.Random {
		b := make([]byte, 16)
		if _, err := unix.Getrandom(b, 0); err != nil {
			return err
		}
		r.Random[i] = fmt.Sprintf("%x", b)
	}
	if r.CPUs > 1 {
		if r.Threads, err = occupyCPUs(r.CPUs); err != nil {
			return err
		}
	}
	return printJSON(r)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// network lists the interfaces with their addresses.
func (r *Report) network() error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range interfaces {
		r.Interfaces = append(r.Interfaces, i.Name+" "+i.Flags.String())
	}
	return nil
}

// fields reads lines of "key: value".
func fields(path string) map[string]string {
	m := map[string]string{}
	data, err := os.ReadFile(path)
	if err != nil {
		m["error"] = err.Error()
	}
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			m[k] = strings.TrimSuffix(strings.TrimSpace(v), " kB")
		}
	}
	return m
}

// mounts reads /proc/self/mountinfo (proc_pid_mountinfo(5)).
func mounts() map[string]Mount {
	m := map[string]Mount{}
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		m["error"] = Mount{Options: err.Error()}
	}
	for line := range strings.Lines(string(data)) {
		before, after, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if ok && len(f) >= 6 && len(g) >= 1 {
			m[f[4]] = Mount{Type: g[0], Options: f[5]}
		}
	}
	return m
}

func devices() map[string]Device {
	m := map[string]Device{}
	for _, name := range []string{
		"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts/ptmx",
		"fd", "stdin", "stdout", "stderr", "kvm", "vda", "mem", "vsock",
	} {
		m[name] = device("/dev/" + name)
	}
	return m
}

func device(path string) Device {
	info, err := os.Lstat(path)
	if err != nil {
		return Device{Error: err.Error()}
	}
	d := Device{Type: info.Mode().Type().String(), Perm: info.Mode().Perm()}
	if info.Mode()&fs.ModeSymlink != 0 {
		d.Target, err = os.Readlink(path)
		d.Error = text(err)
	}
	var st unix.Stat_t
	if unix.Lstat(path, &st) == nil {
		d.Major, d.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	}
	return d
}

func files() map[string]string {
	m := map[string]string{}
	for _, path := range []string{"/etc/hostname", "/etc/hosts", "/etc/motd", "/proc/1/comm"} {
		data, err := os.ReadFile(path)
		if err != nil {
			data = []byte("error: " + err.Error())
		}
		m[path] = string(data)
	}
	return m
}

func tryWrite(path string) error {
	return os.WriteFile(path, []byte("x"), 0o644)
}

// loopback sends a line from one end of a TCP connection to the other.
func loopback() error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	out, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		return err
	}
	defer out.Close()
	in, err := l.Accept()
	if err != nil {
		return err
	}
	defer in.Close()
	if _, err := out.Write([]byte("hello")); err != nil {
		return err
	}
	got := make([]byte, len("hello"))
	if _, err := io.ReadFull(in, got); err != nil {
		return err
	}
	if string(got) != "hello" {
		return fmt.Errorf("got %q", got)
	}
	return nil
}

// dialHost tries the ports that PID 1 talks to the host through, and one that nobody
// listens on. No app may get anything from them.
func dialHost() map[uint32]string {
	found := map[uint32]string{}
	for _, port := range []uint32{1024, 1025, 1026, 1027, 9999} {
		c, err := vsock.Dial(vsock.Host, port, nil)
		if err != nil {
			found[port] = "refused"
			continue
		}
		n, err := c.Read(make([]byte, 1))
		found[port] = fmt.Sprintf("%d bytes, then an end: %v", n, errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET))
		c.Close()
	}
	return found
}
