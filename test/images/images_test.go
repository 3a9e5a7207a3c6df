// Package images tests that what the usual tools build runs: each image here was made by
// the real buildah, docker, umoci or actool. They run at tier ns, for its speed.
package images

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience bounds a wait for something that must happen.
const patience = time.Minute

// tools is where hack/deps.sh puts what it does not install.
const tools = "../../build/tools"

// lab is a user's setting.
type lab struct {
	t        *testing.T
	exe, dir string
}

func newLab(t *testing.T) *lab {
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
	l.write("config/policy.yaml", "rules:\n- name: test\n  match: {name: \"**\"}\n  require: {none: true}\n  tiers: [ns]\n")
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	l.write("context/busybox", string(program))
	if err := os.Chmod(l.path("context/busybox"), 0o755); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) write(name, text string) {
	l.t.Helper()
	if err := os.MkdirAll(filepath.Dir(l.path(name)), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(l.path(name), []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// tool runs a program in the lab's folder and returns what it prints.
func (l *lab) tool(name string, args ...string) string {
	l.t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stderr = l.dir, &stderr
	out, err := cmd.Output()
	if err != nil {
		l.t.Fatalf("%s %s: %v: %s%s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// clearrun is one of its commands, with this lab's store and policy.
func (l *lab) clearrun(command ...string) *exec.Cmd {
	n := 1
	if command[0] == "image" {
		n = 2
	}
	args := append([]string{}, command[:n]...)
	args = append(args, "--store", l.path("store"), "--config-dir", l.path("config"))
	cmd := exec.Command(l.exe, append(args, command[n:]...)...)
	cmd.Dir = l.dir
	return cmd
}

// mustSay runs an image and compares what its app prints.
func (l *lab) mustSay(want, image string, args ...string) {
	l.t.Helper()
	command := []string{"run", image}
	if len(args) > 0 {
		command = append(append(command, "--"), args...)
	}
	var stderr bytes.Buffer
	cmd := l.clearrun(command...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || string(out) != want {
		l.t.Errorf("%s: %v; said %q, want %q; stderr %s", image, err, out, want, stderr.String())
	}
}

// The app of the images: Entrypoint, and Cmd as a script for it. The script tells whether
// environment, working directory and user arrived.
var entrypoint = []string{"/bin/busybox", "sh", "-c"}

const (
	script = `echo $TOOL in $PWD as $(/bin/busybox id -u):$(/bin/busybox id -g)`
	// trapScript says which signal it gets.
	trapScript = `trap 'echo got USR1; exit 5' USR1; trap 'echo got TERM; exit 6' TERM; echo ready; while :; do /bin/busybox sleep 0.1; done`
)

func said(tool string) string { return tool + " in /work as 12:34\n" }

// started is a run whose app has said that it is ready.
type started struct {
	*exec.Cmd
	t      *testing.T
	stdout io.Reader
	stderr *bytes.Buffer
}

func (l *lab) start(command ...string) *started {
	l.t.Helper()
	s := &started{Cmd: l.clearrun(command...), t: l.t, stderr: new(bytes.Buffer)}
	s.Cmd.Stderr = s.stderr
	stdout, err := s.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	s.stdout = stdout
	if err := s.Start(); err != nil {
		l.t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { s.Process.Kill() })
	l.t.Cleanup(func() {
		timer.Stop()
		s.Process.Kill()
	})
	line := make([]byte, len("ready\n"))
	if _, err := io.ReadFull(stdout, line); err != nil || string(line) != "ready\n" {
		s.Process.Kill()
		_ = s.Wait()
		l.t.Fatalf("%q, %v: %s", line, err, s.stderr.String())
	}
	return s
}

// end waits for the end and compares what came since.
func (s *started) end(code int, stdout string) {
	s.t.Helper()
	out, _ := io.ReadAll(s.stdout)
	err := s.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	if got := s.ProcessState.ExitCode(); got != code || string(out) != stdout {
		s.t.Errorf("exit code %d, said %q; want %d and %q; stderr %s", got, out, code, stdout, s.stderr.String())
	}
}
