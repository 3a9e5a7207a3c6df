package ns

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/hostrun/network/networktest"
)

// server answers whoever says something at port 80.
const server = `busybox nc -ll -p 80 -e busybox sh -c "read x; echo inside" & echo ready; exec sleep 1000`

// TestPublishOnCNI reaches a container on a bridge by a port of the host.
func TestPublishOnCNI(t *testing.T) {
	l := newCNILab(t)
	publish := l.options("-p", "8080:80", "--publish", "127.0.0.1:8081:80")
	first := l.startReady(server, publish...)
	for _, tt := range []struct {
		address string
		from    func(func())
	}{{networktest.HostAddress + ":8080", l.host.InWorld}, {"127.0.0.1:8080", l.host.InHost}, {"127.0.0.1:8081", l.host.InHost}} {
		tt.from(func() {
			if answer, err := networktest.Ask("tcp", tt.address); err != nil || answer != "inside\n" {
				t.Errorf("%s: %q, %v", tt.address, answer, err)
			}
		})
	}
	out, err := l.command("echo ran", l.options("-p", "8080:81")...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "publish port 8080/tcp of the host: it is in use") {
		t.Errorf("the same port once more: %v: %s", err, out)
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	// The next one has it, and what the first one left is gone.
	second := l.startReady(server, publish...)
	l.host.InWorld(func() {
		if answer, err := networktest.Ask("tcp", networktest.HostAddress+":8080"); err != nil || answer != "inside\n" {
			t.Errorf("after the next start: %q, %v", answer, err)
		}
	})
	if addresses := l.leases(); len(addresses) != 1 {
		t.Errorf("leases %q", addresses)
	}
	if err := second.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = second.Wait()
	awaitNone(t, l.left)
	l.write("cni/other.conf", []byte(`{"cniVersion": "1.0.0", "name": "other", "type": "bridge"}`))
	out, err = l.command("echo ran", "--network", "cni:other", "--cni-config-dir", l.dir+"/cni", "-p", "8080:80").CombinedOutput()
	if err == nil || !strings.Contains(string(out), `none of its plugins publishes ports: add {"type": "portmap"`) {
		t.Errorf("without portmap: %v: %s", err, out)
	}
}

// TestRootlessNetwork has a user's container reach out, and be reached.
func TestRootlessNetwork(t *testing.T) {
	l := userLab(t, "[ns]")
	h := networktest.New(t)
	// Where this test runs, users may not have what they have elsewhere.
	h.Device("/dev/net/tun", unix.Mkdev(10, 200))
	h.SetFile("/etc/resolv.conf", "nameserver "+networktest.WorldAddress+"\n")
	var world string
	h.InWorld(func() {
		world = h.Serve(networktest.WorldAddress+":0", "the world\n")
		h.ServeNames(networktest.WorldAddress+":53", "www.example.org")
	})
	run := func(script string, options ...string) (string, error) {
		cmd := l.command(script, options...)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := runner.StartHere(cmd, l.dir); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		return out.String(), err
	}
	// With an end of nc's own input, Debian 12's pasta may lose that of the connection.
	out, err := run("busybox mkfifo /open; busybox nc www.example.org "+world+" 0<>/open; busybox id -u", "--network", "user")
	if err != nil || !strings.HasSuffix(out, "the world\n0\n") {
		t.Errorf("out: %v: %s", err, out)
	}
	cmd := l.command(server, "--network", "user", "-p", "8080:80")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := runner.StartHere(cmd, l.dir); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	h.InWorld(func() {
		if answer, err := networktest.Ask("tcp", networktest.HostAddress+":8080"); err != nil || answer != "inside\n" {
			t.Errorf("in: %q, %v", answer, err)
		}
	})
	for port, want := range map[string]string{
		"8080:80": "publish port 8080/tcp of the host: it is in use",
		"80:80":   "allows published ports 1024-65535; asked for: port 80/tcp",
	} {
		if out, err := run("echo ran", "--network", "user", "-p", port); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v: %s; want %q", port, err, out, want)
		}
	}
	l.write("config/policy.yaml", []byte("rules: [{name: a, match: {name: \"**\"}, require: {none: true}, tiers: [ns], allow: {ports: [80]}}]\n"))
	if err := runner.Own(l.dir + "/config/policy.yaml"); err != nil {
		t.Fatal(err)
	}
	if out, err := run("echo ran", "--network", "user", "-p", "80:80"); err == nil || !strings.Contains(out, "publish port 80/tcp of the host: only root may listen there: publish one from 1024 on") {
		t.Errorf("port 80: %v: %s", err, out)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	awaitNone(t, func() []string { return append(processesOf(t, runner), h.Processes()...) })
}

// TestPublishedPortsAreRecorded looks for them in the decision log, and in what a policy is said to allow.
func TestPublishedPortsAreRecorded(t *testing.T) {
	l := newLab(t, "[ns]\n  allow: {ports: [80/tcp]}")
	networktest.New(t)
	if out, err := l.command("true", "--network", "user", "-p", "80:8080").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	log, err := os.ReadFile(l.dir + "/config/log/decisions.jsonl")
	if err != nil || !strings.Contains(string(log), `"--publish=[80:8080]"`) {
		t.Errorf("%v: %s", err, log)
	}
	check := func(port string) string {
		out, _ := exec.Command(l.exe, "policy", "check", "--config-dir", l.dir+"/config", "--json", "--ns", "--network", "user", "-p", port, l.dir+"/app.aci").CombinedOutput()
		return string(out)
	}
	for port, want := range map[string]string{"80:80": `"allowed": true`, "81:80": "allows published ports 80/tcp; asked for: port 81/tcp", "80:1": "\"ports\": [\n      \"80/tcp\"\n    ]"} {
		if out := check(port); !strings.Contains(out, want) {
			t.Errorf("%s: %s; want %q", port, out, want)
		}
	}
}
