package hostrun_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/attach"
	"github.com/clearrun/clearrun/hostrun"
	"github.com/clearrun/clearrun/pod"
)

// policyHost lets the test's images run at tier host.
var policyHost = strings.Replace(policyNS, "[ns]", "[host]", 1)

func hostShell(t *testing.T, o pod.Overrides, script string) result {
	t.Helper()
	aci := setUp(t)
	o.Entrypoint = []string{"/bin/sh", "-c", script}
	return runPod(t, openPod(t, aci, policyHost, o), attach.Streams{})
}

func TestHostSurroundings(t *testing.T) {
	dir := hostFolder(t)
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		o      pod.Overrides
		script string
		want   string
	}{
		{"the image's root", pod.Overrides{}, "cat /etc/motd; ls -d /work /root 2>/dev/null; true", "from the image\n"},
		{"exit code", pod.Overrides{}, "cat /etc/motd", "from the image\n"},
		{"the host's name", pod.Overrides{}, "hostname; cat /etc/hostname", name + "\n" + name + "\n"},
		{"the host's processes", pod.Overrides{}, fmt.Sprintf("test -d /proc/%d && echo yes", os.Getpid()), "yes\n"},
		{"the host's devices", pod.Overrides{}, "test -c /dev/loop-control -o -c /dev/kmsg -o -e /dev/kvm && echo yes", "yes\n"},
		{"user", pod.Overrides{User: "worker"}, "id -u; echo $HOME", "1234\n/home/worker\n"},
		{"volume", pod.Overrides{Volumes: []pod.Volume{{Source: dir, Target: "/data", ReadOnly: true}}}, "cat /data/file; touch /data/x 2>/dev/null || echo refused", "inside\nrefused\n"},
		{"writable root", pod.Overrides{}, "echo x >/etc/new && cat /etc/new", "x\n"},
		{"read-only root", pod.Overrides{ReadOnlyRoot: true}, "touch /etc/new 2>/dev/null || echo refused", "refused\n"},
		{"dropped capabilities", pod.Overrides{CapDrop: []string{"ALL"}, CapAdd: []string{"KILL"}}, "grep CapBnd /proc/self/status", "CapBnd:\t0000000000000020\n"},
	} {
		t.Run(tt.name, func(t *testing.T) { hostShell(t, tt.o, tt.script).want(t, 0, tt.want) })
	}
	for _, ns := range []string{"pid", "net", "ipc", "uts", "cgroup", "user"} {
		own, err := os.Readlink("/proc/thread-self/ns/" + ns)
		if err != nil {
			t.Fatal(err)
		}
		hostShell(t, pod.Overrides{}, "/bin/busybox readlink /proc/self/ns/"+ns).want(t, 0, own+"\n")
	}
	hostShell(t, pod.Overrides{}, "exit 9").want(t, 9, "")
	hostShell(t, pod.Overrides{}, "kill -TERM $$").want(t, 143, "")
	nothingLeft(t)
}

// TestHostLeavesMountsAlone looks for what a run could have changed in the test's own
// mount namespace.
func TestHostLeavesMountsAlone(t *testing.T) {
	mounts := func() string {
		data, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	setUp(t)
	before := mounts()
	hostShell(t, pod.Overrides{}, "/bin/busybox mount -t tmpfs none /dev/shm; /bin/busybox umount /proc; true")
	if after := mounts(); after != before {
		t.Errorf("mounts before:\n%s\nafter:\n%s", before, after)
	}
}

// TestHostChildrenEndWithTheApp starts what a daemon would: in a session of its own,
// orphaned, with all of the app's streams.
func TestHostChildrenEndWithTheApp(t *testing.T) {
	mark := strconv.Itoa(1_000_000 + os.Getpid())
	script := "/bin/busybox setsid /bin/sh -c 'sleep " + mark + " & touch /up; sleep " + mark + " & wait' & while ! test -e /up; do sleep 0.01; done; "
	hostShell(t, pod.Overrides{}, script+"exit 4").want(t, 4, "")
	if left := running(t, "sleep\x00"+mark); len(left) > 0 {
		t.Errorf("after the app's end: %v", left)
	}
	aci := setUp(t)
	p := openPod(t, aci, policyHost, pod.Overrides{Entrypoint: []string{"/bin/sh", "-c", script + "echo ready; sleep " + mark}})
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	out := &lineWriter{onLine: func(string) { cancel(why) }}
	code, err := hostrun.Run(ctx, p, hostrun.Options{Bundle: shared.host, Streams: attach.Streams{Stdout: out, Stderr: io.Discard}})
	if code != hostrun.ExitFailure || !errors.Is(err, why) {
		t.Errorf("exit code %d, %v", code, err)
	}
	if left := running(t, "sleep\x00"+mark); len(left) > 0 {
		t.Errorf("after the context's end: %v", left)
	}
	nothingLeft(t)
}

// TestAbandonedProcessesEnd leaves a process in a cgroup as a killed run would whose
// supervisor was killed, too.
func TestAbandonedProcessesEnd(t *testing.T) {
	setUp(t)
	var parents []string
	for _, pattern := range []string{"/sys/fs/cgroup/clearrun", "/sys/fs/cgroup/memory/clearrun"} {
		found, _ := filepath.Glob(pattern)
		parents = append(parents, found...)
	}
	if len(parents) == 0 {
		t.Skip("no cgroups here")
	}
	path := filepath.Join(parents[0], fmt.Sprintf("host-%d-test", os.Getpid()))
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+"/cgroup.procs", []byte(strconv.Itoa(cmd.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	hostShell(t, pod.Overrides{}, "true").want(t, 0, "")
	_ = cmd.Wait() // hangs unless the process was killed
	deadline := time.Now().Add(10 * time.Second)
	for unix.Access(path, unix.F_OK) == nil {
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there", path)
		}
		hostShell(t, pod.Overrides{}, "true").want(t, 0, "")
	}
}

func TestHostIsolatesNothing(t *testing.T) {
	aci := setUp(t)
	p := openPod(t, aci, policyHost, pod.Overrides{})
	if len(p.Enforcement) == 0 || p.Enforcement[0].State != pod.Unenforced || !strings.Contains(p.Enforcement[0].Detail, "nothing") {
		t.Errorf("%+v", p.Enforcement)
	}
}

// running lists processes whose command line holds text.
func running(t *testing.T, text string) (found []string) {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if data, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(data), text) {
			found = append(found, path)
		}
	}
	return found
}
