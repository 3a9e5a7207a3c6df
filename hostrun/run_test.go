package hostrun_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/attach"
	"github.com/clearrun/clearrun/hostrun"
	"github.com/clearrun/clearrun/pod"
)

func TestStreamsStayApart(t *testing.T) {
	r := shell(t, pod.Overrides{}, "echo to stdout; echo to stderr >&2; exit 3")
	r.want(t, 3, "to stdout\n")
	if r.stderr != "to stderr\n" {
		t.Errorf("stderr %q", r.stderr)
	}
}

func TestStdinIsCarried(t *testing.T) {
	input := strings.Repeat("0123456789abcdef", 1<<16)
	if r := run(t, pod.Overrides{}, input, "/bin/cat"); r.code != 0 || r.stdout != input {
		t.Errorf("exit code %d, %v: %d bytes of %d came back", r.code, r.err, len(r.stdout), len(input))
	}
}

func TestHowTheAppEnds(t *testing.T) {
	for _, tt := range []struct {
		command []string
		code    int
		err     string
	}{
		{[]string{"/bin/true"}, 0, ""},
		{[]string{"/bin/sh", "-c", "exit 255"}, 255, ""},
		{[]string{"/bin/sh", "-c", "kill -TERM $$"}, 143, ""},
		{[]string{"/bin/sh", "-c", "kill -KILL $$"}, 137, ""},
		{[]string{"/etc/motd"}, 126, "permission denied"},
		{[]string{"nowhere"}, 127, "nowhere"},
	} {
		r := run(t, pod.Overrides{}, "", tt.command...)
		if r.code != tt.code || (r.err == nil) != (tt.err == "") || r.err != nil && !strings.Contains(r.err.Error(), tt.err) {
			t.Errorf("%q: exit code %d, %v; want %d, %q", tt.command, r.code, r.err, tt.code, tt.err)
		}
	}
}

func TestSurroundings(t *testing.T) {
	for _, tt := range []struct {
		name   string
		o      pod.Overrides
		script string
		want   string
	}{
		{"host name", pod.Overrides{Hostname: "box"}, "hostname; cat /etc/hostname", "box\nbox\n"},
		{"user", pod.Overrides{User: "worker"}, "id -u; id -g; echo $HOME", "1234\n2345\n/home/worker\n"},
		{"environment", pod.Overrides{Env: []string{"A=b c"}}, "echo $A", "b c\n"},
		{"working directory", pod.Overrides{Dir: "/srv/new"}, "pwd", "/srv/new\n"},
		{"image", pod.Overrides{}, "cat /etc/motd", "from the image\n"},
		{"writable root", pod.Overrides{}, "echo x >/etc/new && cat /etc/new", "x\n"},
		{"read-only root", pod.Overrides{ReadOnlyRoot: true}, "touch /etc/new 2>/dev/null || echo refused; echo x >/dev/shm/y && cat /dev/shm/y", "refused\nx\n"},
		{"no other processes", pod.Overrides{}, "echo /proc/[0-9]*", "/proc/1 /proc/2\n"},
		{"only loopback", pod.Overrides{}, "tail -n +3 /proc/net/dev | wc -l; ip -o -4 addr show dev lo | grep -c 127.0.0.1", "1\n1\n"},
		{"only these devices", pod.Overrides{}, "cd /dev; for f in *; do test -c $f -a ! -L $f && echo $f; done; true", "full\nnull\nrandom\ntty\nurandom\nzero\n"},
		{"capabilities", pod.Overrides{CapDrop: []string{"ALL"}, CapAdd: []string{"KILL"}}, "grep CapBnd /proc/self/status", "CapBnd:\t0000000000000020\n"},
		{"no new privileges", pod.Overrides{NoNewPrivileges: true, User: "worker"}, "/bin/probe euid", "1234\n"},
		{"set-user-ID", pod.Overrides{User: "worker"}, "/bin/probe euid", "0\n"},
		{"time namespace", pod.Overrides{}, fmt.Sprintf("test $(/bin/busybox readlink /proc/self/ns/time) != %s && echo own", link("/proc/self/ns/time")), "own\n"},
		{"one cgroup namespace", pod.Overrides{}, "grep -vc ':/$' /proc/self/cgroup; true", "0\n"},
		{"limits", pod.Overrides{Rlimits: []pod.Rlimit{{Resource: unix.RLIMIT_NOFILE, Soft: 77, Hard: 88}}}, "ulimit -n; ulimit -Hn", "77\n88\n"},
	} {
		t.Run(tt.name, func(t *testing.T) { shell(t, tt.o, tt.script).want(t, 0, tt.want) })
	}
}

// TestNamespaces compares the container's with this process's. There is one for users where somebody has asked for it.
func TestNamespaces(t *testing.T) {
	names := []string{"mnt", "pid", "net", "ipc", "uts", "cgroup", "time"}
	if os.Getenv(rootlessDir) != "" {
		names = append(names, "user")
	}
	for _, name := range names {
		// Not self: another test may have left the main thread in namespaces of its own.
		own := link("/proc/thread-self/ns/" + name)
		r := run(t, pod.Overrides{}, "", "/bin/busybox", "readlink", "/proc/self/ns/"+name)
		if !strings.HasPrefix(r.stdout, name+":[") || r.stdout == own+"\n" {
			t.Errorf("%s: the container's is %q, %v, the host's %q", name, r.stdout, r.err, own)
		}
	}
}

func TestTerminal(t *testing.T) {
	aci := setUp(t)
	p := openPod(t, aci, policyNS, pod.Overrides{TTY: true, Entrypoint: []string{"/bin/sh", "-c", "stty size; test -t 0 && echo terminal; ls -1 /dev/pts"}})
	var out bytes.Buffer
	r := runPod(t, p, attach.Streams{Stdout: &out, Stderr: &out, WindowSize: func() (uint16, uint16) { return 33, 99 }})
	if want := "33 99\r\nterminal\r\n0\r\nptmx\r\n"; r.code != 0 || out.String() != want {
		t.Errorf("exit code %d, %v: %q, want %q", r.code, r.err, out.String(), want)
	}
}

// lineWriter calls onLine for each line written to it.
type lineWriter struct {
	buf    []byte
	onLine func(string)
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.buf = append(w.buf, p...)
	for {
		line, rest, found := bytes.Cut(w.buf, []byte("\n"))
		if !found {
			return len(p), nil
		}
		w.buf = rest
		w.onLine(string(line))
	}
}

func TestSignalReachesTheApp(t *testing.T) {
	aci := setUp(t)
	p := openPod(t, aci, policyNS, pod.Overrides{Entrypoint: []string{"/bin/sh", "-c", `trap 'echo got it; exit 5' USR1; echo ready; while :; do sleep 0.05; done`}})
	signals := make(chan os.Signal, 1)
	var lines []string
	out := &lineWriter{onLine: func(line string) {
		if lines = append(lines, line); line == "ready" {
			signals <- unix.SIGUSR1
		}
	}}
	r := runPod(t, p, attach.Streams{Stdout: out, Stderr: io.Discard, Signals: signals})
	if r.code != 5 || len(lines) != 2 || lines[1] != "got it" {
		t.Errorf("exit code %d, %v: %q", r.code, r.err, lines)
	}
}

func TestContextEndsTheContainer(t *testing.T) {
	aci := setUp(t)
	p := openPod(t, aci, policyNS, pod.Overrides{Entrypoint: []string{"/bin/sh", "-c", "echo ready; sleep 1000"}})
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	out := &lineWriter{onLine: func(string) { cancel(why) }}
	code, err := hostrun.Run(ctx, p, hostrun.Options{Bundle: shared.host, Streams: attach.Streams{Stdout: out, Stderr: io.Discard}})
	if code != hostrun.ExitFailure || !errors.Is(err, why) {
		t.Errorf("exit code %d, %v", code, err)
	}
	nothingLeft(t)
}

// nothingLeft looks for what a container could leave behind.
func nothingLeft(t *testing.T) {
	t.Helper()
	// Others on this machine run containers, too: theirs come and go.
	deadline := time.Now().Add(patience)
	for left := emptyCgroups(t); len(left) > 0; left = emptyCgroups(t) {
		if time.Now().After(deadline) {
			t.Errorf("left behind: %v", left)
			break
		}
		ts := unix.NsecToTimespec(int64(10 * time.Millisecond))
		_ = unix.Nanosleep(&ts, nil)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), " erofs ") && strings.Contains(string(mounts), shared.dir) {
		t.Error("a root image is still mounted on the host")
	}
}

// patience bounds a wait for something that must happen.
const patience = 30 * time.Second

// emptyCgroups lists those of containers that have no process.
func emptyCgroups(t *testing.T) (empty []string) {
	t.Helper()
	for _, pattern := range []string{"/sys/fs/cgroup/clearrun/*/cgroup.procs", "/sys/fs/cgroup/*/clearrun/*/cgroup.procs"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if procs, err := os.ReadFile(path); err == nil && len(procs) == 0 {
				empty = append(empty, filepath.Dir(path))
			}
		}
	}
	return empty
}

func TestMemoryLimit(t *testing.T) {
	r := shell(t, pod.Overrides{MemoryBytes: 64 << 20}, "dd if=/dev/zero of=/dev/null bs=200M count=1")
	if r.code == 0 || r.err != nil && !strings.Contains(r.err.Error(), "--memory") {
		t.Errorf("200 MB in 64: exit code %d, %v", r.code, r.err)
	}
	// PID 1's own report: the shell is what gets killed.
	r = run(t, pod.Overrides{MemoryBytes: 64 << 20}, "", "/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1")
	if r.code != 137 || r.err == nil || !strings.Contains(r.err.Error(), "want of memory") {
		t.Errorf("exit code %d, %v", r.code, r.err)
	}
	shell(t, pod.Overrides{MemoryBytes: 512 << 20}, "dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null && echo ok").want(t, 0, "ok\n")
}

func TestProcessLimit(t *testing.T) {
	r := shell(t, pod.Overrides{MemoryBytes: 1 << 30}, "i=0; while [ $i -lt 5000 ]; do sleep 100 & i=$((i+1)); done; echo all of them")
	if strings.Contains(r.stdout, "all of them") || !strings.Contains(r.stderr, "fork") {
		t.Errorf("5000 processes: %q, %.200q", r.stdout, r.stderr)
	}
}

func TestCPULimit(t *testing.T) {
	aci := setUp(t)
	p := openPod(t, aci, policyNS, pod.Overrides{CPUs: 1, Entrypoint: []string{"/bin/sh", "-c", "echo ready; sleep 1000"}})
	ctx, cancel := context.WithCancel(t.Context())
	var limits []string
	out := &lineWriter{onLine: func(string) {
		for _, pattern := range []string{"/sys/fs/cgroup/cpu/clearrun/*/cpu.cfs_quota_us", "/sys/fs/cgroup/clearrun/*/cpu.max"} {
			files, _ := filepath.Glob(pattern)
			for _, f := range files {
				text, _ := os.ReadFile(f)
				limits = append(limits, strings.TrimSpace(string(text)))
			}
		}
		cancel()
	}}
	_, _ = hostrun.Run(ctx, p, hostrun.Options{Bundle: shared.host, Streams: attach.Streams{Stdout: out, Stderr: io.Discard}})
	if got := fmt.Sprint(limits); !strings.Contains(got, "100000") {
		t.Errorf("limits in force: %s", got)
	}
}

func TestWritableLayerIsBounded(t *testing.T) {
	r := shell(t, pod.Overrides{MemoryBytes: 128 << 20}, "dd if=/dev/zero of=/big bs=1M count=100 2>&1 | grep -o 'No space left'; true")
	r.want(t, 0, "No space left\n")
}

func TestRefusals(t *testing.T) {
	aci := setUp(t)
	vm := openPod(t, aci, strings.Split(strings.Replace(policyNS, "[ns]", "[vm]", 1), "  allow")[0], pod.Overrides{})
	for name, p := range map[string]*pod.Pod{"no verdict": {}, "a verdict for a VM": vm} {
		if code, err := hostrun.Run(t.Context(), p, hostrun.Options{Bundle: shared.host}); code != hostrun.ExitFailure || err == nil || !strings.Contains(err.Error(), "verdict") {
			t.Errorf("%s: exit code %d, %v", name, code, err)
		}
	}
}

// link is where a symbolic link leads to.
func link(path string) string {
	target, err := os.Readlink(path)
	if err != nil {
		return "nowhere"
	}
	return target
}
