package label_test

import (
	"strings"
	"testing"

	"github.com/clearrun/clearrun/hostrun/label"
)

// TestAbsent is about hosts without SELinux: what a policy demands is refused, what a user
// asks for as well, and all else runs. Only where less holds it than its tier is known
// for, a line says so. test/selinux has the hosts with SELinux.
func TestAbsent(t *testing.T) {
	if s := label.Host(); s != label.Absent {
		t.Skipf("SELinux is %s on this host", s)
	}
	for _, kind := range []label.Kind{label.Container, label.Monitor} {
		lease, err := label.Acquire(t.TempDir(), label.Request{Kind: kind})
		if err != nil || lease.ProcessLabel() != "" || lease.FileLabel() != "" {
			t.Fatalf("kind %d: %+v, %v", kind, lease, err)
		}
		if told := lease.Notice() != ""; told != (kind == label.Container) {
			t.Errorf("kind %d: notice %q", kind, lease.Notice())
		}
		started := false
		if err := lease.Start(func() error { started = true; return nil }); err != nil || !started {
			t.Errorf("kind %d: start: %v, started %v", kind, err, started)
		}
		lease.Close()
		for want, r := range map[string]label.Request{
			"the policy demands SELinux, which is not active": {Kind: kind, Required: true},
			"--security-opt label=...: SELinux is not active": {Kind: kind, Options: label.Options{Level: "s0:c1,c2"}},
		} {
			if _, err := label.Acquire(t.TempDir(), r); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("kind %d: %v, want %q", kind, err, want)
			}
		}
	}
}
