package main

import (
	"errors"
	"fmt"

	"github.com/clearrun/clearrun/vmrun"
)

// imageCommand is `clearrun image`.
func imageCommand(args []string, g globals, io stdio) (int, error) {
	const text = "Keep images in the store."
	if len(args) > 0 {
		switch args[0] {
		case "pull":
			return imagePull(args[1:], g, io)
		case "--help", "-h", "help":
			fmt.Fprintf(io.out, "%s\n\nUsage:\n  clearrun image pull [options] IMAGE\n", text)
			return 0, nil
		}
		return vmrun.ExitFailure, fmt.Errorf("unknown command %q: want image pull", args[0])
	}
	return vmrun.ExitFailure, errors.New("want image pull; see clearrun image --help")
}
