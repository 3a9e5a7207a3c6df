package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A stage is a mount namespace in which clearrun finds the host changed. The test's
// executable starts itself in it, makes the changes, and becomes clearrun.

// stageEnv makes the test's executable set up a stage (as JSON) and execute its
// arguments.
const stageEnv = "CLEARRUN_TEST_STAGE"

// stageFailed is the exit code of a stage that could not be set up.
const stageFailed = 99

// nobody is a user without any rights.
const nobody = 65534

// stage says what is changed.
type stage struct {
	// Dev replaces /dev by one with these nodes alone.
	Dev []node `json:",omitempty"`
	// Keep is a folder that stays visible when /tmp and /dev/shm are replaced by
	// empty ones; MountInfo is a file for the mounts made by then.
	Keep, MountInfo string `json:",omitempty"`
	Nobody          bool   // go on as nobody
}

// node is a character device.
type node struct {
	Name         string
	Major, Minor uint32
	Mode         uint32
}

// null is what every program needs.
var null = node{"null", 1, 3, 0o666}

// on makes cmd run on the stage.
func (s stage) on(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), stageEnv+"="+string(data))
	cmd.Args = append([]string{shared.stage}, cmd.Args...)
	cmd.Path = shared.stage
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	return cmd
}

// enterStage returns only if it fails.
func enterStage(text string, args []string) error {
	var s stage
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := errors.Join(s.replaceDev(), s.emptyTmp(), s.recordMounts()); err != nil {
		return err
	}
	if s.Nobody {
		if err := errors.Join(unix.Setgroups(nil), unix.Setresgid(nobody, nobody, nobody), unix.Setresuid(nobody, nobody, nobody)); err != nil {
			return err
		}
	}
	if err := os.Unsetenv(stageEnv); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", args[0], unix.Exec(args[0], args, os.Environ()))
}

func (s stage) replaceDev() error {
	if s.Dev == nil {
		return nil
	}
	if err := unix.Mount("tmpfs", "/dev", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("replace /dev: %w", err)
	}
	unix.Umask(0)
	defer unix.Umask(0o022)
	for _, n := range s.Dev {
		if err := unix.Mknod("/dev/"+n.Name, unix.S_IFCHR|n.Mode, int(unix.Mkdev(n.Major, n.Minor))); err != nil {
			return fmt.Errorf("make %s: %w", n.Name, err)
		}
	}
	return nil
}

// emptyTmp mounts over /tmp and /dev/shm.
func (s stage) emptyTmp() error {
	if s.Keep == "" {
		return nil
	}
	kept, err := unix.Open(s.Keep, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(kept)
	for _, dir := range []string{"/tmp", "/dev/shm"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=1777"); err != nil {
			return fmt.Errorf("replace %s: %w", dir, err)
		}
	}
	if err := os.MkdirAll(s.Keep, 0o755); err != nil {
		return err
	}
	return unix.Mount("/proc/self/fd/"+strconv.Itoa(kept), s.Keep, "", unix.MS_BIND, "")
}

func (s stage) recordMounts() error {
	if s.MountInfo == "" {
		return nil
	}
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	return os.WriteFile(s.MountInfo, data, 0o644)
}

// nobodysPlace is a place that belongs to nobody.
func nobodysPlace(t *testing.T) place {
	t.Helper()
	p := fresh(t)
	for _, dir := range []string{p.store, p.config} {
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, nobody, nobody)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// tree lists the files below dir.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names = append(names, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
