package trust_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/trust"
)

// TestPorts says at which ports of the host an app may be reached.
func TestPorts(t *testing.T) {
	const all = "80 443/tcp 1023/udp 1024/tcp 8080/tcp 8080/udp 65535/udp 8079-8081/tcp 1000-1100/tcp 127.0.0.1:8080/tcp [::1]:8080/tcp 0.0.0.0:8080/tcp"
	const free = "1024/tcp 8080/tcp 8080/udp 65535/udp 8079-8081/tcp 127.0.0.1:8080/tcp [::1]:8080/tcp 0.0.0.0:8080/tcp"
	for allow, want := range map[string]string{
		"":                                  free,
		"maxCPUs: 2":                        free,
		"ports: []":                         "",
		"ports: [8080]":                     "8080/tcp 8080/udp 127.0.0.1:8080/tcp [::1]:8080/tcp 0.0.0.0:8080/tcp",
		"ports: [8080/tcp, 443]":            "443/tcp 8080/tcp 127.0.0.1:8080/tcp [::1]:8080/tcp 0.0.0.0:8080/tcp",
		"ports: [8079-8080/tcp, 8081]":      "8080/tcp 8079-8081/tcp 127.0.0.1:8080/tcp [::1]:8080/tcp 0.0.0.0:8080/tcp",
		"ports: [\"127.0.0.1:1-65535\"]":    "127.0.0.1:8080/tcp",
		"ports: [\"[::1]:8000-9000/tcp\"]":  "[::1]:8080/tcp",
		"ports: [\"0.0.0.0:8080\", 80-443]": "443/tcp 0.0.0.0:8080/tcp",
	} {
		l := limitsOf(t, allow)
		for text := range strings.FieldsSeq(all) {
			asked, err := trust.ParsePortRule(text)
			if err != nil {
				t.Fatal(err)
			}
			if asked.Protocol == "" {
				continue // is about both, which nobody asks for
			}
			var limit *trust.LimitError
			err = l.AllowsPorts(asked)
			if allowed := strings.Contains(" "+want+" ", " "+text+" "); allowed != (err == nil) || !allowed && !errors.As(err, &limit) {
				t.Errorf("%q, %s: %v", allow, text, err)
			}
		}
	}
	ask := trust.PortRule{First: 80, Last: 80, Protocol: "tcp"}
	for allow, want := range map[string]string{
		"":                                "the policy allows published ports 1024-65535; asked for: port 80/tcp",
		"ports: []":                       "the policy allows no published ports; asked for: port 80/tcp",
		"ports: [\"[::1]:80\", 9000/udp]": "the policy allows published ports [::1]:80, 9000/udp; asked for: port 80/tcp",
	} {
		if err := limitsOf(t, allow).AllowsPorts(ask); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", allow, err, want)
		}
	}
}

func TestParsePortRule(t *testing.T) {
	for _, bad := range []string{"", "0", "65536", "-1", "+80", "80-", "90-80", "80/", "80/sctp", "80/tcp/udp", ":80", "::1:80", "[127.0.0.1]:80", "[::1:80", "localhost:80", "[fe80::1%lo]:80", "80:80", " 80", "[::ffff:127.0.0.1]:80"} {
		if r, err := trust.ParsePortRule(bad); err == nil {
			t.Errorf("%q: %v", bad, r)
		}
	}
}

// FuzzParsePortRule writes again what it has read.
func FuzzParsePortRule(f *testing.F) {
	for _, s := range []string{"80", "80-90/udp", "127.0.0.1:80/tcp", "[::1]:80", "80/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := trust.ParsePortRule(s)
		if err != nil {
			return
		}
		if again, err := trust.ParsePortRule(r.String()); err != nil || again != r {
			t.Errorf("%q: %v, then %v, %v", s, r, again, err)
		}
	})
}
