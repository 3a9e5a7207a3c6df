package label

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// holderVariable makes the test's program a process that holds leases of the pool in that
// directory, and prints them.
const holderVariable = "CLEARRUN_TEST_LEASES"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holderVariable); dir != "" {
		hold(dir)
		return
	}
	os.Exit(m.Run())
}

// perHolder is how many leases each process takes.
const perHolder = 5

func hold(dir string) {
	pool := smallPool(dir)
	for range perHolder {
		pair, _, err := pool.next()
		if err != nil {
			fmt.Println("error:", err)
			return
		}
		fmt.Println(pair.Level())
	}
	fmt.Println("held")
	_, _ = os.Stdin.Read(make([]byte, 1))
}

func smallPool(dir string) Pool { return Pool{filepath.Join(dir, "pool"), 0o600, 1000, 100} }

// holder starts a process; its leases come when all have started.
func holder(t *testing.T, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), holderVariable+"="+dir)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, bufio.NewScanner(out)
}

// TestManyProcesses has 20 processes lease the whole of a pool at once, kills half of them
// with SIGKILL, and has as many others lease what those had.
func TestManyProcesses(t *testing.T) {
	dir := t.TempDir()
	live := map[*exec.Cmd][]string{}
	fill := func(n int) {
		t.Helper()
		outs := map[*exec.Cmd]*bufio.Scanner{}
		for range n {
			cmd, out := holder(t, dir)
			outs[cmd] = out
		}
		for cmd, out := range outs {
			for out.Scan() && out.Text() != "held" {
				if strings.HasPrefix(out.Text(), "error") {
					t.Fatal(out.Text())
				}
				live[cmd] = append(live[cmd], out.Text())
			}
		}
		owner := map[string]bool{}
		for _, levels := range live {
			for _, level := range levels {
				if owner[level] {
					t.Errorf("two live processes have %s", level)
				}
				owner[level] = true
			}
		}
		if len(owner) != 100 {
			t.Errorf("%d pairs are leased, want all 100", len(owner))
		}
	}
	fill(20)
	if _, _, err := smallPool(dir).next(); err == nil || !strings.Contains(err.Error(), "all 100 category pairs") {
		t.Errorf("one more: %v", err)
	}
	killed := 0
	for cmd := range live {
		if killed++; killed > 10 {
			break
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		delete(live, cmd)
	}
	fill(10)
}

// TestInheritedLease keeps a lease in another process than the one that took it.
func TestInheritedLease(t *testing.T) {
	pool := Pool{filepath.Join(t.TempDir(), "pool"), 0o600, 0, 1}
	_, f, err := pool.next()
	if err != nil {
		t.Fatal(err)
	}
	heir := exec.Command("cat")
	heir.ExtraFiles = []*os.File{f}
	stdin, err := heir.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := heir.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, _, err := pool.next(); err == nil {
		t.Error("the pair was given away while a process had its descriptor")
	}
	stdin.Close()
	_ = heir.Wait()
	if _, _, err := pool.next(); err != nil {
		t.Errorf("after its end: %v", err)
	}
}

func TestPairsComeUpLate(t *testing.T) {
	pool := smallPool(t.TempDir())
	seen := map[Pair]bool{}
	for range 100 {
		pair, f, err := pool.next()
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if seen[pair] {
			t.Fatalf("%v came again before all others", pair)
		}
		seen[pair] = true
	}
	for _, garbage := range []string{"", "x", "\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
		if err := os.WriteFile(pool.Path, []byte(garbage), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, f, err := pool.next(); err != nil {
			t.Errorf("content %q: %v", garbage, err)
		} else {
			f.Close()
		}
	}
}

func TestChosenPair(t *testing.T) {
	pool := smallPool(t.TempDir())
	first, lease, err := pool.next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.share(first); err == nil || !strings.Contains(err.Error(), "belongs to a running container") {
		t.Errorf("a leased pair: %v", err)
	}
	lease.Close()
	for range 2 {
		f, err := pool.share(first)
		if err != nil {
			t.Fatalf("by name: %v", err)
		}
		defer f.Close()
	}
	for range 99 {
		pair, f, err := pool.next()
		if err != nil || pair == first {
			t.Fatalf("%v, %v", pair, err)
		}
		defer f.Close()
	}
	if _, _, err := pool.next(); err == nil {
		t.Error("a pair that was chosen by name was given away")
	}
	if _, err := pool.share(Pair{1000, 1001}); err == nil {
		t.Error("a pair of another pool was given")
	}
}

func TestPairIndex(t *testing.T) {
	seen := map[Pair]bool{}
	for i := 0; i < pairs; i += 97 {
		p := pairAt(i)
		if p.index() != i || p.Low >= p.High || p.Low < 0 || p.High >= categories || seen[p] {
			t.Fatalf("pair %d is %v, whose index is %d", i, p, p.index())
		}
		seen[p] = true
		if q, ok := parsePair(p.Level()); !ok || q != p {
			t.Fatalf("%s is read as %v, %v", p.Level(), q, ok)
		}
	}
	if p := pairAt(pairs - 1); p != (Pair{1022, 1023}) {
		t.Errorf("the last one is %v", p)
	}
	if p := pairAt(rootPairs); p != (Pair{512, 513}) {
		t.Errorf("the users' first one is %v", p)
	}
}
