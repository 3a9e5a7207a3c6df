package pod_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/pod"
)

func TestSeccompIsolators(t *testing.T) {
	h := newHost(t)
	app := func(isolators string) string {
		return fmt.Sprintf(`{"exec":["/bin/app"],"user":"0","group":"0","isolators":[%s]}`, isolators)
	}
	const retain, remove = "os/linux/seccomp-retain-set", "os/linux/seccomp-remove-set"
	isolator := func(name, value string) string { return fmt.Sprintf(`{"name":%q,"value":%s}`, name, value) }
	for _, tt := range []struct{ isolators, want string }{
		{isolator(remove, `{"set":["mkdri"]}`), `"mkdri"`},
		{isolator(retain, `{"set":["mkdir"],"errno":"EWHAT"}`), `"EWHAT"`},
		{isolator(retain, `{"set":[]}`), "empty"},
		{isolator(retain, `"mkdir"`), "cannot unmarshal"},
		{isolator(retain, `{"set":["mkdir"]}`) + "," + isolator(remove, `{"set":["rmdir"]}`), "incompatible"},
		{isolator(remove, `{"set":["mkdir"]}`) + "," + isolator(remove, `{"set":["rmdir"]}`), "too many"},
	} {
		if _, err := build(t, h, app(tt.isolators), pod.Overrides{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.isolators, err, tt.want)
		}
	}
	// In a VM they are read, and said not to be kept.
	p, err := build(t, h, app(isolator(remove, `{"set":["mkdir"]}`)), pod.Overrides{})
	if err != nil || len(p.Enforcement) != 1 || p.Enforcement[0].State != pod.Unenforced || p.App.Seccomp == nil {
		t.Fatalf("%v: %+v", err, p)
	}
	if _, err := build(t, h, app(isolator(remove, `{"set":["mkdir"]}`)), pod.Overrides{Strict: true}); err == nil || !strings.Contains(err.Error(), remove) {
		t.Errorf("strict: %v", err)
	}
}
