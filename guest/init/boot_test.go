package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

func TestPanicBecomesAFailure(t *testing.T) {
	for _, cause := range []any{"text", errors.New("error")} {
		m := guarded(func() proto.Message { panic(cause) })
		if f, ok := m.(*proto.Failure); !ok || f.ExitCode != proto.ExitFailure {
			t.Errorf("panic(%v) becomes %+v", cause, m)
		}
	}
	m := guarded(func() proto.Message {
		var list []int
		return &proto.Exit{Code: uint8(list[len(os.Args)])}
	})
	if f, ok := m.(*proto.Failure); !ok || !strings.Contains(f.Message, "index out of range") {
		t.Errorf("a runtime error becomes %+v", m)
	}
}

func TestFailureThatNoLayerNamed(t *testing.T) {
	want := proto.Failure{Stage: "init", Message: "internal error: no space left on device", ExitCode: proto.ExitFailure}
	if f := report(unix.ENOSPC); *f != want {
		t.Errorf("%+v, want %+v", *f, want)
	}
	if err := fail("mount", "mount x", nil); err != nil {
		t.Errorf("failure without an error: %v", err)
	}
}

func TestOOMKills(t *testing.T) {
	for text, want := range map[string]bool{
		"":                                     false,
		"nr_free_pages 5\noom_kill 0\n":        false,
		"nr_free_pages 5\noom_kill 2\nfoo 0\n": true,
		"oom_kill_x 3\n":                       false,
	} {
		if oomKills(text) != want {
			t.Errorf("oomKills(%q) = %v", text, !want)
		}
	}
	stat, err := readFile("/proc/vmstat") // longer than one read of a proc file
	if err != nil || !strings.Contains(stat, "\noom_kill ") {
		t.Errorf("%d bytes of /proc/vmstat without the counter (%v)", len(stat), err)
	}
}

func TestReadFileIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for size, want := range map[int]error{0: nil, 4096: nil, 4097: nil, maxDatabase: nil, maxDatabase + 1: errTooLarge} {
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		text, err := readFile(path)
		if err != want || err == nil && len(text) != size {
			t.Errorf("%d bytes: read %d, %v, want %v", size, len(text), err, want)
		}
	}
	if _, err := readFile("/dev/zero"); err != errTooLarge {
		t.Errorf("/dev/zero: %v, want %v", err, errTooLarge)
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := readFile(fifo); text != "" || err != nil { // and it does not block
		t.Errorf("a FIFO without a writer: %q, %v", text, err)
	}
}
