package vm

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
)

// TestStreams carries random bytes through the app, in and out at the same time, for
// a user who has no right but to open /dev/kvm.
func TestStreams(t *testing.T) {
	needRoot(t) // to become that user
	needVM(t)
	takeSlot(t)
	data := make([]byte, 10<<20+12345)
	rand.Read(data)
	open := kvmNode
	open.Mode = 0o666
	st := stage{Dev: []node{null, open}, Nobody: true}
	cmd := st.on(t, clearrun(t, nobodysPlace(t), "-i", "--insecure-no-verify", shared.probe, "--", "cat"))
	cmd.Stdin = bytes.NewReader(data)
	r := runCmd(t, cmd)
	r.stdout, data = sum(r.stdout), []byte(sum(string(data)))
	r.check(t, 0)
	if r.stdout != string(data) {
		t.Errorf("stdout is %s, want what went to stdin: %s", r.stdout, data)
	}
	warning, rest, _ := strings.Cut(r.stderr, "\n")
	if want := fmt.Sprintf("cat begins\ncat ends after %d\n", 10<<20+12345); rest != want || !strings.Contains(warning, "UNVERIFIED") {
		t.Errorf("stderr %q, want a warning and %q", r.stderr, want)
	}
}

// sum stands for much data in a message.
func sum(data string) string {
	return fmt.Sprintf("%d bytes, sha256 %x", len(data), sha256.Sum256([]byte(data)))
}
