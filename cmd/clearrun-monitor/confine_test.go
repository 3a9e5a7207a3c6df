package main

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// childVariable tells the test binary to confine itself and try something.
const childVariable = "CLEARRUN_TEST_CONFINED"

func TestMain(m *testing.M) {
	what := os.Getenv(childVariable)
	if what == "" {
		os.Exit(m.Run())
	}
	if err := confine(); err != nil {
		os.Exit(2)
	}
	attempts[what]()
	os.Exit(0)
}

// attempts are system calls that a hijacked monitor would want to make.
var attempts = map[string]func(){
	"nothing": func() {},
	"open":    func() { _, _ = os.Open("/etc/passwd") },
	"execute": func() { _ = unix.Exec("/bin/true", []string{"true"}, nil) },
	"connect": func() { _, _ = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0) },
	"trace":   func() { _ = unix.PtraceAttach(os.Getppid()) },
	"kill":    func() { _ = unix.Kill(os.Getppid(), 0) },
	"mount":   func() { _ = unix.Mount("none", "/", "tmpfs", 0, "") },
	"unshare": func() { _ = unix.Unshare(unix.CLONE_NEWUSER) },
	"goroutine on another thread": func() {
		done := make(chan struct{})
		go func() { defer close(done); _, _ = os.Open("/etc/passwd") }()
		<-done
	},
}

func TestConfinementKills(t *testing.T) {
	for what := range attempts {
		t.Run(what, func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), childVariable+"="+what)
			err := cmd.Run()
			if what == "nothing" {
				if err != nil {
					t.Errorf("a confined process cannot even end: %v", err)
				}
				return
			}
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				t.Fatalf("the process ended with %v: it was not stopped", err)
			}
			if s := exit.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != unix.SIGSYS {
				t.Errorf("the process ended with %v, want SIGSYS", err)
			}
		})
	}
}
