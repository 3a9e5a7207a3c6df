package trust_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/trust"
)

// TestLogNotedHash forges what the log alone cannot tell from the truth.
func TestLogNotedHash(t *testing.T) {
	for _, tc := range []struct {
		name  string
		forge func(t *testing.T, l *trust.Log, olderHead, olderLog []byte)
		found bool // that something was changed, with the noted hash
	}{
		{"nothing", func(*testing.T, *trust.Log, []byte, []byte) {}, false},
		{"more records", func(t *testing.T, l *trust.Log, _, _ []byte) { appendTo(t, l, 3) }, false},
		{"the last records and the head are put back", func(t *testing.T, l *trust.Log, head, log []byte) {
			write(t, l.Dir()+"/head", string(head))
			write(t, l.Dir()+"/decisions.jsonl", string(log))
		}, true},
		{"and others written in their place", func(t *testing.T, l *trust.Log, head, log []byte) {
			write(t, l.Dir()+"/head", string(head))
			write(t, l.Dir()+"/decisions.jsonl", string(log))
			appendTo(t, l, 3)
		}, true},
		{"all is gone", func(t *testing.T, l *trust.Log, _, _ []byte) {
			remove(t, l.Dir()+"/head")
			remove(t, l.Dir()+"/decisions.jsonl")
		}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := trust.OpenLog(filepath.Join(t.TempDir(), "log"), trust.LogBounds{FileBytes: 1 << 20, Files: 1})
			appendTo(t, l, 2)
			head, log := read(t, l.Dir()+"/head"), read(t, l.Dir()+"/decisions.jsonl")
			appendTo(t, l, 1)
			noted, err := l.Verify()
			if err != nil {
				t.Fatal(err)
			}
			tc.forge(t, l, head, log)
			if sum, err := l.Verify(); err != nil || len(sum.Faults) > 0 {
				t.Fatalf("the forgery is found without the hash: %+v, %v", sum, err)
			}
			sum, err := l.VerifyNoted(strings.ToUpper(noted.Hash))
			if found := len(sum.Faults) > 0 && strings.Contains(sum.Faults[0], noted.Hash); err != nil || found != tc.found {
				t.Errorf("%+v, %v", sum, err)
			}
		})
	}
	for _, hash := range []string{"", "12", strings.Repeat("x", 64)} {
		if _, err := newLog(t).VerifyNoted(hash); err == nil {
			t.Errorf("took %q", hash)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
