package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/clearrun/clearrun/image/rootfs"
	"github.com/clearrun/clearrun/image/store"
)

// tinyRoot renders without the testing package, for other processes.
func tinyRoot(ctx context.Context, root *os.File, n int) (store.Rendered, error) {
	img, err := tinyImage(n)
	if err != nil {
		return store.Rendered{}, err
	}
	info, err := rootfs.Render(ctx, img, noLimits, root)
	return store.Rendered{Info: info, Meta: img.Meta()}, err
}

// step does one random thing to a store with few images, and checks what it got.
func step(s *store.Store, random *rand.Rand) error {
	n := random.IntN(4)
	source := tinySource(n)
	switch random.IntN(8) {
	case 0:
		err := s.Remove(tinyDigest(n))
		if errors.Is(err, store.ErrInUse) || errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	case 1:
		_, err := s.Prune(context.Background(), store.PruneOptions{All: true})
		return err
	case 2:
		_, err := s.List()
		return err
	}
	e, err := s.Put(context.Background(), source, func(ctx context.Context, root *os.File, _ string) (store.Rendered, error) {
		return tinyRoot(ctx, root, n)
	})
	if err != nil {
		return err
	}
	defer e.Close()
	// As a run does: what was opened stays whole, whatever others do.
	if e.Digest != tinyDigest(n) {
		return fmt.Errorf("asked for %d, got %s", n, e.Digest)
	}
	var damage error
	err = rootfs.Verify(context.Background(), e.File(), e.Info, func(err error) { damage = err })
	if _, gone := os.Stat(e.Path); gone != nil {
		return fmt.Errorf("taken out while in use: %w", gone)
	}
	return errors.Join(err, damage)
}

// churn works on a store until it is killed, and says after each step that it lives.
func churn(dir string) {
	random := rand.New(rand.NewPCG(uint64(os.Getpid()), 0))
	for {
		s, err := store.Open(store.Options{Dir: dir, KeyFile: dir + ".key"})
		for range 10 {
			if err == nil {
				err = step(s, random)
			}
			if err != nil {
				fmt.Println("error:", err)
				os.Exit(1)
			}
			fmt.Println("step")
		}
		s.Close()
	}
}

// TestKilledAnywhere kills processes at any point of their work. What they leave is a
// store in which nothing is wrong.
func TestKilledAnywhere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	p := place{store.Options{Dir: dir, KeyFile: dir + ".key"}}
	for round := range 12 {
		var running sync.WaitGroup
		for worker := range 2 {
			cmd := helper(t, "churn", dir)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			running.Go(func() {
				lines := bufio.NewScanner(out)
				for range 3 + 5*worker + round {
					if !lines.Scan() || lines.Text() != "step" {
						t.Errorf("the process said %q", lines.Text())
						break
					}
				}
				cmd.Process.Kill()
				io.Copy(io.Discard, out)
				cmd.Wait()
			})
		}
		running.Wait()
		s := p.open(t)
		if left, err := os.ReadDir(filepath.Join(s.Dir(), "tmp")); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		v, err := s.Verify(context.Background(), nil, nil)
		if err != nil || len(v.Problems) > 0 {
			t.Fatalf("after kills: %+v, %v", v, err)
		}
	}
}

// TestConcurrentUse has many at work on one store.
func TestConcurrentUse(t *testing.T) {
	p := newPlace(t)
	var workers sync.WaitGroup
	for worker := range 8 {
		s := p.open(t)
		workers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 1))
			for range 60 {
				if err := step(s, random); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	v, err := p.open(t).Verify(context.Background(), nil, nil)
	if err != nil || len(v.Problems) > 0 {
		t.Errorf("%+v, %v", v, err)
	}
	nothingLeft(t, p)
}

// plainUser works on its own store: that which Options{} means.
func plainUser(string) {
	s, err := store.Open(store.Options{})
	if err == nil {
		random := rand.New(rand.NewPCG(1, 2))
		for range 30 {
			err = errors.Join(err, step(s, random))
		}
	}
	var v store.Verified
	if err == nil {
		v, err = s.Verify(context.Background(), nil, nil)
	}
	fmt.Println(os.Geteuid(), s.Dir(), len(v.Problems), err)
	os.Exit(0)
}

// TestUserStore has a user without privileges keep images in the home directory.
func TestUserStore(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: to be somebody else")
	}
	const nobody = 65534
	home, err := os.MkdirTemp("/tmp", "clearrun-home-") // where others may go
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	if err := os.Chown(home, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(home, "test") // the test's own folder is closed to others
	if err := os.WriteFile(program, exe, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := helper(t, "plain user", home)
	cmd.Path, cmd.Args, cmd.Dir = program, []string{program}, home
	cmd.Env = []string{roleEnv + "=plain user", "HOME=" + home, "PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	want := fmt.Sprintf("%d %s/.local/share/clearrun/v1 0 <nil>", nobody, home)
	if err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
}
