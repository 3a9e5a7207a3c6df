package ns

import (
	"os"
	"path/filepath"
	"strings"
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

// TestUserNetworkEnds ends pasta while the app runs: its user is told, and so is the log.
func TestUserNetworkEnds(t *testing.T) {
	l := newLab(t, "[ns]")
	h := networktest.New(t)
	const says = "clearrun: network user: pasta ended, and with it the app's network (it ended without a word: signal: killed): start the app anew\n"
	for _, killed := range []int{0, 1} {
		stderr, err := os.Create(filepath.Join(l.dir, "stderr"))
		if err != nil {
			t.Fatal(err)
		}
		defer stderr.Close()
		told := func() string {
			text, err := os.ReadFile(stderr.Name())
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		cmd := l.command("echo ready; read x; exit 7", "-i", "--network", "user")
		cmd.Stderr = stderr
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		l.awaitReady(cmd)
		if killed > 0 {
			if got := h.Kill("pasta"); got != killed {
				t.Errorf("killed %d processes", got)
			}
			awaitNone(t, func() []string { // while the app runs
				if strings.Contains(told(), says) {
					return nil
				}
				return []string{told()}
			})
		}
		stdin.Close()
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 7 || strings.Count(told(), "pasta") != killed {
			t.Errorf("killed %d: exit code %d: %s", killed, code, told())
		}
		log, err := os.ReadFile(l.dir + "/config/log/decisions.jsonl")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(string(log), `"exit":7,"error":"network user: pasta ended`); got != killed {
			t.Errorf("killed %d: the log says: %s", killed, log)
		}
	}
}
