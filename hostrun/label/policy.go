package label

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	selinux "github.com/opencontainers/selinux/go-selinux"
)

// State is what SELinux does on this host.
type State int

// The states. A kernel without SELinux and one that has no policy loaded are both Absent.
const (
	Absent State = iota
	Permissive
	Enforcing
)

// String names the state.
func (s State) String() string { return [...]string{"absent", "permissive", "enforcing"}[s] }

// Host asks the kernel.
func Host() State {
	switch {
	case !selinux.GetEnabled():
		return Absent
	case selinux.EnforceMode() == selinux.Enforcing:
		return Enforcing
	}
	return Permissive
}

// candidate are the types that a policy has for containers: for processes, for their own
// files, and for those that all may read. The first whose labels the loaded policy has is
// taken.
type candidate struct{ process, file, shared Context }

// contextsFiles are what the host's policy says about containers: its own file, and that
// which comes with container-selinux.
func contextsFiles() []string {
	files := []string{"/usr/share/containers/selinux/contexts"}
	f, err := os.Open("/etc/selinux/config")
	if err != nil {
		return files
	}
	defer f.Close()
	if name := assignments(f)["SELINUXTYPE"]; name != "" {
		files = append([]string{filepath.Join("/etc/selinux", filepath.Base(name), "contexts/lxc_contexts")}, files...)
	}
	return files
}

// maxContexts bounds a contexts file.
const maxContexts = 64 << 10

// assignments reads lines of KEY = "value" (lxc_contexts(5), selinux_config(5)).
func assignments(r io.Reader) map[string]string {
	values := map[string]string{}
	lines := bufio.NewScanner(io.LimitReader(r, maxContexts))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		key, value, ok := strings.Cut(line, "=")
		if !ok || line[0] == '#' || line[0] == ';' {
			continue
		}
		values[strings.TrimSpace(key)] = strings.Trim(strings.TrimSpace(value), `"`)
	}
	return values
}

// candidates are the labels that the contexts files name, then those that policies are
// known to have, for hosts without the files.
func candidates(files []string, kind Kind) (list []candidate) {
	process := [...]string{Container: "process", Monitor: "kvm_process"}[kind]
	add := func(values map[string]string) {
		p, perr := ParseContext(values[process])
		f, ferr := ParseContext(values["file"])
		s, serr := ParseContext(values["ro_file"])
		if serr != nil {
			s, serr = ParseContext(sharedDefault)
		}
		if errors.Join(perr, ferr, serr) == nil {
			list = append(list, candidate{p, f, s})
		}
	}
	for _, path := range files {
		if f, err := os.Open(path); err == nil {
			add(assignments(f))
			f.Close()
		}
	}
	add(map[string]string{
		"process":     "system_u:system_r:container_t:s0",
		"kvm_process": "system_u:system_r:container_kvm_t:s0",
		"file":        "system_u:object_r:container_file_t:s0",
	})
	return list
}

// sharedDefault labels files that all containers may read.
const sharedDefault = "system_u:object_r:container_ro_file_t:s0"

// known reports whether the loaded policy has the label.
func known(c Context) bool { return selinux.SecurityCheckContext(c.String()) == nil }

// errNoTypes is a policy without types for containers.
var errNoTypes = obstacle("the loaded SELinux policy has no types for it: install your distribution's container policy (container-selinux), or clearrun's module: see docs/selinux.md")

// choose picks the types of the loaded policy.
func choose(kind Kind) (candidate, error) {
	for _, c := range candidates(contextsFiles(), kind) {
		if c.check(kind) == nil {
			return c, nil
		}
	}
	return candidate{}, errNoTypes
}

// apply puts the user's wishes into the labels.
func (c candidate) apply(o Options) candidate {
	for _, f := range []struct{ field, wish *string }{
		{&c.process.User, &o.User},
		{&c.process.Role, &o.Role},
		{&c.process.Type, &o.Type},
		{&c.file.User, &o.User},
		{&c.shared.User, &o.User},
		{&c.file.Type, &o.FileType},
	} {
		if *f.wish != "" {
			*f.field = *f.wish
		}
	}
	return c
}

// check says which of the labels the policy does not have. Containers do without shared.
func (c candidate) check(kind Kind) error {
	labels := []Context{c.process, c.file}
	if kind == Monitor {
		labels = append(labels, c.shared)
	}
	for _, x := range labels {
		if !known(x) {
			return fmt.Errorf("the loaded SELinux policy has no label %s: correct the label options of --security-opt", x)
		}
	}
	return nil
}
