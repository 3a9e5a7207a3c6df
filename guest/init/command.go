package main

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

// defaultPath is the PATH that docker gives an app without one.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// appEnv returns the app's environment: Start's, and what docker adds to it.
func appEnv(start *proto.Start, home string) []string {
	env := append(make([]string, 0, len(start.Env)+4), start.Env...)
	for _, def := range []struct{ key, value string }{
		{"PATH", defaultPath},
		{"HOSTNAME", hostname(start)},
		{"HOME", home},
		{"TERM", "xterm"},
	} {
		if def.key == "TERM" && !start.TTY {
			continue
		}
		if _, set := lookEnv(start.Env, def.key); !set {
			env = append(env, def.key+"="+def.value)
		}
	}
	return env
}

// lookEnv returns the last value of key, as a shell would see it.
func lookEnv(env []string, key string) (value string, found bool) {
	for _, entry := range env {
		if k, v, ok := strings.Cut(entry, "="); ok && k == key {
			value, found = v, true
		}
	}
	return value, found
}

// notFound is the error of a command that is in no directory of PATH.
type notFound struct{}

func (notFound) Error() string { return "executable file not found in $PATH" }

// lookPath finds the command to execute. It looks from inside the app's root and
// directory; a name with a slash is left to exec.
func lookPath(command string, env []string) (string, error) {
	if strings.ContainsRune(command, '/') {
		return command, nil
	}
	path, _ := lookEnv(env, "PATH")
	for dir := range strings.SplitSeq(path, ":") {
		if dir == "" {
			dir = "."
		}
		var st unix.Stat_t
		candidate := dir + "/" + command
		if unix.Stat(candidate, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0 {
			return candidate, nil
		}
	}
	return "", &failure{"exec", "exec: \"" + command + "\"", notFound{}, proto.ExitNotFound}
}
