// Command probe is the app of the tests in VMs. One run of it looks at many
// things, in one process: in a VM on an emulated kernel each fork takes a second.
//
// Its first argument says what it does. What it finds it prints on stdout, as JSON or
// as lines that a test waits for; it judges nothing itself.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// modes are what probe can do, by the first argument.
func modes() map[string]func(args []string) error {
	return map[string]func([]string) error{
		"exit":         exit,
		"die":          die,
		"cat":          cat,
		"signals":      signals,
		"tty":          terminal,
		"report":       report,
		"vectors":      vectors,
		"vector-child": vectorChild,
		"power-off":    powerOff,
		"fill":         fill,
		"cpus":         cpus,
		"kthreads":     kernelThreads,
	}
}

func main() {
	mode := "exit"
	var args []string
	if asPID1 := os.Getenv("PROBE"); asPID1 != "" { // a word of the kernel's command line
		mode = asPID1
	} else if len(os.Args) > 1 {
		mode, args = os.Args[1], os.Args[2:]
	}
	run, ok := modes()[mode]
	if !ok {
		fmt.Fprintf(os.Stderr, "probe: there is no mode %q\n", mode)
		os.Exit(2)
	}
	if err := run(args); err != nil {
		fmt.Fprintf(os.Stderr, "probe %s: %v\n", strings.Join(os.Args[1:], " "), err)
		os.Exit(1)
	}
}

// printJSON prints v as one line.
func printJSON(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }
