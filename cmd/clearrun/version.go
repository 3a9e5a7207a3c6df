package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/clearrun/clearrun/vmrun"
	"github.com/clearrun/clearrun/vmrun/bundle"
)

// versionInfo is what `clearrun version --json` prints.
type versionInfo struct {
	Version string
	Go      string
	Parts   map[string]string // SHA-256 of what the executable carries, by name
}

// versionCommand is `clearrun version`.
func versionCommand(args []string, g globals, io stdio) (int, error) {
	f := newFlags("version [--json]", "Print the versions of clearrun and of the guest it carries.", &g, io)
	asJSON := f.Bool("json", false, "print JSON")
	if err := f.Parse(args); err != nil {
		return vmrun.ExitFailure, err
	}
	v := versionInfo{Version: version, Go: runtime.Version(), Parts: map[string]string{}}
	if b, err := bundle.Open("/proc/self/exe"); err == nil {
		defer b.Close()
		for _, p := range b.Parts {
			v.Parts[p.Name] = p.SHA256
		}
	}
	if *asJSON {
		e := json.NewEncoder(io.out)
		e.SetIndent("", "  ")
		return 0, e.Encode(v)
	}
	fmt.Fprintf(io.out, "clearrun %s (%s)\n", v.Version, v.Go)
	for _, name := range []string{bundle.Kernel, bundle.Initramfs, bundle.Monitor} {
		if sum, ok := v.Parts[name]; ok {
			fmt.Fprintf(io.out, "%-10s sha256:%s\n", name, sum)
		} else {
			fmt.Fprintf(io.out, "%-10s missing\n", name)
		}
	}
	return 0, nil
}
