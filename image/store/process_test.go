package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image/store"
)

// The test binary, run again with these set, is another process at the same store.
const (
	roleEnv = "CLEARRUN_STORE_TEST_ROLE"
	dirEnv  = "CLEARRUN_STORE_TEST_DIR"
)

func TestMain(m *testing.M) {
	dir := os.Getenv(dirEnv)
	switch os.Getenv(roleEnv) {
	case "render":
		renderForever(dir)
	case "churn":
		churn(dir)
	case "plain user":
		plainUser(dir)
	}
	os.Exit(m.Run())
}

// helper is the command of another process.
func helper(t *testing.T, role, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleEnv+"="+role, dirEnv+"="+dir)
	return cmd
}

func renderForever(dir string) {
	s, err := store.Open(store.Options{Dir: dir, KeyFile: dir + ".key"})
	if err == nil {
		_, err = s.Put(context.Background(), digest(nil), func(_ context.Context, root *os.File, scratch string) (store.Rendered, error) {
			_, err := root.Write([]byte("half an image"))
			fmt.Println("rendering")
			<-make(chan bool)
			return store.Rendered{}, err
		})
	}
	fmt.Println(err)
	os.Exit(1)
}

// TestKilled kills a process in the middle of a Put. While it lives its files are left
// alone; then they are cleared away, and its lock bothers nobody.
func TestKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	p := place{store.Options{Dir: dir, KeyFile: dir + ".key"}}
	cmd := helper(t, "render", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "rendering\n" {
		t.Errorf("the helper said %q, %v", line, err)
	}
	tmp := filepath.Join(dir, "v1", "tmp")
	p.open(t)
	if left, err := filepath.Glob(tmp + "/*/entry/root.img"); err != nil || len(left) != 1 {
		t.Errorf("while it renders: %v, %v", left, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	s := p.open(t)
	if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
		t.Errorf("after it was killed: %v, %v", left, err)
	}
	failure := errors.New("the lock is free")
	_, err = s.Put(context.Background(), digest(nil), func(context.Context, *os.File, string) (store.Rendered, error) {
		return store.Rendered{}, failure
	})
	if !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	nothingLeft(t, p)
}

// TestFullDisk has a store on a file system of 256 KiB.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts")
	}
	dir := t.TempDir()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the namespace ends with the thread
		if err := privateTmpfs(dir, "size=256k"); err != nil {
			t.Logf("skipped: %v", err)
			return
		}
		p := place{store.Options{Dir: filepath.Join(dir, "store"), KeyFile: filepath.Join(dir, "key")}}
		s, err := store.Open(p.Options)
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		data := archive(t, strings.Repeat("0123456789", 100_000))
		_, err = s.Put(context.Background(), digest(data), renderACI(data))
		if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "no space left in "+filepath.Join(p.Dir, "v1")) {
			t.Errorf("got %v", err)
		}
		nothingLeft(t, p)
		small := put(t, s, archive(t, "small"))
		// The way out, as long as there is not a byte left.
		if err := fill(filepath.Join(dir, "ballast")); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("fill: %v", err)
		}
		small.Close()
		if err := s.Remove(small.Digest); err != nil {
			t.Errorf("remove from a full disk: %v", err)
		}
		put(t, s, archive(t, "another")).Close()
		nothingLeft(t, p)
	}()
	<-done
}

// fill writes until nothing more fits.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for block := make([]byte, 4096); ; {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
}

// privateTmpfs mounts a tmpfs that only this thread sees.
func privateTmpfs(dir, options string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount("tmpfs", dir, "tmpfs", 0, options)
}
