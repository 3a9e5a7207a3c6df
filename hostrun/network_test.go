package hostrun_test

import (
	"net"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/hostrun/network/networktest"
	"github.com/clearrun/clearrun/pod"
)

// get is a command that prints what a server says.
func get(address string) string { return "/bin/probe get " + address }

// TestUserNetwork lets an app reach out, and look for what it must not reach.
func TestUserNetwork(t *testing.T) {
	setUp(t)
	h := networktest.New(t)
	h.SetFile("/etc/resolv.conf", "# the host's\nnameserver "+networktest.WorldAddress+"\nsearch example.org\n")
	var world string
	h.InWorld(func() {
		world = h.Serve(networktest.WorldAddress+":0", "the world\n")
		h.ServeNames(networktest.WorldAddress+":53", "www.example.org")
	})
	private := h.Serve("127.0.0.1:0", "private\n")
	user := pod.Overrides{Network: "user"}
	for _, tt := range []struct {
		name, script, want string
	}{
		{"a server of the world's", get(networktest.WorldAddress + ":" + world), "the world\n"},
		{"by name", get("www.example.org:" + world), "the world\n"},
		{"by a name in the search domain", get("www:" + world), "the world\n"},
		{"no such name", get("nowhere.example.org:"+world) + " 2>&1 | grep -o 'no such host'", "no such host\n"},
		{"the host's loopback as its own", get("127.0.0.1:"+private) + " 2>&1 | grep -o refused", "refused\n"},
		{"the host's loopback by the gateway", "/bin/busybox timeout 2 " + get(networktest.WorldAddress+":"+private) + "; true", ""},
		{"the host's loopback by frames of its own", "/bin/probe frames", ""},
		{"files", "cat /etc/resolv.conf /etc/hosts", "nameserver 169.254.1.1\nnameserver 192.0.2.1\nsearch example.org\n" +
			"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\tapp\n"},
	} {
		r := shell(t, user, tt.script)
		if r.err != nil || r.stdout != tt.want {
			t.Errorf("%s: exit code %d, %v: %q, want %q; stderr %q", tt.name, r.code, r.err, r.stdout, tt.want, r.stderr)
		}
	}
	if left := h.Processes(); len(left) > 0 {
		t.Errorf("after the app's end: %q", left)
	}
	nothingLeft(t)
}

// TestUserNetworkByTheHostsResolver has a name server that listens on the host's loopback
// alone, as systemd-resolved does.
func TestUserNetworkByTheHostsResolver(t *testing.T) {
	setUp(t)
	h := networktest.New(t)
	h.SetFile("/etc/resolv.conf", "nameserver 127.0.0.53\noptions edns0\n")
	h.ServeNames("127.0.0.53:53", "www.example.org")
	var world string
	h.InWorld(func() { world = h.Serve(networktest.WorldAddress+":0", "the world\n") })
	shell(t, pod.Overrides{Network: "user"}, get("www.example.org:"+world)+"; cat /etc/resolv.conf").
		want(t, 0, "the world\nnameserver 169.254.1.1\noptions edns0\n")
}

// TestUserNetworkOffline has a host without a way out: pasta says so itself.
func TestUserNetworkOffline(t *testing.T) {
	setUp(t)
	h := networktest.New(t)
	h.Isolate()
	r := shell(t, pod.Overrides{Network: "user"}, "true")
	if r.code != 125 || r.err == nil || !strings.Contains(r.err.Error(), "network user: ") || !strings.Contains(r.err.Error(), "a default route") {
		t.Errorf("exit code %d, %v", r.code, r.err)
	}
	if left := h.Processes(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	nothingLeft(t)
}

// published parses ports of the host.
func published(t *testing.T, list ...string) (ports []pod.Publication) {
	t.Helper()
	for _, s := range list {
		p, err := pod.ParsePublication(s)
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, p)
	}
	return ports
}

// TestPublish reaches an app from outside, and from the host.
func TestPublish(t *testing.T) {
	setUp(t)
	h := networktest.New(t)
	ports := published(t, "8080:80", "127.0.0.1:8081:81", "8090-8092:90-92", "5353:53/udp")
	for _, tt := range []struct {
		name, serve, protocol, ask string
		from                       func(func())
	}{
		{"from outside", "tcp :80", "tcp", networktest.HostAddress + ":8080", h.InWorld},
		{"from the host", "tcp :80", "tcp", "127.0.0.1:8080", h.InHost},
		{"at one address", "tcp :81", "tcp", "127.0.0.1:8081", h.InHost},
		{"of a range", "tcp :91", "tcp", networktest.HostAddress + ":8091", h.InWorld},
		{"UDP", "udp :53", "udp", networktest.HostAddress + ":5353", h.InWorld},
	} {
		var answer string
		var err error
		asked := make(chan struct{})
		ready := make(chan struct{})
		go tt.from(func() {
			defer close(asked)
			close(ready)
			answer, err = networktest.Ask(tt.protocol, tt.ask)
		})
		<-ready
		r := shell(t, pod.Overrides{Network: "user", Publish: ports}, "/bin/probe serve "+tt.serve+" inside")
		r.want(t, 0, "")
		<-asked
		if err != nil || answer != "inside" {
			t.Errorf("%s: %q, %v", tt.name, answer, err)
		}
	}
	h.InWorld(func() {
		if c, err := net.Dial("tcp", networktest.HostAddress+":8081"); err == nil {
			c.Close()
			t.Error("a port of the host's loopback interface was reached from outside")
		}
	})
	if left := h.Processes(); len(left) > 0 {
		t.Errorf("after the app's end: %q", left)
	}
}

// TestPublishFaults asks for ports that are not to be had.
func TestPublishFaults(t *testing.T) {
	setUp(t)
	h := networktest.New(t)
	taken := h.Serve("0.0.0.0:0", "somebody else")
	for port, want := range map[string]string{
		taken + ":80":                "publish port " + taken + "/tcp of the host: it is in use: end what listens there, or publish another",
		"192.0.2.77:8080:80":         "publish port 8080/tcp of 192.0.2.77: the host does not have that address",
		"8080-8090:80-90":            "",
		taken + ":80/udp":            "",
		"127.0.0.1:" + taken + ":80": "it is in use",
	} {
		r := shell(t, pod.Overrides{Network: "user", Publish: published(t, port)}, "true")
		if want == "" {
			r.want(t, 0, "")
			continue
		}
		if r.code != 125 || r.err == nil || !strings.Contains(r.err.Error(), want) {
			t.Errorf("%s: exit code %d, %v; want %q", port, r.code, r.err, want)
		}
	}
	nothingLeft(t)
}
