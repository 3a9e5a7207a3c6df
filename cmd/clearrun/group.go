package main

import (
	"fmt"
	"strings"

	"github.com/clearrun/clearrun/vmrun"
)

// group is a command that has commands of its own.
type group struct {
	name, text string
	commands   []command
}

func (g group) run(args []string, global globals, io stdio) (int, error) {
	var names []string
	for _, c := range g.commands {
		if len(args) > 0 && args[0] == c.name {
			return c.run(args[1:], global, io)
		}
		names = append(names, c.name)
	}
	want := "want " + g.name + " " + strings.Join(names, ", ")
	if len(args) == 0 {
		return vmrun.ExitFailure, fmt.Errorf("%s; see clearrun %s --help", want, g.name)
	}
	switch args[0] {
	case "--help", "-h", "help":
		fmt.Fprintf(io.out, "%s\n\nUsage:\n", g.text)
		for _, c := range g.commands {
			fmt.Fprintf(io.out, "  clearrun %s %-8s %s\n", g.name, c.name, c.summary)
		}
		return 0, nil
	}
	return vmrun.ExitFailure, fmt.Errorf("unknown command %q: %s", args[0], want)
}
