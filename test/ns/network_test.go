package ns

import (
	"testing"

	"github.com/clearrun/clearrun/hostrun/network/networktest"
)

// TestKilledUserNetworkLeavesNothing kills clearrun and looks for pasta, which is in no
// namespace of the container's.
func TestKilledUserNetworkLeavesNothing(t *testing.T) {
	l := newLab(t, "[ns]")
	h := networktest.New(t)
	cmd := l.startReady("echo ready; sleep 1000", "--network", "user")
	if got := len(h.Processes()); got != 2 {
		t.Errorf("%d processes on the host, want clearrun and pasta: %q", got, h.Processes())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	awaitNone(t, h.Processes)
}
