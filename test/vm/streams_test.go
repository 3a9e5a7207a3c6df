package vm

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"testing"
)

// TestStreams carries random bytes through the app, in and out at the same time.
func TestStreams(t *testing.T) {
	needVM(t)
	takeSlot(t)
	data := make([]byte, 10<<20+12345)
	rand.Read(data)
	cmd := clearrun(t, shared.place, "-i", shared.probe, "--", "cat")
	cmd.Stdin = bytes.NewReader(data)
	r := runCmd(t, cmd)
	r.stdout, data = sum(r.stdout), []byte(sum(string(data)))
	r.check(t, 0)
	if r.stdout != string(data) {
		t.Errorf("stdout is %s, want what went to stdin: %s", r.stdout, data)
	}
	if want := fmt.Sprintf("cat begins\ncat ends after %d\n", 10<<20+12345); r.stderr != want {
		t.Errorf("stderr %q, want %q", r.stderr, want)
	}
}

// sum stands for much data in a message.
func sum(data string) string {
	return fmt.Sprintf("%d bytes, sha256 %x", len(data), sha256.Sum256([]byte(data)))
}
