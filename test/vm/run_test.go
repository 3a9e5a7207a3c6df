package vm

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// Exit codes of clearrun itself.
const (
	exitTimeout       = 124
	exitFailure       = 125
	exitNotExecutable = 126
	exitNotFound      = 127
	exitSignal        = 128 // and the signal's number
)

// patience bounds a wait for something that must happen. A VM on an emulated kernel
// takes its time, and so does a busy machine.
const patience = 10 * time.Minute

// vmSlots bounds the virtual CPUs that run at a time; taking lets one test at a time
// wait for several.
var (
	vmSlots = make(chan struct{}, 2)
	taking  sync.Mutex
)

// takeSlot waits for a slot and gives it back at the test's end.
func takeSlot(t *testing.T) { takeSlots(t, 1) }

// takeSlots is takeSlot for a VM with several CPUs. Where each of them is emulated, they
// wait for one another's locks most of the time unless they all run.
func takeSlots(t *testing.T, cpus int) {
	taking.Lock()
	defer taking.Unlock()
	for range cpus {
		vmSlots <- struct{}{}
		t.Cleanup(func() { <-vmSlots })
	}
}

// result is how a run of clearrun ended.
type result struct {
	code           int
	stdout, stderr string
}

// check compares the exit code and fails with all that was said.
func (r result) check(t *testing.T, code int) {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d, want %d\n%v", r.code, code, r)
	}
}

// complains checks for a failure of clearrun whose message has all the parts, and
// that nothing of an app was seen.
func (r result) complains(t *testing.T, code int, parts ...string) {
	t.Helper()
	r.check(t, code)
	for _, part := range parts {
		if !strings.Contains(r.stderr, part) {
			t.Errorf("stderr does not say %q: %s", part, r.stderr)
		}
	}
	if r.stdout != "" {
		t.Errorf("something is on stdout: %q", r.stdout)
	}
	if !strings.HasPrefix(r.stderr, "clearrun: ") || strings.Contains(r.stderr, "to stderr") {
		t.Errorf("stderr has not just clearrun's own words: %q", r.stderr)
	}
}

func (r result) String() string {
	return "stdout: " + abridged(r.stdout) + "\nstderr: " + abridged(r.stderr)
}

func abridged(s string) string {
	const most = 4000
	if len(s) > most {
		return s[:most/2] + "\n[...]\n" + s[len(s)-most/2:]
	}
	return s
}

// run runs clearrun at a place to its end, with no input.
func run(t *testing.T, p place, args ...string) result {
	t.Helper()
	return runCmd(t, clearrun(t, p, args...))
}

// clearrun prepares a run. It is killed when patience ends.
func clearrun(t *testing.T, p place, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, shared.clearrun, append(p.args(), args...)...)
	cmd.WaitDelay = time.Minute // for streams that something else holds open
	return cmd
}

func runCmd(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	return result{exitCode(t, cmd.Run(), cmd), out.String(), err.String()}
}

// exitCode gives the exit code from what Run or Wait has returned; as in a shell if
// clearrun itself was killed.
func exitCode(t *testing.T, err error, cmd *exec.Cmd) int {
	t.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	return cmd.ProcessState.ExitCode()
}

// conversation is a run that a test follows as it happens.
type conversation struct {
	t           *testing.T
	cmd         *exec.Cmd
	out, errors transcript
	ended       chan struct{}
	waitErr     error // once ended
}

// converse starts a run.
func converse(t *testing.T, cmd *exec.Cmd) *conversation {
	t.Helper()
	c := &conversation{t: t, cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &c.out, &c.errors
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		c.waitErr = cmd.Wait()
		c.out.close()
		c.errors.close()
		close(c.ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // if the test gave up
		<-c.ended
	})
	return c
}

// expect waits until the app says something on stdout, behind what was expected
// before.
func (c *conversation) expect(want string) {
	c.t.Helper()
	if !c.out.await(want) {
		c.t.Fatalf("the app did not say %q\nstdout: %s\nstderr: %s", want, &c.out, &c.errors)
	}
}

// send sends a signal to clearrun.
func (c *conversation) send(sig os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		c.t.Fatal(err)
	}
}

// end waits for the end of the run.
func (c *conversation) end() result {
	c.t.Helper()
	<-c.ended
	return result{exitCode(c.t, c.waitErr, c.cmd), c.out.String(), c.errors.String()}
}

// transcript takes what a program writes, for a test to wait for.
type transcript struct {
	mu      sync.Mutex
	more    *sync.Cond // text or closed has changed
	text    []byte
	awaited int // how much of text has been waited for
	closed  bool
}

// lock makes the zero transcript usable.
func (t *transcript) lock() {
	t.mu.Lock()
	if t.more == nil {
		t.more = sync.NewCond(&t.mu)
	}
}

func (t *transcript) Write(p []byte) (int, error) {
	t.lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.more.Broadcast()
	return len(p), nil
}

func (t *transcript) close() {
	t.lock()
	defer t.mu.Unlock()
	t.closed = true
	t.more.Broadcast()
}

// await waits for want, behind what was waited for before. It gives up at the end.
func (t *transcript) await(want string) bool {
	t.lock()
	defer t.mu.Unlock()
	for {
		if i := bytes.Index(t.text[t.awaited:], []byte(want)); i >= 0 {
			t.awaited += i + len(want)
			return true
		}
		if t.closed {
			return false
		}
		t.more.Wait()
	}
}

func (t *transcript) String() string {
	t.lock()
	defer t.mu.Unlock()
	return string(t.text)
}
