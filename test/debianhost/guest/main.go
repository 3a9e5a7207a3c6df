// Command guest is PID 1 of the virtual machine that the test of package debianhost boots.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/clearrun/clearrun/test/debiankernel/inside"
)

func main() { inside.Main(checks) }

func checks() error {
	if err := os.MkdirAll("/var/config", 0o755); err != nil {
		return err
	}
	policy, err := os.ReadFile("/policy.yaml")
	if err != nil {
		return err
	}
	if err := os.WriteFile("/var/config/policy.yaml", policy, 0o600); err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		run  func() error
	}{
		{"dm-verity", dmVerity},
		{"fs-verity", fsVerity},
		{"cgroups", cgroups},
		{"block devices", blockDevices},
		{"a user", rootless},
		{"file systems", fileSystems},
		{"udev", udev},
	} {
		if err := part.run(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

var errNotThere = errors.New("not there")

// quoted is a check's detail, on one line.
func quoted(values ...any) string { return fmt.Sprintf("%q", fmt.Sprint(values...)) }
