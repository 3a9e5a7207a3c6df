package slots

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// holderVariable makes the test's program a process that holds slots of the pool in that file,
// and prints them.
const holderVariable = "CLEARRUN_TEST_SLOTS"

func TestMain(m *testing.M) {
	if path := os.Getenv(holderVariable); path != "" {
		hold(Pool{path, 0o600, first, count})
		return
	}
	os.Exit(m.Run())
}

// The pool of these tests, and how many slots of it each process takes.
const (
	first, count = 1000, 60
	perHolder    = 5
)

func testPool(t *testing.T) Pool {
	return Pool{filepath.Join(t.TempDir(), "pool"), 0o600, first, count}
}

func hold(p Pool) {
	_, _ = os.Stdin.Read(make([]byte, 1)) // all begin at once
	for range perHolder {
		slot, _, err := p.Next()
		if err != nil {
			fmt.Println("error:", err)
			return
		}
		fmt.Println(slot)
	}
	fmt.Println("held")
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// holder is a process that holds slots.
type holder struct {
	cmd   *exec.Cmd
	stdin *os.File
	lines *bufio.Scanner
	slots []int
}

// startHolders starts n processes, and gives them when each has its slots.
func startHolders(t *testing.T, p Pool, n int) (holders []*holder) {
	t.Helper()
	for range n {
		holders = append(holders, startHolder(t, p))
	}
	for _, h := range holders {
		if _, err := h.stdin.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range holders {
		for h.lines.Scan() && h.lines.Text() != "held" {
			slot, err := strconv.Atoi(h.lines.Text())
			if err != nil {
				t.Fatalf("a holder said %q", h.lines.Text())
			}
			h.slots = append(h.slots, slot)
		}
	}
	return holders
}

func startHolder(t *testing.T, p Pool) *holder {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	h := &holder{cmd: exec.Command("/proc/self/exe"), stdin: write}
	h.cmd.Env = append(os.Environ(), holderVariable+"="+p.Path)
	h.cmd.Stdin = read
	out, err := h.cmd.StdoutPipe()
	if err == nil {
		err = h.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	h.lines = bufio.NewScanner(out)
	t.Cleanup(h.kill)
	return h
}

// kill ends the process as a crash would.
func (h *holder) kill() {
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
	h.stdin.Close()
}

// checkApart checks that the holders have n slots of the pool's range, none twice.
func checkApart(t *testing.T, holders []*holder, n int) {
	t.Helper()
	var all []int
	for _, h := range holders {
		all = append(all, h.slots...)
	}
	slices.Sort(all)
	if len(all) != n || len(slices.Compact(slices.Clone(all))) != n || all[0] < first || all[n-1] >= first+count {
		t.Fatalf("want %d different slots of %d to %d, have %v", n, first, first+count-1, all)
	}
}

// TestManyProcesses has processes take a whole pool at once. Of those that are killed, what they had
// goes to others, and only that.
func TestManyProcesses(t *testing.T) {
	p := testPool(t)
	holders := startHolders(t, p, count/perHolder)
	checkApart(t, holders, count)
	if slot, _, err := p.Next(); !errors.Is(err, ErrNone) {
		t.Fatalf("a full pool gave %d, %v", slot, err)
	}
	half := len(holders) / 2
	var free []int
	for _, h := range holders[:half] {
		h.kill()
		free = append(free, h.slots...)
	}
	others := startHolders(t, p, half)
	checkApart(t, append(others, holders[half:]...), count)
	for _, h := range others {
		for _, slot := range h.slots {
			if !slices.Contains(free, slot) {
				t.Errorf("slot %d was given, and nobody who had it has ended", slot)
			}
		}
	}
}

// TestFullPool gives the one slot back that is free again.
func TestFullPool(t *testing.T) {
	p := testPool(t)
	leases := map[int]*os.File{}
	for range count {
		slot, lease, err := p.Next()
		if err != nil {
			t.Fatal(err)
		}
		leases[slot] = lease
	}
	const which = first + 17
	for range 2 {
		if slot, _, err := p.Next(); err != ErrNone {
			t.Fatalf("a full pool gave %d, %v", slot, err)
		}
		leases[which].Close()
		slot, lease, err := p.Next()
		if err != nil || slot != which {
			t.Fatalf("slot %d, %v; want %d", slot, err, which)
		}
		leases[which] = lease
	}
	for _, lease := range leases {
		lease.Close()
	}
}

// TestSlotsComeUpLate takes and returns slots: each comes up once before any does again, in whatever process.
func TestSlotsComeUpLate(t *testing.T) {
	p := testPool(t)
	seen := map[int]int{}
	take := func() int {
		slot, lease, err := p.Next()
		if err != nil {
			t.Fatal(err)
		}
		lease.Close()
		seen[slot]++
		return slot
	}
	for range count - 2*perHolder {
		take()
	}
	for _, h := range startHolders(t, p, 2) {
		for _, slot := range h.slots {
			seen[slot]++
		}
		h.kill()
	}
	if len(seen) != count {
		t.Errorf("%d slots came up in %d tries", len(seen), count)
	}
	if slot := take(); slot != first {
		t.Errorf("then came %d, want %d", slot, first)
	}
}

// TestInheritedLease has a process that knows nothing of slots keep one.
func TestInheritedLease(t *testing.T) {
	p := Pool{filepath.Join(t.TempDir(), "pool"), 0o600, 0, 1}
	_, lease, err := p.Next()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "1000")
	cmd.ExtraFiles = []*os.File{lease}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lease.Close()
	_, _, taken := p.Next()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if taken != ErrNone {
		t.Errorf("while a process lives that inherited it: %v", taken)
	}
	_, lease, err = p.Next()
	if err != nil {
		t.Fatalf("behind its end: %v", err)
	}
	lease.Close()
}

// TestShare lets those have a slot together that name it, and nobody else.
func TestShare(t *testing.T) {
	p := testPool(t)
	a, err := p.Share(first)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Share(first)
	if err != nil {
		t.Fatalf("a second one that names it: %v", err)
	}
	a.Close()
	slot, lease, err := p.Next()
	if err != nil || slot != first+1 {
		t.Fatalf("beside a shared one, slot %d was given, %v", slot, err)
	}
	if _, err := p.Share(slot); err != ErrTaken {
		t.Errorf("one that belongs to somebody: %v", err)
	}
	lease.Close()
	b.Close()
}

// TestDamagedFile puts other things where the pool's file was.
func TestDamagedFile(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "cut short": "\x00\x00\x01", "far beyond": strings.Repeat("\xff", cursorSize), "text": "this is no pool at all, but longer than one\n",
	} {
		p := testPool(t)
		if err := os.WriteFile(p.Path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		holders := startHolders(t, p, count/perHolder)
		checkApart(t, holders, count)
		if slot, _, err := p.Next(); err != ErrNone {
			t.Errorf("%s: a full pool gave %d, %v", name, slot, err)
		}
		for _, h := range holders {
			h.kill()
		}
	}
	for name, place := range map[string]func(path string) error{
		"a folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"a link":   func(path string) error { return os.Symlink(path+"2", path) },
		"a pipe":   func(path string) error { return unix.Mkfifo(path, 0o600) },
	} {
		p := testPool(t)
		if err := place(p.Path); err != nil {
			t.Fatal(err)
		}
		if slot, _, err := p.Next(); err == nil || !strings.Contains(err.Error(), p.Path) {
			t.Errorf("%s in its place: slot %d, %v", name, slot, err)
		}
	}
}

// TestRemovedFile removes the file while slots of it are taken. Who can do that can do worse; the
// next ones start anew.
func TestRemovedFile(t *testing.T) {
	p := testPool(t)
	_, old, err := p.Next()
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := os.Remove(p.Path); err != nil {
		t.Fatal(err)
	}
	slot, lease, err := p.Next()
	if err != nil || slot != first {
		t.Fatalf("slot %d, %v", slot, err)
	}
	lease.Close()
}

// TestHeldCursor has somebody keep the cursor for good: others wait for a bounded time, and what
// they get is theirs alone.
func TestHeldCursor(t *testing.T) {
	p := testPool(t)
	f, err := p.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := lock(f, unix.F_WRLCK, cursorLock); err != nil {
		t.Fatal(err)
	}
	const tries = 4
	type given struct {
		slot int
		err  error
	}
	results := make(chan given, tries)
	begun := time.Now()
	for range tries {
		go func() {
			slot, lease, err := p.Next()
			t.Cleanup(func() { lease.Close() })
			results <- given{slot, err}
		}()
	}
	var slots []int
	for range tries {
		r := <-results
		if r.err != nil || slices.Contains(slots, r.slot) {
			t.Errorf("slot %d, %v, beside %v", r.slot, r.err, slots)
		}
		slots = append(slots, r.slot)
	}
	if waited := time.Since(begun); waited < cursorPatience {
		t.Errorf("they waited %v for the cursor, want %v at least", waited, cursorPatience)
	}
}

// TestPermissions makes the file as it was asked for, whatever the umask.
func TestPermissions(t *testing.T) {
	p := testPool(t)
	p.Perm = 0o666
	f, err := p.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Mode().Perm() != p.Perm {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

// FuzzCursor has a file with any content: all slots of any range are given, each once.
func FuzzCursor(f *testing.F) {
	f.Add([]byte{}, uint8(1))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 7}, uint8(5))
	f.Add([]byte{0x80, 0, 0, 0, 0, 0, 0, 0, 9}, uint8(200))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff"), uint8(3))
	path := filepath.Join(f.TempDir(), "pool")
	f.Fuzz(func(t *testing.T, content []byte, size uint8) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		p := Pool{path, 0o600, first, 1 + int(size)%8}
		var slots []int
		for range p.Count {
			slot, lease, err := p.Next()
			if err != nil || slot < p.First || slot >= p.First+p.Count || slices.Contains(slots, slot) {
				t.Fatalf("slot %d of %d to %d, %v, beside %v", slot, p.First, p.First+p.Count-1, err, slots)
			}
			defer lease.Close()
			slots = append(slots, slot)
		}
		if slot, _, err := p.Next(); err != ErrNone {
			t.Fatalf("a full pool gave %d, %v", slot, err)
		}
	})
}
