// Package vm tests clearrun as its users have it: the one executable, real images
// signed by gpg, and real VMs.
//
// `make test-vm` runs it. CLEARRUN names the executable; with CLEARRUN_REQUIRE_VM=1
// a test that cannot run here fails, else it is skipped with the reason.
package vm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	exeEnv     = "CLEARRUN"
	requireEnv = "CLEARRUN_REQUIRE_VM"
)

func TestMain(m *testing.M) {
	if s := os.Getenv(stageEnv); s != "" {
		err := enterStage(s, os.Args[1:])
		fmt.Fprintln(os.Stderr, "set up the stage:", err)
		os.Exit(stageFailed)
	}
	exe := os.Getenv(exeEnv)
	if exe == "" {
		fmt.Println("test/vm: SKIPPED:", exeEnv, "does not name the executable: run make test-vm")
		if os.Getenv(requireEnv) != "" {
			os.Exit(1)
		}
		return
	}
	var err error
	if shared, err = newLab(exe); err != nil {
		fmt.Println("test/vm: prepare:", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := shared.close(); err != nil {
		fmt.Println("test/vm: clean up:", err)
		code = 1
	}
	os.Exit(code)
}

// shared is what the tests have in common.
var shared *lab

// lab is a folder with all that the tests use. Other users may look into it.
type lab struct {
	dir      string
	clearrun string // a copy: a build meanwhile changes nothing
	mkaci    string
	stage    string // this test's executable
	gnupg    string

	// Keys, by user ID. alice's is trusted for example.com/app, bob's for
	// example.com/other, mallory's for nothing.
	alice, bob, mallory string

	place        // with both keys trusted
	probe string // a signed image of example.com/app/probe, whose app is probe
}

// place is where one user of clearrun keeps store and keys.
type place struct{ store, config string }

// args are the options for clearrun to use p.
func (p place) args() []string { return []string{"--store", p.store, "--config-dir", p.config} }

// fresh gives an empty place.
func fresh(t *testing.T) place {
	dir := shared.tempDir(t)
	return place{filepath.Join(dir, "store"), filepath.Join(dir, "config")}
}

// tempDir is like t.TempDir, but for other users too.
func (l *lab) tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(l.dir, "test-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// newLab builds images and keys.
func newLab(exe string) (*lab, error) {
	dir, err := os.MkdirTemp("", "clearrun-vm-")
	if err != nil {
		return nil, err
	}
	l := &lab{
		dir: dir, clearrun: filepath.Join(dir, "clearrun"), mkaci: filepath.Join(dir, "mkaci"),
		gnupg: filepath.Join(dir, "gnupg"),
		place: place{filepath.Join(dir, "store"), filepath.Join(dir, "config")},
		probe: filepath.Join(dir, "probe.aci"),
	}
	if err := l.fill(exe); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *lab) fill(exe string) error {
	if err := os.Chmod(l.dir, 0o755); err != nil {
		return err
	}
	if err := copyFile(l.clearrun, exe, 0o755); err != nil {
		return fmt.Errorf("%s: %w", exeEnv, err)
	}
	var err error
	if l.stage, err = os.Executable(); err != nil {
		return err
	}
	if err := goBuild(l.mkaci, "../../hack/mkaci"); err != nil {
		return err
	}
	if err := l.buildProbe(); err != nil {
		return err
	}
	return l.makeKeys()
}

// buildProbe makes and packs the root filesystem of the probe image.
func (l *lab) buildProbe() error {
	root := filepath.Join(l.dir, "probe-root")
	for _, d := range []string{"bin", "etc", "srv/data"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	if err := goBuild(filepath.Join(root, "bin/probe"), "./apps/probe"); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nworker:x:1234:2345:A worker:/home/worker:/bin/sh\n",
		"etc/group":  "root:x:0:\nworkers:x:2345:\nextra:x:3456:worker\n",
		"etc/motd":   "from the image\n",
		"bin/text":   "not a program\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(root, "srv/data"), 0o777); err != nil { // whatever the umask
		return err
	}
	return l.pack("example.com/app/probe", root, `["/bin/probe"]`, l.probe)
}

// pack makes an image of a folder.
func (l *lab) pack(name, root, execJSON, out string) error {
	return command(l.mkaci, "-name", name, "-root", root, "-exec", execJSON, "-env", "FROM_IMAGE=1", "-o", out)
}

func goBuild(out, pkg string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	return runCommand(cmd)
}

func command(name string, args ...string) error { return runCommand(exec.Command(name, args...)) }

func runCommand(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return nil
}

func (l *lab) close() error {
	var err error
	if _, statErr := os.Stat(l.gnupg); statErr == nil {
		err = runCommand(l.gpgCommand("gpgconf", "--kill", "all"))
	}
	return errors.Join(err, os.RemoveAll(l.dir))
}

func copyFile(to, from string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// cannot skips the test, or fails it where nothing may be skipped.
func cannot(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv(requireEnv) != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// needVM is the first line of each test that starts a VM.
func needVM(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		cannot(t, fmt.Sprintf("cannot run a VM here: %v", err))
	}
	f.Close()
	t.Parallel()
}

// needRoot is the first line of each test that mounts.
func needRoot(t *testing.T) {
	t.Helper()
	if unix.Geteuid() != 0 {
		cannot(t, "needs root, to mount in a namespace of its own")
	}
}
