package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/clearrun/clearrun/test/debiankernel/inside"
)

// demanding is a policy that has containers run under SELinux alone.
const demanding = "rules: [{name: test, match: {name: \"**\"}, require: {none: true, selinux: true}, tiers: [vm, ns]}]\n"

// tellLabel is an app that says its label, without the categories, and that of a file of its own.
const tellLabel = "busybox touch /own; busybox cat /proc/self/attr/current; echo; busybox grep -o 'context=[^,]*,*c*[0-9]*' /proc/mounts | busybox head -n 1"

// labelOptions runs apps with labels that their user asks for, beside a container that has one.
func labelOptions(taken *container) error {
	level := taken.label[strings.Index(taken.label, ":s0:")+1:]
	for _, o := range []struct {
		what    string
		options []string
		code    int
		says    string
	}{
		{"a level", []string{"label=level:s0:c3,c4"}, 0, "system_u:system_r:container_t:s0:c3,c4"},
		{"a level, the other way round", []string{"label=level:s0:c4,c3"}, 0, "system_u:system_r:container_t:s0:c3,c4"},
		{"the level of a container that runs", []string{"label=level:" + level}, 125, "level " + level + ": it belongs to a running container"},
		{"a level of users'", []string{"label=level:s0:c600,c700"}, 125, "root has the pairs with a category below c512"},
		{"another type of files", []string{"label=filetype:container_ro_file_t"}, 0, "touch: /own: Permission denied"}, // which nobody may write to
		{"a type that there is not", []string{"label=type:nothing_t"}, 125, "the loaded SELinux policy has no label system_u:system_r:nothing_t:"},
		{"no label", []string{"label=disable"}, 0, "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023"},
		{"contradictions", []string{"label=disable", "label=level:s0:c3,c4"}, 125, "contradicts"},
	} {
		var options []string
		for _, option := range o.options {
			options = append(options, "--security-opt", option)
		}
		reportRun("--security-opt "+o.what, root(""), options, o.code, o.says)
	}
	return demandSELinux()
}

// demandSELinux has a policy demand that SELinux enforces the label, while the kernel does and while it does not.
func demandSELinux() error {
	who := caller{dir: "/var/demanding"}
	if err := os.MkdirAll(who.dir+"/config", 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(who.dir, "config/policy.yaml"), []byte(demanding), 0o600); err != nil {
		return err
	}
	reportRun("SELinux is demanded and there", who, nil, 0, "system_u:system_r:container_t:s0:c")
	reportRun("SELinux is demanded, and its label is given away", who, []string{"--security-opt", "label=type:unconfined_t"}, 125, "the policy demands SELinux with the host's own types")
	if err := inside.Put(enforce, "0"); err != nil {
		return err
	}
	reportRun("SELinux is demanded and permissive", who, nil, 125, "the policy demands SELinux, which is permissive on this host: setenforce 1")
	reportRun("SELinux is permissive", root(""), nil, 0, "SELinux is permissive on this host: it logs what the labels forbid")
	return inside.Put(enforce, "1")
}

// reportRun tells whether a run ended, and said, as it was to.
func reportRun(name string, who caller, options []string, code int, says string) {
	cmd := who.command(options, "sh", "-c", tellLabel)
	out, err := cmd.CombinedOutput()
	got := cmd.ProcessState.ExitCode()
	inside.Report(name, got == code && strings.Contains(strings.ReplaceAll(string(out), "\x00", ""), says), fmt.Sprintf("%d, %v, %q", got, err, out))
}
