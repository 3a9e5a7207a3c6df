package ns

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/hostrun/network"
	"github.com/clearrun/clearrun/hostrun/network/networktest"
)

// bridge is a network of Debian's plugins.
const bridge = `{"cniVersion": "1.0.0", "name": "web", "plugins": [
	{"type": "bridge", "bridge": "test0", "isGateway": true, "ipMasq": true, "dns": {"nameservers": ["192.0.2.1"], "search": ["example.org"]},
	 "ipam": {"type": "host-local", "dataDir": %q, "subnet": "10.77.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}},
	{"type": "portmap", "capabilities": {"portMappings": true}}]}`

// cniLab is a lab with networks of CNI, in a network namespace of its own.
type cniLab struct {
	*lab
	host *networktest.Host
}

func newCNILab(t *testing.T) cniLab {
	t.Helper()
	l := cniLab{newLab(t, "[ns]\n  allow: {networks: [\"cni:web\", \"cni:other\"]}"), networktest.New(t)}
	l.host.Empty(network.StateDir)
	l.write("cni/10-web.conflist", fmt.Appendf(nil, bridge, l.dir+"/leases"))
	return l
}

func (l cniLab) options(more ...string) []string {
	return append([]string{"--network", "cni:web", "--cni-config-dir", l.dir + "/cni"}, more...)
}

// leases lists the addresses that containers have.
func (l cniLab) leases() (addresses []string) {
	found, _ := filepath.Glob(l.dir + "/leases/web/10.*")
	for _, path := range found {
		addresses = append(addresses, filepath.Base(path))
	}
	return addresses
}

// left lists all that a container has of the host's.
func (l cniLab) left() []string {
	left := l.leases()
	records, _ := filepath.Glob(network.StateDir + "/*/*/*")
	for _, pattern := range []string{"/*.json", "/*.draft", "/*.netns", "/cache/results/*"} {
		found, _ := filepath.Glob(network.StateDir + pattern)
		records = append(records, found...)
	}
	left = append(left, records...)
	for _, args := range []string{"ip -o link show type veth", "iptables-save", "ip6tables-save"} {
		words := strings.Fields(args)
		out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
		if err != nil {
			l.t.Errorf("%s: %v: %s", args, err, out)
		}
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "veth") && !strings.Contains(line, "out@") || strings.Contains(line, "clearrun-") {
				left = append(left, line)
			}
		}
	}
	return left
}

// TestCNI has two containers on a bridge, and looks at what they leave: at their end, and when
// clearrun is killed.
func TestCNI(t *testing.T) {
	l := newCNILab(t)
	var world string
	l.host.InWorld(func() { world = l.host.Serve(networktest.WorldAddress+":0", "the world\n") })
	first := l.startReady("busybox nc -ll -p 8000 -e busybox echo first & echo ready; exec sleep 1000", l.options()...)
	addresses := l.leases()
	if len(addresses) != 1 || len(l.left()) < 4 {
		t.Fatalf("leases %q; in all %q", addresses, l.left())
	}
	second := "busybox nc " + addresses[0] + " 8000; busybox nc " + networktest.WorldAddress + " " + world + "; cat /etc/resolv.conf; tail -n 1 /etc/hosts; busybox hostname -i"
	for _, userns := range []string{"host", "auto"} {
		out, err := l.command(strings.ReplaceAll(strings.ReplaceAll(second, "cat", "busybox cat"), "tail", "busybox tail"), l.options("--userns", userns)...).CombinedOutput()
		address := ""
		if lines := strings.Fields(string(out)); len(lines) > 0 {
			address = lines[len(lines)-1]
		}
		want := "first\nthe world\nnameserver 192.0.2.1\nsearch example.org\n" + address + "\tapp\n" + address + "\n"
		if err != nil || !strings.HasPrefix(address, "10.77.0.") || slices.Contains(addresses, address) || !strings.HasSuffix(string(out), want) {
			t.Errorf("--userns %s: %v: %q, want %q", userns, err, out, want)
		}
		if got := l.leases(); !slices.Equal(got, addresses) {
			t.Errorf("--userns %s: afterwards, leases %q", userns, got)
		}
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	if left := l.left(); len(left) < 4 {
		t.Errorf("killed, it left only %q: the test looks in the wrong place", left)
	}
	if out, err := l.command("true", "--network", "none").CombinedOutput(); err != nil || strings.Contains(string(out), "cni:") {
		t.Errorf("the next start: %v: %s", err, out)
	}
	awaitNone(t, l.left)
}

// TestCNIKilled kills clearrun at different times of a start, that of plugins among them.
func TestCNIKilled(t *testing.T) {
	l := newCNILab(t)
	if out, err := l.command("true", l.options("-p", "8080:80")...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out) // and the image is in the store
	}
	awaitNone(t, l.left)
	const times = 40
	for n := range times {
		cmd := l.command("true", l.options("-p", "8080:80")...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for range n {
			pause()
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	// A plugin that was running holds its record until it has ended.
	awaitNone(t, func() []string {
		if out, err := l.command("true", "--network", "none").CombinedOutput(); err != nil || strings.Contains(string(out), "cni:") {
			t.Errorf("the next start: %v: %s", err, out)
		}
		return l.left()
	})
}

// TestCNIFaults asks for networks that cannot be had.
func TestCNIFaults(t *testing.T) {
	l := newCNILab(t)
	l.write("bin/broken", []byte("#!/bin/sh\n[ $CNI_COMMAND = DEL ] || { echo '{\"code\": 11, \"msg\": \"out of luck\"}'; exit 1; }\n"))
	l.write("bin/stubborn", []byte("#!/bin/sh\n[ $CNI_COMMAND = ADD ] || { echo no more >&2; exit 1; }\necho '{\"cniVersion\": \"1.0.0\"}'\n"))
	for _, name := range []string{"broken", "stubborn"} {
		if err := os.Chmod(l.dir+"/bin/"+name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	other := func(content string) { l.write("cni/other.conf", []byte(content)) }
	run := func() (string, error) {
		out, err := l.command("echo ran", "--network", "cni:other", "--cni-config-dir", l.dir+"/cni", "--cni-plugin-dir", "/opt/cni/bin:/usr/lib/cni", "--cni-plugin-dir", l.dir+"/bin").CombinedOutput()
		return string(out), err
	}
	for _, tt := range []struct{ name, config, want string }{
		{"unknown", "", "network cni:other is unknown: " + l.dir + "/cni describes web, one of which may be meant: write other.conflist there"},
		{"not JSON", "{", "other.conf: "},
		{"no type", `{"name": "other"}`, "missing 'type'"},
		{"a name for a path", `{"name": "../other", "type": "bridge"}`, "invalid characters found in network name"},
		{"no plugin", `{"name": "other", "type": "absent"}`, `plugin "absent", which ` + l.dir + "/cni/other.conf asks for, is in none of /opt/cni/bin, /usr/lib/cni, " + l.dir + "/bin: apt install containernetworking-plugins"},
		{"no plugin for addresses", `{"name": "other", "type": "bridge", "ipam": {"type": "absent"}}`, `plugin "absent"`},
		{"an error of the plugin's", `{"cniVersion": "1.0.0", "name": "other", "type": "broken"}`, "network cni:other: plugin broken: out of luck: mend " + l.dir + "/cni/other.conf"},
		{"twice", strings.ReplaceAll(`{"name": "web", "type": "bridge"}`, "web", "other"), ""},
	} {
		if tt.name == "twice" {
			l.write("cni/third.conf", []byte(tt.config))
			tt.want = "both " + l.dir + "/cni/other.conf and " + l.dir + "/cni/third.conf are of this name"
		}
		if tt.config != "" {
			other(tt.config)
		}
		out, err := run()
		if err == nil || !strings.Contains(out, tt.want) || strings.Contains(out, "ran") {
			t.Errorf("%s: %v: %s; want %q", tt.name, err, out, tt.want)
		}
		if left := l.left(); len(left) > 0 {
			t.Errorf("%s: left: %q", tt.name, left)
		}
	}
	l.faultsAtTheEnd(run)
}

// faultsAtTheEnd has a plugin that does not undo what it did.
func (l cniLab) faultsAtTheEnd(run func() (string, error)) {
	t := l.t
	if err := os.Remove(l.dir + "/cni/third.conf"); err != nil {
		t.Fatal(err)
	}
	l.write("cni/other.conf", []byte(`{"cniVersion": "1.0.0", "name": "other", "type": "stubborn"}`))
	const says = "undo network cni:other: plugin stubborn: no more: the next start tries again"
	if out, err := run(); err != nil || !strings.Contains(out, "\nran\n") || !strings.Contains(out, says) {
		t.Errorf("a plugin that cannot undo: %v: %s", err, out)
	}
	if out, err := l.command("echo ran").CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "ran\n") || !strings.Contains(string(out), says) {
		t.Errorf("the next start: %v: %s", err, out)
	}
	l.write("bin/stubborn", []byte("#!/bin/sh\n"))
	if out, err := l.command("echo ran").CombinedOutput(); err != nil || strings.Contains(string(out), "cni:") {
		t.Errorf("when the plugin has been mended: %v: %s", err, out)
	}
	if left := l.left(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// TestCNIInterrupted has a plugin that hangs, until somebody loses patience.
func TestCNIInterrupted(t *testing.T) {
	l := newCNILab(t)
	mark := "sleep 54321" + strings.TrimLeft(filepath.Base(l.dir), "0")
	l.write("bin/hangs", []byte("#!/bin/sh\n[ $CNI_COMMAND = ADD ] || exit 0\n"+mark+"; true\n"))
	if err := os.Chmod(l.dir+"/bin/hangs", 0o755); err != nil {
		t.Fatal(err)
	}
	l.write("cni/other.conf", []byte(`{"cniVersion": "1.0.0", "name": "other", "type": "hangs"}`))
	var stderr bytes.Buffer
	cmd := l.command("echo ran", "--network", "cni:other", "--cni-config-dir", l.dir+"/cni", "--cni-plugin-dir", l.dir+"/bin")
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for len(processes(t, mark)) == 0 {
		pause()
	}
	if err := cmd.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(stderr.String(), "ended by signal 2 before the app had started") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
	if left := append(l.left(), processes(t, mark)...); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
