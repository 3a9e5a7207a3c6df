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

// candidate is a pair of types that policies have for containers. The first whose labels the
// loaded policy has is taken.
type candidate struct{ process, file Context }

// policyDir is where the contexts files of the host's policy are.
func policyDir() string {
	f, err := os.Open("/etc/selinux/config")
	if err != nil {
		return ""
	}
	defer f.Close()
	if name := assignments(f)["SELINUXTYPE"]; name != "" {
		return filepath.Join("/etc/selinux", filepath.Base(name), "contexts")
	}
	return ""
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

// candidates are the labels that the policy's contexts files name, then those that
// policies are known to have, for hosts without the files.
func candidates(dir string) (list []candidate) {
	add := func(process, file string) {
		p, perr := ParseContext(process)
		f, ferr := ParseContext(file)
		if perr == nil && ferr == nil {
			list = append(list, candidate{p, f})
		}
	}
	lxc := map[string]string{}
	if f, err := os.Open(filepath.Join(dir, "lxc_contexts")); err == nil {
		lxc = assignments(f)
		f.Close()
	}
	add(lxc["process"], lxc["file"])
	add("system_u:system_r:container_t:s0", "system_u:object_r:container_file_t:s0")
	return list
}

// known reports whether the loaded policy has the label.
func known(c Context) bool { return selinux.SecurityCheckContext(c.String()) == nil }

// errNoTypes is a policy without types for containers.
var errNoTypes = errors.New("the loaded SELinux policy has no types for it: install your distribution's container policy (container-selinux), or clearrun's module: see docs/selinux.md")

// choose picks the types of the loaded policy.
func choose() (candidate, error) {
	for _, c := range candidates(policyDir()) {
		if known(c.process) && known(c.file) {
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
		{&c.file.Type, &o.FileType},
	} {
		if *f.wish != "" {
			*f.field = *f.wish
		}
	}
	return c
}

// check says which of the labels the policy does not have.
func (c candidate) check() error {
	for _, x := range []Context{c.process, c.file} {
		if !known(x) {
			return fmt.Errorf("the loaded SELinux policy has no label %s: correct the label options of --security-opt", x)
		}
	}
	return nil
}
