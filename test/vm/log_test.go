package vm

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/trust"
)

// TestDecisionLog has a refusal and a run that nobody vouches for recorded.
func TestDecisionLog(t *testing.T) {
	needVM(t)
	takeSlot(t)
	p := fresh(t)
	run(t, p, shared.probe).complains(t, exitFailure, "is not trusted")
	run(t, p, "--insecure-no-verify", "--env", "TOKEN=secret", shared.probe, "--", "die", "9").check(t, exitSignal+int(unix.SIGKILL))
	run(t, p, "log", "verify").check(t, 0)
	r := run(t, p, "log", "show", "--json")
	r.check(t, 0)
	var records []trust.Record
	for line := range strings.Lines(r.stdout) {
		var record trust.Record
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		records = append(records, record)
	}
	if len(records) != 3 || strings.Contains(r.stdout, "secret") {
		t.Fatalf("want a refusal, a decision, an exit, and no secrets:\n%v", r)
	}
	refused, allowed, exit := records[0], records[1], records[2]
	if refused.Event != trust.EventRefused || refused.Reference != shared.probe || !strings.Contains(refused.Decision, "is not trusted") {
		t.Errorf("refusal: %+v", refused)
	}
	if allowed.Event != trust.EventAllowed || allowed.Trusted || allowed.Signer != "" || allowed.Tier != "vm" || strings.Join(allowed.Bypassed, "") != "signature" ||
		allowed.Image != "example.com/app/probe" || !strings.HasPrefix(allowed.Digest, "sha512-") ||
		!strings.HasPrefix(allowed.Kernel, "sha256-") || !strings.HasPrefix(allowed.Monitor, "sha256-") || allowed.UID != os.Getuid() {
		t.Errorf("decision: %+v", allowed)
	}
	if exit.Event != trust.EventExit || exit.Run != allowed.Seq || exit.Exit == nil || *exit.Exit != exitSignal+int(unix.SIGKILL) {
		t.Errorf("exit: %+v", exit)
	}

	// What cannot be recorded does not run.
	if err := os.RemoveAll(filepath.Join(p.config, "log")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.config, "log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, p, "--insecure-no-verify", shared.probe).complains(t, exitFailure, "decision log", "nothing runs unrecorded")
}
