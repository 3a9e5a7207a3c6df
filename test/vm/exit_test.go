package vm

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Exit codes 0 and 3 are TestDemo's, 255 is TestTerminal's.

func TestDeathBySignal(t *testing.T) {
	needVM(t)
	takeSlot(t)
	r := run(t, shared.place, shared.probe, "--", "die", "9")
	r.check(t, exitSignal+int(unix.SIGKILL))
	if r.stdout != "to stdout\n" || r.stderr != "" {
		t.Errorf("want the app's last words and no others:\n%v", r)
	}
}

// TestCommandNotFound also looks at the guest's console.
func TestCommandNotFound(t *testing.T) {
	needVM(t)
	takeSlot(t)
	r := run(t, shared.place, "--console", "--entrypoint", "missing", shared.probe)
	r.check(t, exitNotFound)
	last := r.stderr[strings.LastIndex(strings.TrimSuffix(r.stderr, "\n"), "\n")+1:]
	if !strings.HasPrefix(last, "clearrun: ") || !strings.Contains(last, "missing") || !strings.Contains(last, "not found") {
		t.Errorf("the last line does not say what was not found: %q", last)
	}
	if !strings.Contains(r.stderr, "Linux version ") {
		t.Errorf("--console does not show the guest kernel's messages:\n%v", r)
	}
}

func TestCommandNotExecutable(t *testing.T) {
	needVM(t)
	takeSlot(t)
	r := run(t, shared.place, "--entrypoint", "/bin/text", shared.probe)
	r.complains(t, exitNotExecutable, "/bin/text", "permission denied")
}

// TestPowerOff: a VM that ends without a word about its app is a failure.
func TestPowerOff(t *testing.T) {
	needVM(t)
	takeSlot(t)
	r := run(t, shared.place, "--cap-add", "SYS_BOOT", shared.probe, "--", "power-off")
	r.check(t, exitFailure)
	if want := "without reporting the app's exit"; !strings.Contains(r.stderr, want) {
		t.Errorf("stderr does not say %q:\n%v", want, r)
	}
}

// TestPanic: what the guest's kernel says of its end is passed on.
func TestPanic(t *testing.T) {
	needVM(t)
	takeSlot(t)
	r := run(t, shared.place, "--kernel-args", "rdinit=/absent", shared.probe)
	r.complains(t, exitFailure, "without reporting the app's exit", "the guest kernel's last words: panic, ")
}

// TestManyCPUs: as many as a VM can have, on a host with fewer, come up and are the app's.
func TestManyCPUs(t *testing.T) {
	needVM(t)
	takeSlots(t, 2)
	r := run(t, shared.place, "--cpus", "32", shared.probe, "--", "cpus")
	r.check(t, 0)
	if got := strings.TrimSpace(r.stdout); got != "32" {
		t.Errorf("the app may use %s CPUs, want 32", got)
	}
}

// TestKernelThreads: a CPU but the first starts without threads for its softirqs and its queued work;
// both are made once there is something for them to do.
func TestKernelThreads(t *testing.T) {
	needVM(t)
	takeSlots(t, 2)
	r := run(t, shared.place, "--cpus", "2", shared.probe, "--", "kthreads")
	r.check(t, 0)
	if got := strings.TrimSpace(r.stdout); got != "1" {
		t.Errorf("the kernel made threads for the CPUs %q, want 1", got)
	}
}

// TestSignals sends clearrun what users send it.
func TestSignals(t *testing.T) {
	needVM(t)
	takeSlot(t)
	c := converse(t, clearrun(t, shared.place, shared.probe, "--", "signals"))
	c.expect("ready\n")
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGTERM, unix.SIGINT} {
		c.send(sig)
		c.expect(unix.SignalName(sig) + "\n")
	}
	// The app is deaf to interrupts; the second of two ends the VM.
	c.send(os.Interrupt)
	c.send(os.Interrupt)
	r := c.end()
	r.check(t, exitSignal+int(unix.SIGINT))
	if want := "clearrun: interrupted twice: the run was ended\n"; r.stderr != want {
		t.Errorf("stderr %q, want %q", r.stderr, want)
	}
}

// TestSignalBeforeApp: a signal also ends a VM whose app has not started yet.
func TestSignalBeforeApp(t *testing.T) {
	needVM(t)
	takeSlot(t)
	const code = exitSignal + int(unix.SIGTERM)
	// Should the VM be quicker than the signal, the app ends with the same code.
	c := converse(t, clearrun(t, shared.place, "--verbose", shared.probe, "--", "signals", "15", "143"))
	if !c.errors.await("tier vm") {
		t.Fatalf("not verified: %v", c.end())
	}
	c.send(unix.SIGTERM)
	c.end().check(t, code)
}

func TestTimeout(t *testing.T) {
	needVM(t)
	takeSlot(t)
	r := run(t, shared.place, "--timeout", "3s", shared.probe, "--", "signals")
	r.check(t, exitTimeout)
	if want := "clearrun: the timeout of 3s is over: the run was ended\n"; r.stderr != want {
		t.Errorf("stderr %q, want %q", r.stderr, want)
	}
}
