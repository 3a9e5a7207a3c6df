// Package ns tests tier ns as its users have it: the one executable, an image, a policy.
// What runs inside of a container is tested in hostrun, at less cost.
package ns

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image/acitest"
)

// patience bounds a wait for something that must happen.
const patience = 30 * time.Second

// lab is a user's setting.
type lab struct {
	t        *testing.T
	exe, dir string
}

func newLab(t *testing.T, tiers string) *lab {
	t.Helper()
	exe, err := filepath.Abs("../../build/clearrun")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(exe); err != nil {
		t.Skip("there is no build/clearrun: run make build")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	l := &lab{t: t, exe: exe, dir: t.TempDir()}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	program := acitest.File("rootfs/bin/busybox", string(busybox))
	program.Mode = 0o755
	l.write("app.aci", acitest.Tar(t, acitest.Manifest("example.com/app", `{"exec":["/bin/busybox"],"user":"0","group":"0",
		"isolators":[{"name":"resource/memory","value":{"limit":"128Mi"}},{"name":"resource/network-bandwidth","value":{"default":true,"limit":"1G"}}]}`),
		acitest.Dir("rootfs"), acitest.Dir("rootfs/bin"), program, acitest.Link('2', "rootfs/bin/sh", "busybox")))
	l.write("config/policy.yaml", []byte("rules:\n- name: test\n  match: {name: \"**\"}\n  require: {none: true}\n  tiers: "+tiers+"\n"))
	return l
}

func (l *lab) write(name string, data []byte) {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// command runs `clearrun run` with these options, and a shell's script.
func (l *lab) command(script string, options ...string) *exec.Cmd {
	args := append([]string{"run", "--store", l.dir + "/store", "--config-dir", l.dir + "/config"}, options...)
	return exec.Command(l.exe, append(args, l.dir+"/app.aci", "--", "sh", "-c", script)...)
}

// TestUnmeasurable asks for a TPM where there is none.
func TestUnmeasurable(t *testing.T) {
	l := newLab(t, "[ns]\nmeasurement: {tpm: required, device: /dev/absent}")
	var stderr bytes.Buffer
	cmd := l.command("echo ran")
	cmd.Stderr = &stderr
	out, _ := cmd.Output()
	if code := cmd.ProcessState.ExitCode(); code != 125 || len(out) > 0 || !strings.Contains(stderr.String(), "make /dev/absent usable for you") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, out, stderr.String())
	}
	l.write("config/policy.yaml", []byte("measurement: {tpm: optional, device: /dev/absent}\nrules: [{name: a, match: {name: \"**\"}, require: {none: true}, tiers: [ns]}]\n"))
	if out, err := l.command("echo ran", "--ns").Output(); err != nil || string(out) != "ran\n" {
		t.Errorf("optional: %v: %s", err, out)
	}
}

// TestSELinux runs where there is none: one line says so, and a rule that demands it refuses.
func TestSELinux(t *testing.T) {
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err == nil {
		t.Skip("SELinux is active here: test/selinux is about that")
	}
	l := newLab(t, "[ns, vm]")
	for _, demanded := range []bool{false, true} {
		l.write("config/policy.yaml", fmt.Appendf(nil,
			"rules: [{name: a, match: {name: \"**\"}, require: {none: true, selinux: %v}, tiers: [ns]}]\n", demanded))
		var stderr bytes.Buffer
		cmd := l.command("echo ran", "--ns")
		cmd.Stderr = &stderr
		out, _ := cmd.Output()
		code, stdout, says := 0, "ran\n", "SELinux is not active on this host"
		if demanded {
			code, stdout, says = 125, "", "the policy demands SELinux, which is not active on this host: boot with"
		}
		if got := cmd.ProcessState.ExitCode(); got != code || string(out) != stdout || strings.Count(stderr.String(), says) != 1 {
			t.Errorf("demanded %v: exit code %d, stdout %q, stderr %q", demanded, got, out, stderr.String())
		}
	}
	out, _ := l.command("true", "--ns", "--security-opt", "label=disable").CombinedOutput()
	if !strings.Contains(string(out), "label=disable is not allowed") {
		t.Errorf("label=disable: %s", out)
	}
}

func TestTierOfAPolicy(t *testing.T) {
	l := newLab(t, "[ns, vm]")
	for _, tt := range []struct {
		options []string
		code    int
		stderr  string
	}{
		{[]string{"--ns"}, 7, ""},
		{nil, 7, "clearrun: tier ns, the least that rule \"test\" allows"},
		{[]string{"--verbose", "--ns"}, 7, "clearrun: tier ns, "},
		{[]string{"--host"}, 125, "requires tier ns or vm; found: tier host was asked for"},
		{[]string{"--ns", "--vm"}, 125, "--vm and --ns contradict each other"},
		{[]string{"--ns", "--console"}, 125, "--console"},
	} {
		var stdout, stderr bytes.Buffer
		cmd := l.command("echo out; exit 7", tt.options...)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		_ = cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("%q: exit code %d, want %d; stderr %q, want %q in it", tt.options, code, tt.code, stderr.String(), tt.stderr)
		}
		if want := map[bool]string{true: "out\n"}[tt.code == 7]; stdout.String() != want {
			t.Errorf("%q: stdout %q, want %q", tt.options, stdout.String(), want)
		}
	}
}

func TestTierThatThePolicyForbids(t *testing.T) {
	l := newLab(t, "[vm]")
	out, err := l.command("true", "--ns").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 125 || !strings.Contains(string(out), "tier ns was asked for") {
		t.Errorf("%v: %s", err, out)
	}
	if err := os.Remove(l.dir + "/config/policy.yaml"); err != nil {
		t.Fatal(err)
	}
	out, err = l.command("true", "--ns", "--insecure-no-verify").CombinedOutput()
	if !errors.As(err, &exit) || exit.ExitCode() != 125 || !strings.Contains(string(out), "only at tier vm") {
		t.Errorf("without a policy: %v: %s", err, out)
	}
}

// TestKilledLeavesNothing kills clearrun and looks for the container's processes, and
// for its cgroups after the next start.
func TestKilledLeavesNothing(t *testing.T) {
	l := newLab(t, "[ns]")
	mark := "sleep 98765" + strings.TrimLeft(filepath.Base(l.dir), "0")
	cmd := l.startReady("echo ready; "+mark+"; true", "--memory", "128M")
	children := processes(t, l.dir) // clearrun itself
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if len(children) == 0 {
		t.Fatal("clearrun was not found among the processes: the test looks in the wrong place")
	}
	awaitNone(t, func() []string { return processes(t, mark) })
	if out, err := l.command("true").CombinedOutput(); err != nil {
		t.Fatalf("the next start: %v: %s", err, out)
	}
	// Others on this machine run containers, too: theirs come and go.
	awaitNone(t, func() []string { return emptyCgroups(t) })
}

// startReady starts a run, and waits for the script to say ready.
func (l *lab) startReady(script string, options ...string) *exec.Cmd {
	l.t.Helper()
	cmd := l.command(script, options...)
	l.awaitReady(cmd)
	return cmd
}

// awaitReady starts a command, and waits for it to say ready.
func (l *lab) awaitReady(cmd *exec.Cmd) {
	l.t.Helper()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		l.t.Fatalf("%q, %v", line, err)
	}
}

// awaitNone waits until nothing of what is to go is left.
func awaitNone(t *testing.T, left func() []string) {
	t.Helper()
	for deadline := time.Now().Add(patience); len(left()) > 0; pause() {
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %v", left())
		}
	}
}

// TestKilledHostRunLeavesNothing kills clearrun at tier host, whose processes no
// namespace ends.
func TestKilledHostRunLeavesNothing(t *testing.T) {
	l := newLab(t, "[host]")
	mark := "sleep 87654" + strings.TrimLeft(filepath.Base(l.dir), "0")
	cmd := l.startReady("setsid sh -c '"+mark+"; true' & echo ready; "+mark+"; true", "--host")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	awaitNone(t, func() []string { return processes(t, mark) })
	out, err := l.command("true", "--host", "--strict").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "isolation") {
		t.Errorf("--strict: %v: %s", err, out)
	}
	if out, err := l.command("echo $0 ran", "--host").CombinedOutput(); err != nil || string(out) != "sh ran\n" {
		t.Errorf("%v: %s", err, out)
	}
}

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

// pause lets others run; it asserts nothing.
func pause() {
	ts := unix.NsecToTimespec(int64(10 * time.Millisecond))
	_ = unix.Nanosleep(&ts, nil)
}

// processes finds those whose command line holds text.
func processes(t *testing.T, text string) (found []string) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lines {
		if data, err := os.ReadFile(path); err == nil && strings.Contains(strings.ReplaceAll(string(data), "\x00", " "), text) {
			found = append(found, path)
		}
	}
	return found
}

func TestIsolatorsAreReported(t *testing.T) {
	l := newLab(t, "[ns]")
	file := l.dir + "/isolators.json"
	out, err := l.command("true", "--verbose", "--isolators", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "isolator resource/network-bandwidth is unenforced") {
		t.Errorf("%v: %s", err, out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Tier      string
		Isolators []struct{ Name, State string }
	}
	if err := json.Unmarshal(data, &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Isolators) != 5 || report.Isolators[4].Name != "user-namespace" || report.Isolators[2].Name != "root-image" || report.Isolators[3].Name != "landlock" || report.Tier != "ns" || report.Isolators[0].State != "enforced" || report.Isolators[1].State != "unenforced" {
		t.Errorf("%s", data)
	}
	out, err = l.command("true", "--strict").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "resource/network-bandwidth") {
		t.Errorf("--strict: %v: %s", err, out)
	}
}

func TestDoctorKnowsTheTier(t *testing.T) {
	l := newLab(t, "[ns]")
	// Its exit code is about tier vm.
	out, err := exec.Command(l.exe, "doctor", "--json").Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var findings []struct {
		Name, Value string
		OK          bool
	}
	if err := json.Unmarshal(out, &findings); err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		if f.Name == "tier ns" && f.OK && strings.Contains(f.Value, "limits: ") {
			return
		}
	}
	t.Errorf("doctor says of tier ns: %+v", findings)
}
