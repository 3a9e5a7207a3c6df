package vm

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/vmrun/bootlab"
)

// callsFile holds how many system calls the monitor makes before its guest runs, which no
// change may raise by more than growth.
const callsFile = "testdata/set-up-calls"

// scheduling are the calls by which Go's runtime runs its threads: more on a busy host.
var scheduling = strings.Fields("clone clone3 epoll_pwait futex gettid madvise mmap munmap nanosleep restart_syscall" +
	" rt_sigaction rt_sigprocmask rt_sigreturn sched_yield set_robust_list sigaltstack tgkill")

// TestSetUpCalls counts the monitor's system calls up to the first KVM_RUN, in the
// cheapest of some starts.
func TestSetUpCalls(t *testing.T) {
	needVM(t)
	takeSlot(t)
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatalf("%v: hack/deps.sh installs it", err)
	}
	kernel := filepath.Join(shared.tempDir(t), "payload.elf")
	if err := os.WriteFile(kernel, bootlab.Payload(), 0o644); err != nil {
		t.Fatal(err)
	}
	least := 0
	for range 5 {
		n := traceSetUp(t, strace, kernel)
		if least == 0 || n < least {
			least = n
		}
	}
	if os.Getenv(updateEnv) != "" {
		if err := os.WriteFile(callsFile, fmt.Appendln(nil, least), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	data, err := os.ReadFile(callsFile)
	if err != nil {
		t.Fatal(err)
	}
	before, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || before < 1 {
		t.Fatalf("%s: %q is not a count (%v)", callsFile, data, err)
	}
	t.Logf("%d system calls before the guest runs, the baseline is %d", least, before)
	if float64(least) > float64(before)*growth {
		t.Errorf("the monitor makes %d system calls before the guest runs, the baseline has %d; if it has to be so, run make bench-baseline and commit %s",
			least, before, callsFile)
	}
}

// traceSetUp starts a guest that ends with its first instruction, and counts.
func traceSetUp(t *testing.T, strace, kernel string) int {
	t.Helper()
	trace := filepath.Join(filepath.Dir(kernel), "trace")
	// The guest never gets to PID 1, which clearrun rightly calls a failure.
	cmd := clearrun(t, shared.place, "boot", "--kernel", kernel, "--until", "pid1")
	cmd.Path, cmd.Args = strace, append([]string{strace, "-f", "--decode-pids=pidns", "-o", trace, shared.clearrun}, cmd.Args[1:]...)
	out, err := cmd.CombinedOutput()
	f, openErr := os.Open(trace)
	if openErr != nil {
		t.Fatalf("%v (%v)\n%s", openErr, err, out)
	}
	defer f.Close()
	n, ran := countCalls(bufio.NewScanner(f))
	if !ran {
		t.Fatalf("the monitor did not run a guest (%v)\n%s", err, out)
	}
	return n
}

// newThread is a clone that succeeded, with the thread as strace sees it.
var newThread = regexp.MustCompile(`clone3?[ (].* = \d+ /\* (\d+) in strace's PID NS \*/$`)

// countCalls counts the calls of the monitor's threads in strace's output, and says
// whether they got to KVM_RUN.
func countCalls(lines *bufio.Scanner) (n int, ran bool) {
	monitor := map[string]bool{}
	for lines.Scan() {
		thread, call, _ := strings.Cut(lines.Text(), " ")
		call = strings.TrimSpace(call)
		if strings.HasPrefix(call, "execve(") && strings.Contains(call, `["clearrun-monitor"]`) {
			monitor, n = map[string]bool{thread: true}, 0
		}
		switch {
		case !monitor[thread]:
			continue
		case strings.Contains(call, "KVM_RUN"):
			return n, true
		case strings.HasPrefix(call, "<..."): // the rest of a call that is counted already
		default:
			if name, _, _ := strings.Cut(call, "("); !slices.Contains(scheduling, name) {
				n++
			}
		}
		if m := newThread.FindStringSubmatch(call); m != nil {
			monitor[m[1]] = true
		}
	}
	return n, false
}
