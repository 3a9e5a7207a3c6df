package seccomp_test

import (
	"strings"
	"testing"

	"github.com/clearrun/clearrun/hostrun/seccomp"
)

func TestNamesThatMeanNothing(t *testing.T) {
	for _, tt := range []struct{ set, errno, want string }{
		{"", "EPERM", "empty"},
		{"open,opne", "", `"opne"`},
		{"OPEN", "", `"OPEN"`},
		{"@systemd/clock", "", "@appc.io/all"},
		{"@rkt", "", "@rkt"},
		{"open", "EPREM", `"EPREM"`},
		{"open", "eperm", `"eperm"`},
	} {
		for _, read := range []func([]string, string) (*seccomp.Restriction, error){seccomp.Retain, seccomp.Remove} {
			var set []string
			if tt.set != "" {
				set = strings.Split(tt.set, ",")
			}
			if r, err := read(set, tt.errno); err == nil || r != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q, %q: %v, want %s", tt.set, tt.errno, err, tt.want)
			}
		}
	}
}

func TestWordsThatMakeOthersVoid(t *testing.T) {
	if r, err := seccomp.Retain([]string{"open", "@appc.io/all"}, ""); r != nil || err != nil {
		t.Errorf("retain all: %v, %v", r, err)
	}
	if r, err := seccomp.Remove([]string{"open", "@appc.io/empty"}, ""); r != nil || err != nil {
		t.Errorf("remove nothing: %v, %v", r, err)
	}
}

func FuzzRestriction(f *testing.F) {
	f.Add("open,@docker/default-whitelist", "EPERM", true)
	f.Add("@appc.io/all", "", false)
	f.Add("read,,@x/y", "E", false)
	f.Fuzz(func(t *testing.T, set, errno string, retain bool) {
		read := seccomp.Remove
		if retain {
			read = seccomp.Retain
		}
		r, err := read(strings.Split(set, ","), errno)
		if err != nil {
			return
		}
		if _, err := seccomp.Filter(0, r); err != nil {
			t.Errorf("%q: %v", set, err)
		}
	})
}
