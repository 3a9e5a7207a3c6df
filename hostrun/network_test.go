package hostrun_test

import (
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
	if r.code != 125 || r.err == nil || !strings.Contains(r.err.Error(), "network user: ") || !strings.Contains(r.err.Error(), "routable interface") {
		t.Errorf("exit code %d, %v", r.code, r.err)
	}
	if left := h.Processes(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	nothingLeft(t)
}
