package network

import (
	"net/netip"
	"testing"
)

func TestResolvConf(t *testing.T) {
	for _, tt := range []struct {
		host string
		c    Connection
		want string
	}{
		{"", Connection{}, ""},
		{"", Connection{Resolver: "169.254.1.1"}, "nameserver 169.254.1.1\n"},
		{"# a comment\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch a b\n", Connection{Resolver: "169.254.1.1"}, "nameserver 169.254.1.1\noptions edns0 trust-ad\nsearch a b\n"},
		{"nameserver\t192.0.2.1  \n\n;\nnameserver ::1\nnameserver fe80::1%eth0\nnameserver 2001:db8::1", Connection{}, "nameserver 192.0.2.1\nnameserver 2001:db8::1\n"},
		{"nameserver nonsense\nnameserver 0.0.0.0\nlone\n", Connection{}, ""},
		{"nameserver 192.0.2.1\nsearch a\n", Connection{Resolvers: []string{"10.1.0.1", "10.1.0.2"}}, "nameserver 10.1.0.1\nnameserver 10.1.0.2\nsearch a\n"},
		{"nameserver 192.0.2.1\nsearch a\ndomain b\n", Connection{Search: []string{"x", "y"}, ResolverOptions: []string{"ndots:2"}}, "nameserver 192.0.2.1\nsearch x y\noptions ndots:2\n"},
		{"", Connection{Resolvers: []string{"10.1.0.1\nsearch evil", "", "10.1.0.2"}, Search: []string{"a b"}}, "nameserver 10.1.0.2\n"},
	} {
		if got := tt.c.ResolvConf(tt.host); got != tt.want {
			t.Errorf("%q, %+v: %q, want %q", tt.host, tt.c, got, tt.want)
		}
	}
}

func TestHosts(t *testing.T) {
	const own = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	c := Connection{Addresses: []netip.Addr{netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("fd00::2")}}
	if got, want := c.Hosts("app"), own+"10.1.0.2\tapp\nfd00::2\tapp\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := (&Connection{}).Hosts("app"), own+"127.0.1.1\tapp\n"; got != want {
		t.Errorf("without addresses: %q, want %q", got, want)
	}
}

func FuzzResolvConf(f *testing.F) {
	f.Add("nameserver 192.0.2.1\nsearch a\n# x\n")
	f.Fuzz(func(t *testing.T, host string) {
		c := &Connection{}
		once := c.ResolvConf(host)
		if again := c.ResolvConf(once); again != once {
			t.Errorf("%q became %q, and then %q", host, once, again)
		}
	})
}
