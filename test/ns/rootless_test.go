package ns

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/test/unprivileged"
)

// runner is the user of these tests, and nobody else's.
var runner = unprivileged.User{ID: 4247, SubIDs: 400_000}

// userLab is a setting that is the runner's, with an executable within reach.
func userLab(t *testing.T, tiers string) *lab {
	t.Helper()
	l := newLab(t, tiers)
	data, err := os.ReadFile(l.exe)
	if err != nil {
		t.Fatal(err)
	}
	l.write("clearrun", data)
	l.exe = filepath.Join(l.dir, "clearrun")
	if err := os.Chmod(l.exe, 0o755); err != nil {
		t.Fatal(err)
	}
	// The test's own folder, which only its owner may enter, is above.
	err = filepath.WalkDir(filepath.Dir(l.dir), func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, runner.Own(path))
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// userRun runs a command as the runner.
func (l *lab) userRun(cmd *exec.Cmd) (code int, stdout, stderr string) {
	l.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := runner.Start(cmd, l.dir); err != nil {
		l.t.Fatal(err)
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestRootless(t *testing.T) {
	l := userLab(t, "[ns, host]")
	l.write("config/policy.yaml", []byte("rules: [{name: a, match: {name: \"**\"}, require: {none: true}, tiers: [ns, host], allow: {networks: [\"cni:web\"]}}]\n"))
	if err := runner.Own(l.dir + "/config/policy.yaml"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		options        []string
		code           int
		stdout, stderr string
	}{
		{[]string{"--ns"}, 7, "0 0\n", ""},
		{[]string{"--ns", "--user", "5:6"}, 7, "5 6\n", ""},
		{[]string{"--ns", "--user", "70000"}, 125, "", "no such ID"},
		{[]string{"--ns", "--memory", "128M"}, 125, "", "systemd-run --user --scope"},
		{[]string{"--host"}, 125, "", "tier host needs root"},
		{[]string{"--ns", "--network", "cni:web"}, 125, "", "network cni:web needs root, since its plugins change the host's network: use --network user"},
	} {
		code, stdout, stderr := l.userRun(l.command("echo $(busybox id -u) $(busybox id -g); exit 7", tt.options...))
		if code != tt.code || stdout != tt.stdout || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q; want %d, %q, %q", tt.options, code, stdout, stderr, tt.code, tt.stdout, tt.stderr)
		}
	}
	_, _, stderr := l.userRun(l.command("true", "--ns", "--verbose"))
	for _, want := range []string{"resource/memory is unenforced", "limits is unenforced", "user-namespace is enforced", "root-image is enforced: each block"} {
		if !strings.Contains(stderr, "isolator "+want) {
			t.Errorf("the report lacks %q: %s", want, stderr)
		}
	}
	awaitNone(t, func() []string { return processesOf(t, runner) })
}

// TestRootlessKilled kills clearrun at different times of a start and a run: nothing outlives it.
func TestRootlessKilled(t *testing.T) {
	l := userLab(t, "[ns]")
	if code, _, stderr := l.userRun(l.command("true", "--ns")); code != 0 {
		t.Fatal(stderr) // and the image is in the store
	}
	const times = 15
	for n := range times {
		cmd := l.command("sleep 1000 & sleep 1000", "--ns")
		if err := runner.Start(cmd, l.dir); err != nil {
			t.Fatal(err)
		}
		for range n {
			pause()
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		awaitNone(t, func() []string { return processesOf(t, runner) })
	}
}

func TestDoctorForUsers(t *testing.T) {
	l := userLab(t, "[ns]")
	_, stdout, stderr := l.userRun(exec.Command(l.exe, "doctor", "--json"))
	var findings []struct {
		Name, Value string
		OK          bool
	}
	if err := json.Unmarshal([]byte(stdout), &findings); err != nil {
		t.Fatalf("%v: %s%s", err, stdout, stderr)
	}
	want := map[string]string{"tier ns": "rootless, with 65537 user and group IDs", "tier host": "cannot run: it needs root"}
	for _, f := range findings {
		if w := want[f.Name]; w != "" && strings.Contains(f.Value, w) && f.OK == (f.Name == "tier ns") {
			delete(want, f.Name)
		}
	}
	if len(want) > 0 {
		t.Errorf("doctor says to a user: %+v", findings)
	}
}

// processesOf finds those of the user and of its containers.
func processesOf(t *testing.T, u unprivileged.User) (found []string) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		var st unix.Stat_t
		if unix.Stat(dir, &st) != nil {
			continue
		}
		if uid := int(st.Uid); uid == u.ID || uid >= u.SubIDs && uid < u.SubIDs+1<<16 {
			if line, _ := os.ReadFile(dir + "/cmdline"); len(line) > 0 { // else it has ended, and waits to be reaped
				found = append(found, dir+": "+string(line))
			}
		}
	}
	return found
}
