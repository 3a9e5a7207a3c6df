// Command probe is an app of the tests' images: it tries from inside a container what a
// shell cannot, and says how it went. Exit code 0: as it must be.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "get" {
		get(os.Args[2])
		return
	}
	if len(os.Args) == 5 && os.Args[1] == "serve" {
		if err := serve(os.Args[2], os.Args[3], os.Args[4]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	for _, p := range probes {
		if len(os.Args) == 2 && os.Args[1] == p.name {
			if err := p.try(); err != nil {
				fmt.Fprintln(os.Stderr, p.name+":", err)
				os.Exit(1)
			}
			return
		}
	}
	fmt.Fprintln(os.Stderr, "no such probe")
	os.Exit(2)
}

var probes = []struct {
	name string
	try  func() error
}{
	{"euid", func() error {
		fmt.Println(os.Geteuid())
		return nil
	}},
	{"descriptors", descriptors},
	{"exe-overwrite", exeOverwrite},
	{"magic-links", magicLinks},
	{"init-is-closed", initIsClosed},
	{"trace-init", traceInit},
	{"init-has-no-rights", initHasNoRights},
	{"user-namespaces", userNamespaces},
	{"mounts", mounts},
	{"mapped-root", mappedRoot},
	{"devices", devices},
	{"kmsg", kmsg},
	{"keyrings", keyrings},
	{"sysrq", sysrq},
	{"proc-sys", procSys},
	{"masked", masked},
	{"release-agent", releaseAgent},
	{"handles", handles},
	{"terminal-input", terminalInput},
	{"other-abis", otherABIs},
	{"module", module},
	{"host-network", hostNetwork},
	{"frames", frames},
	{"handed-descriptor", handedDescriptor},
	{"abstract-socket", abstractSocket},
	{"dot-dot", dotDot},
}
