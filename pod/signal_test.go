package pod_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/pod"
)

func TestParseSignal(t *testing.T) {
	for s, want := range map[string]unix.Signal{
		"SIGQUIT": unix.SIGQUIT, "quit": unix.SIGQUIT, "SIGWINCH": unix.SIGWINCH, "3": 3, "9": 9, "64": 64,
		"SIGRTMIN": 34, "SIGRTMIN+3": 37, "RTMAX-1": 63, "SIGRTMAX": 64,
		"": 0, "0": 0, "65": 0, "-1": 0, "SIG": 0, "SIGNONE": 0, "SIGRTMIN-1": 0, "SIGRTMAX+1": 0, "SIGRTMIN3": 0,
		"SIGRTMIN+": 0, "SIGRTMIN+99": 0, "SIGQUIT\n": 0,
	} {
		got, err := pod.ParseSignal(s)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v; want %d", s, got, err, want)
		}
	}
}
