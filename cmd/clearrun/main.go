// Command clearrun runs a container image, if it is trusted, in a virtual machine of
// its own, or with less isolation where the policy allows it.
//
// Each sub-command is one file: argv in, one call into the packages below, exit
// code out. `clearrun image.aci` is short for `clearrun run image.aci`.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"

	"github.com/clearrun/clearrun/hostrun"
	"github.com/clearrun/clearrun/vmrun"
)

// version is set at build time.
var version = "dev"

func main() {
	if code, done := hostrun.Stage(os.Args); done {
		os.Exit(code)
	}
	os.Exit(run(os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}))
}

// stdio is where a command reads and writes.
type stdio struct {
	in       *os.File
	out, err *os.File
}

// notice tells the user something in a line of its own.
func (io stdio) notice(text string) { fmt.Fprintln(io.err, "clearrun:", text) }

// command is one sub-command.
type command struct {
	name, summary string
	run           func(args []string, g globals, io stdio) (int, error)
}

func commands() []command {
	return []command{
		{"run", "verify an image and run its app (the default command)", runCommand},
		{"image", "keep images in the store", imageCommand},
		{"trust", "manage the keys that may sign images", trustCommand},
		{"policy", "check a policy file, and what it says about an image", policyCommand},
		{"log", "show the log of decisions, or look for changes in it", logCommand},
		{"boot", "boot a kernel and show where its start spends its time", bootCommand},
		{"doctor", "say what this host offers each tier, and what it lacks", doctorCommand},
		{"version", "print the versions of clearrun and the guest it carries", versionCommand},
	}
}

// globals are the options of every command.
type globals struct {
	storeDir, configDir string
	storeQuota          string
}

// addTo makes the global options part of a command's own.
func (g *globals) addTo(f *pflag.FlagSet) {
	f.StringVar(&g.storeDir, "store", g.storeDir, "folder of the image store")
	f.StringVar(&g.storeQuota, "store-quota", g.storeQuota, "bound what all images in the store take, such as 20G (default: quota in store.yaml)")
	f.StringVar(&g.configDir, "config-dir", g.configDir, "folder of the trusted keys, the policy, the store's key and the log")
}

// run dispatches argv and turns errors into a line on stderr.
func run(args []string, io stdio) int {
	g := globals{storeDir: os.Getenv("CLEARRUN_STORE"), configDir: os.Getenv("CLEARRUN_CONFIG_DIR"), storeQuota: os.Getenv("CLEARRUN_STORE_QUOTA")}
	code, err := dispatch(args, g, io)
	if err == nil {
		return code
	}
	if errors.Is(err, pflag.ErrHelp) {
		return 0
	}
	fmt.Fprintln(io.err, "clearrun:", err)
	return code
}

func dispatch(args []string, g globals, io stdio) (int, error) {
	// Global options may stand before the command.
	lead := pflag.NewFlagSet("clearrun", pflag.ContinueOnError)
	lead.SetInterspersed(false)
	lead.ParseErrorsAllowlist.UnknownFlags = false
	g.addTo(lead)
	lead.Usage = func() {}
	rest := args
	for len(rest) > 0 && (hasFlag(rest[0], "--store") || hasFlag(rest[0], "--config-dir")) {
		n := 2
		if hasValue(rest[0]) {
			n = 1
		}
		if n > len(rest) {
			return vmrun.ExitFailure, fmt.Errorf("option %s needs a value", rest[0])
		}
		if err := lead.Parse(rest[:n]); err != nil {
			return vmrun.ExitFailure, err
		}
		rest = rest[n:]
	}
	if len(rest) == 0 || rest[0] == "help" || rest[0] == "--help" || rest[0] == "-h" {
		usage(io.out)
		if len(rest) == 0 {
			return vmrun.ExitFailure, errors.New("no image given")
		}
		return 0, nil
	}
	for _, c := range commands() {
		if rest[0] == c.name {
			return c.run(rest[1:], g, io)
		}
	}
	return runCommand(rest, g, io)
}

func hasFlag(arg, flag string) bool {
	return arg == flag || len(arg) > len(flag) && arg[:len(flag)+1] == flag+"="
}

func hasValue(arg string) bool {
	for i := range arg {
		if arg[i] == '=' {
			return true
		}
	}
	return false
}

func usage(w io.Writer) {
	fmt.Fprint(w, `Run a container image, if it is trusted, in a virtual machine of its own.

Usage:
  clearrun [--vm|--ns|--host] [options] IMAGE [-- ARGUMENT...]
  clearrun COMMAND [options]

Commands:
`)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, `
Each command has its own --help. Exit codes of a run: the app's own; 128 plus the
number of the signal that ended it; 125 for a failure of clearrun, 126 if the
command cannot be executed, 127 if it cannot be found, 124 after --timeout.
`)
}

// newFlags makes a command's flag set, whose --help prints synopsis and text.
func newFlags(synopsis, text string, g *globals, io stdio) *pflag.FlagSet {
	f := pflag.NewFlagSet("clearrun", pflag.ContinueOnError)
	f.SortFlags = false
	f.SetOutput(io.err)
	f.Usage = func() {
		fmt.Fprintf(io.out, "%s\n\nUsage:\n  clearrun %s\n\nOptions:\n%s", text, synopsis, f.FlagUsages())
	}
	g.addTo(f)
	return f
}
