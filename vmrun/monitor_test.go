package vmrun

import (
	"bytes"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/pod"
)

func TestRunRefusesWithoutAVerdict(t *testing.T) {
	code, err := Run(t.Context(), &pod.Pod{}, Options{})
	if code != ExitFailure || err == nil || !strings.Contains(err.Error(), "verdict") {
		t.Errorf("code %d, %v", code, err)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var tl tail
	_, _ = tl.Write(bytes.Repeat([]byte("x"), 2*maxTail))
	_, _ = tl.Write([]byte("the end"))
	if s := tl.suffix(); len(s) > maxTail+2 || !strings.HasSuffix(s, "the end") {
		t.Errorf("%d bytes, ending %q", len(s), s[max(0, len(s)-10):])
	}
}
