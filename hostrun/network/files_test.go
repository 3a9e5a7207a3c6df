package network

import "testing"

func TestResolvConf(t *testing.T) {
	for _, tt := range []struct{ host, first, want string }{
		{"", "", ""},
		{"", "169.254.1.1", "nameserver 169.254.1.1\n"},
		{"# a comment\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch a b\n", "169.254.1.1", "nameserver 169.254.1.1\noptions edns0 trust-ad\nsearch a b\n"},
		{"nameserver\t192.0.2.1  \n\n;\nnameserver ::1\nnameserver fe80::1%eth0\nnameserver 2001:db8::1", "", "nameserver 192.0.2.1\nnameserver 2001:db8::1\n"},
		{"nameserver nonsense\nnameserver 0.0.0.0\nlone\n", "", ""},
	} {
		if got := ResolvConf(tt.host, tt.first); got != tt.want {
			t.Errorf("%q, %q: %q, want %q", tt.host, tt.first, got, tt.want)
		}
	}
}

func FuzzResolvConf(f *testing.F) {
	f.Add("nameserver 192.0.2.1\nsearch a\n# x\n")
	f.Fuzz(func(t *testing.T, host string) {
		once := ResolvConf(host, "")
		if again := ResolvConf(once, ""); again != once {
			t.Errorf("%q became %q, and then %q", host, once, again)
		}
	})
}
