// Command mkaci packs a folder into an App Container Image. It is for demos and
// tests; the same folder and flags give the same bytes.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

// options is what the flags say.
type options struct {
	name, version string
	root, out     string
	exec          []string
	user, group   string
	dir           string
	env           []string
	compress      string
	keepOwners    bool
}

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = build(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mkaci:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	var execJSON string
	flags := flag.NewFlagSet("mkaci", flag.ContinueOnError)
	flags.StringVar(&o.name, "name", "", "image name, such as example.com/hello")
	flags.StringVar(&o.version, "version", "", "version label")
	flags.StringVar(&o.root, "root", "", "folder that becomes the root filesystem")
	flags.StringVar(&execJSON, "exec", "", `command as JSON, such as ["/bin/hello"]; empty: no app`)
	flags.StringVar(&o.user, "user", "0", "user of the app")
	flags.StringVar(&o.group, "group", "0", "group of the app")
	flags.StringVar(&o.dir, "dir", "", "working directory of the app")
	flags.Func("env", "environment KEY=value; may be repeated", func(s string) error {
		if !strings.Contains(s, "=") {
			return fmt.Errorf("%q is not KEY=value", s)
		}
		o.env = append(o.env, s)
		return nil
	})
	flags.StringVar(&o.compress, "compress", "gzip", "gzip, bzip2, xz or none")
	flags.BoolVar(&o.keepOwners, "keep-owners", false, "keep owners and times of the files (default: root, 1970)")
	flags.StringVar(&o.out, "o", "", "file to write")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.name == "" || o.root == "" || o.out == "" || flags.NArg() > 0 {
		return o, errors.New("-name, -root and -o are required, and nothing else besides flags")
	}
	if execJSON != "" {
		if err := json.Unmarshal([]byte(execJSON), &o.exec); err != nil {
			return o, fmt.Errorf("-exec: %w", err)
		}
	}
	return o, nil
}
