package trust_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/clearrun/clearrun/trust"
)

// newLog is a log that rotates after a few records.
func newLog(t testing.TB) *trust.Log {
	t.Helper()
	return trust.OpenLog(filepath.Join(t.TempDir(), "log"), trust.LogBounds{FileBytes: 1500, Files: 3})
}

func appendTo(t testing.TB, l *trust.Log, n int) {
	t.Helper()
	for i := range n {
		if _, err := l.Append(trust.Record{Event: trust.EventAllowed, Image: fmt.Sprintf("example.com/app%d", i), Trusted: true}); err != nil {
			t.Fatal(err)
		}
	}
}

func logFiles(t testing.TB, l *trust.Log) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(l.Dir(), "decisions*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestLog(t *testing.T) {
	l := trust.OpenLog(filepath.Join(t.TempDir(), "log"), trust.LogBounds{})
	if sum, err := l.Verify(); err != nil || sum.Records != 0 || len(sum.Faults) > 0 {
		t.Errorf("a log that is not there: %+v, %v", sum, err)
	}
	code := 3
	seq, err := l.Append(trust.Record{Event: trust.EventRefused, Image: "a", Exit: &code, Decision: strings.Repeat("\x00<", 5000), Options: make([]string, 100)})
	if err != nil || seq != 1 {
		t.Fatal(seq, err)
	}
	appendTo(t, l, 2)
	long, err := l.Append(trust.Record{Event: trust.EventRefused, Decision: strings.Repeat("\x00", 5000), Options: slices.Repeat([]string{strings.Repeat("\x01", 99)}, 90)})
	if err != nil || long != 4 {
		t.Fatal(long, err)
	}
	appendTo(t, l, 1) // after a record that is longer than the first look back
	var got []trust.Record
	sum, err := l.Each(func(r trust.Record) error { got = append(got, r); return nil })
	if err != nil || len(sum.Faults) > 0 || len(got) != 5 || sum.Last != 5 {
		t.Fatalf("%+v, %v, %d records", sum, err, len(got))
	}
	if r := got[0]; r.Event != trust.EventRefused || *r.Exit != 3 || r.UID != os.Getuid() || r.PID != os.Getpid() || r.Time.IsZero() || r.Trusted {
		t.Errorf("got %+v", r)
	}
	if got[1].Prev != got[0].Hash || got[4].Hash != sum.Hash {
		t.Error("the hashes make no chain")
	}
	for _, path := range append(logFiles(t, l), filepath.Join(l.Dir(), "head")) {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
		if data, err := os.ReadFile(path); err != nil || !json.Valid(bytes.SplitN(data, []byte("\n"), 2)[0]) {
			t.Errorf("%s is no JSON", path)
		}
	}
}

func TestLogRotates(t *testing.T) {
	l := newLog(t)
	appendTo(t, l, 60)
	files := logFiles(t, l)
	if len(files) != 4 {
		t.Fatalf("%d files, want 3 full ones and one to write to: %q", len(files), files)
	}
	sum, err := l.Verify()
	if err != nil || len(sum.Faults) > 0 || sum.Last != 60 || sum.First < 2 || sum.Records != sum.Last-sum.First+1 {
		t.Errorf("%+v, %v", sum, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() > 1500+1000 {
			t.Errorf("%s: %d bytes, %v", f, info.Size(), err)
		}
	}
}

// TestLogFindsChanges does everything to the files that must be found.
func TestLogFindsChanges(t *testing.T) {
	edit := func(file int, change func([]string) []string) func(*testing.T, *trust.Log) {
		return func(t *testing.T, l *trust.Log) {
			path := logFiles(t, l)[file]
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines := change(strings.SplitAfter(string(data), "\n"))
			write(t, path, strings.Join(lines, ""))
		}
	}
	const last = 3 // of the files: Glob sorts "decisions-" before "decisions."
	swap := func(l []string) []string { l[0], l[1] = l[1], l[0]; return l }
	for _, tc := range []struct {
		name   string
		change func(*testing.T, *trust.Log)
		want   string
	}{
		{"edit", edit(1, func(l []string) []string {
			l[1] = strings.Replace(l[1], "example.com", "example.org", 1)
			return l
		}), "was changed"},
		{"edit of a hash", edit(1, func(l []string) []string {
			l[1] = strings.Replace(l[1], `"hash":"`, `"hash":"0`, 1)
			return l
		}), "is no record"},
		{"removal", edit(1, func(l []string) []string { return append(l[:1:1], l[2:]...) }), "should be"},
		{"removal of a file's first", edit(1, func(l []string) []string { return l[1:] }), "should be"},
		{"removal of a file's last", edit(1, func(l []string) []string { return l[:len(l)-2] }), "should be"},
		{"removal of the first", edit(0, func(l []string) []string { return l[1:] }), "should be"},
		{"removal of the last", edit(last, func(l []string) []string { return l[:len(l)-2] }), "the last records are gone"},
		{"order", edit(1, swap), "should be"},
		{"doubled", edit(1, func(l []string) []string { return append(l[:1:1], l...) }), "should be"},
		{"half a record inside", edit(1, func(l []string) []string { l[1] = l[1][:20] + "\n"; return l }), "is no record"},
		{"no end of a full file", edit(1, func(l []string) []string { l[len(l)-2] = l[len(l)-2][:20]; return l }), "is no record"},
		{"a file is gone", func(t *testing.T, l *trust.Log) { remove(t, logFiles(t, l)[1]) }, "should be"},
		{"the oldest is gone", func(t *testing.T, l *trust.Log) { remove(t, logFiles(t, l)[0]) }, "should be"},
		{"the newest is gone", func(t *testing.T, l *trust.Log) { remove(t, logFiles(t, l)[last]) }, "the last records are gone"},
		{"files change places", func(t *testing.T, l *trust.Log) {
			f := logFiles(t, l)
			for _, move := range [][2]string{{f[0], f[0] + "x"}, {f[1], f[0]}, {f[0] + "x", f[1]}} {
				if err := os.Rename(move[0], move[1]); err != nil {
					t.Fatal(err)
				}
			}
		}, "should be"},
		{"no head", func(t *testing.T, l *trust.Log) { remove(t, l.Dir()+"/head") }, "no " + "/"},
		{"empty head", func(t *testing.T, l *trust.Log) { write(t, l.Dir()+"/head", "") }, "was emptied"},
		{"older head and removal", func(t *testing.T, l *trust.Log) {
			data, err := os.ReadFile(l.Dir() + "/head")
			if err != nil {
				t.Fatal(err)
			}
			appendTo(t, l, 1)
			edit(last, func(l []string) []string { return l[:len(l)-3] })(t, l)
			write(t, l.Dir()+"/head", string(data))
		}, "the last records are gone"},
		{"forged from the middle on", func(t *testing.T, l *trust.Log) {
			// Whoever forges a chain that is good in itself has to forge the head, too.
			data, err := os.ReadFile(l.Dir() + "/head")
			if err != nil {
				t.Fatal(err)
			}
			forged := trust.OpenLog(l.Dir()+"2", trust.LogBounds{FileBytes: 1 << 20, Files: 1})
			appendTo(t, forged, 60)
			for _, f := range logFiles(t, l) {
				remove(t, f)
			}
			if err := os.Rename(logFiles(t, forged)[0], l.Dir()+"/decisions.jsonl"); err != nil {
				t.Fatal(err)
			}
			write(t, l.Dir()+"/head", string(data))
		}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLog(t)
			appendTo(t, l, 26)
			if files := logFiles(t, l); len(files) != last+1 {
				t.Fatalf("%d files", len(files))
			}
			tc.change(t, l)
			want := strings.TrimSuffix(tc.want, "/")
			if sum, err := l.Verify(); err != nil || len(sum.Faults) == 0 || !strings.Contains(strings.Join(sum.Faults, "\n"), want) {
				t.Errorf("%+v, %v; want %q", sum, err, tc.want)
			}
		})
	}
}

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// TestLogCrashes takes what a crash may leave: it costs nothing that was written.
func TestLogCrashes(t *testing.T) {
	for _, tc := range []struct {
		name   string
		crash  func(t *testing.T, l *trust.Log, before []byte) // before is the head of one record earlier
		repair bool
	}{
		{"half a record", func(t *testing.T, l *trust.Log, _ []byte) {
			f, err := os.OpenFile(l.Dir()+"/decisions.jsonl", os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteString(`{"seq":5,"ti`); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"the head is behind", func(t *testing.T, l *trust.Log, before []byte) { write(t, l.Dir()+"/head", string(before)) }, false},
		{"rotation was interrupted", func(t *testing.T, l *trust.Log, _ []byte) {
			if err := os.Rename(l.Dir()+"/decisions.jsonl", l.Dir()+"/decisions-000000000001.jsonl"); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := trust.OpenLog(filepath.Join(t.TempDir(), "log"), trust.LogBounds{FileBytes: 1 << 20, Files: 3})
			appendTo(t, l, 3)
			before, err := os.ReadFile(l.Dir() + "/head")
			if err != nil {
				t.Fatal(err)
			}
			appendTo(t, l, 1)
			tc.crash(t, l, before)
			if sum, err := l.Verify(); err != nil || len(sum.Faults) > 0 || sum.Last != 4 || (sum.Unfinished > 0) != tc.repair {
				t.Errorf("before: %+v, %v", sum, err)
			}
			appendTo(t, l, 1)
			want := uint64(5)
			if tc.repair {
				want++ // it is told in a record of its own
			}
			if sum, err := l.Verify(); err != nil || len(sum.Faults) > 0 || sum.Last != want || sum.Unfinished != 0 {
				t.Errorf("after: %+v, %v", sum, err)
			}
		})
	}
}

// TestLogRefusesToGoOn keeps a log from growing over what was done to it, and a run from
// starting without.
func TestLogRefusesToGoOn(t *testing.T) {
	for name, change := range map[string]func(l *trust.Log) error{
		"removed":  func(l *trust.Log) error { return os.Truncate(l.Dir()+"/decisions.jsonl", 0) },
		"readable": func(l *trust.Log) error { return os.Chmod(l.Dir(), 0o777) },
		"head":     func(l *trust.Log) error { return os.WriteFile(l.Dir()+"/head", []byte("x"), 0o600) },
		"symlink": func(l *trust.Log) error {
			if err := os.Rename(l.Dir()+"/decisions.jsonl", l.Dir()+"/x"); err != nil {
				return err
			}
			return os.Symlink("x", l.Dir()+"/decisions.jsonl")
		},
	} {
		l := newLog(t)
		appendTo(t, l, 2)
		if err := change(l); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(trust.Record{Event: trust.EventAllowed}); err == nil || !strings.Contains(err.Error(), l.Dir()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	l := trust.OpenLog("/dev/null/log", trust.LogBounds{})
	if _, err := l.Append(trust.Record{}); err == nil || !strings.Contains(err.Error(), "nothing runs unrecorded") {
		t.Errorf("no folder: %v", err)
	}
}

// TestLogProcesses has several processes write at once.
func TestLogProcesses(t *testing.T) {
	const dir, each = "CLEARRUN_TEST_LOG", 20
	if path := os.Getenv(dir); path != "" {
		appendTo(t, trust.OpenLog(path, trust.LogBounds{FileBytes: 4000, Files: 100}), each)
		return
	}
	path := filepath.Join(t.TempDir(), "log")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestLogProcesses$")
			cmd.Env = append(os.Environ(), dir+"="+path)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	sum, err := trust.OpenLog(path, trust.LogBounds{}).Verify()
	if err != nil || len(sum.Faults) > 0 || sum.Records != 4*each {
		t.Errorf("%+v, %v", sum, err)
	}
}

// TestLogKilled kills processes that write without pause.
func TestLogKilled(t *testing.T) {
	const dir = "CLEARRUN_TEST_LOG"
	bounds := trust.LogBounds{FileBytes: 3000, Files: 3}
	if path := os.Getenv(dir); path != "" {
		for {
			appendTo(t, trust.OpenLog(path, bounds), 1)
			os.Stdout.WriteString("x")
		}
	}
	path := filepath.Join(t.TempDir(), "log")
	written := 0
	for range 6 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLogKilled$")
		cmd.Env = append(os.Environ(), dir+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		n, err := io.ReadFull(out, make([]byte, 17)) // some rotations, and then in the middle of something
		if err != nil {
			t.Error(err)
		}
		cmd.Process.Kill()
		rest, err := io.ReadAll(out)
		if err != nil {
			t.Error(err)
		}
		cmd.Wait() // it was killed
		written += n + len(rest)
		// What a process was told to be written is there.
		if sum, err := trust.OpenLog(path, bounds).Verify(); err != nil || len(sum.Faults) > 0 || sum.Last < uint64(written) {
			t.Fatalf("%d were written: %+v, %v", written, sum, err)
		}
	}
}

// BenchmarkLogAppend is what each run pays twice.
func BenchmarkLogAppend(b *testing.B) {
	l := trust.OpenLog(filepath.Join(b.TempDir(), "log"), trust.LogBounds{})
	for b.Loop() {
		appendTo(b, l, 1)
	}
}

// FuzzLog asks that no change of a log's file goes unseen.
func FuzzLog(f *testing.F) {
	l := trust.OpenLog(filepath.Join(f.TempDir(), "log"), trust.LogBounds{FileBytes: 1 << 20, Files: 1})
	appendTo(f, l, 2)
	path := l.Dir() + "/decisions.jsonl"
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-5])
	f.Add(bytes.Replace(good, []byte("app1"), []byte("app2"), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		write(t, path, string(data))
		sum, err := l.Verify()
		if err != nil {
			t.Fatal(err)
		}
		// More than what was written may follow: that would be a crash before the head.
		if len(sum.Faults) == 0 && !bytes.HasPrefix(data, good) {
			t.Errorf("took %q", data)
		}
	})
}
