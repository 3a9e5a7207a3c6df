package pod

import (
	"strings"
	"testing"

	"github.com/clearrun/clearrun/trust"
)

func TestParsePublication(t *testing.T) {
	for s, want := range map[string]string{
		"8080:80":                  "8080:80/tcp",
		"53:5353/udp":              "53:5353/udp",
		"127.0.0.1:8080:80":        "127.0.0.1:8080:80/tcp",
		"[::1]:8080:80/tcp":        "[::1]:8080:80/tcp",
		"8000-8010:9000-9010":      "8000-8010:9000-9010/tcp",
		"0.0.0.0:1-65535:1-65535":  "0.0.0.0:1-65535:1-65535/tcp",
		"":                         "!chooses no port",
		"80":                       "!chooses no port",
		"127.0.0.1::80":            "!names no port of the host",
		":80":                      "!names no port of the host",
		"8080:":                    "!is no port",
		"8080:0":                   "!is no port",
		"8080:70000":               "!is no port",
		"8080:80/sctp":             "!tcp or udp",
		"8080:80/":                 "!tcp or udp",
		"8000-8010:9000-9011":      "!differ in length",
		"8000-8010:9000":           "!differ in length",
		"8010-8000:9010-9000":      "!ends before it begins",
		"localhost:8080:80":        "!no IP address",
		"::1:8080:80":              "!brackets",
		"[::1:8080:80":             "!bracket",
		"8080:80:":                 "!no IP address",
		"[::ffff:1.2.3.4]:8080:80": "!no IP address",
	} {
		p, err := ParsePublication(s)
		if fault, bad := strings.CutPrefix(want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), fault) {
				t.Errorf("%q: %v, %v; want an error with %q", s, p, err, fault)
			}
			continue
		}
		if err != nil || p.String() != want {
			t.Errorf("%q: %v, %v; want %s", s, p, err, want)
		}
	}
}

func TestChoosePublications(t *testing.T) {
	for _, tt := range []struct {
		ports   string
		network Network
		tier    trust.Tier
		err     string
	}{
		{"8080:80 8081:80 8080:80/udp", NetworkUser, trust.TierNS, ""},
		{"8080:80", "cni:web", trust.TierNS, ""},
		{"8080:80", NetworkNone, trust.TierVM, "--ns"},
		{"8080:80", NetworkNone, trust.TierNS, "--network user"},
		{"8080:80", NetworkHost, trust.TierNS, "by itself"},
		{"8080:80", NetworkHost, trust.TierHost, "by itself"},
		{"8080:80 8080:81", NetworkUser, trust.TierNS, "the same port"},
		{"8000-8080:8000-8080 8080:81", "cni:web", trust.TierNS, "the same port"},
		{"127.0.0.1:8080:80 8080:81", "cni:web", trust.TierNS, "the same port"},
		{"127.0.0.1:8080:80 0.0.0.0:8080:81", "cni:web", trust.TierNS, "the same port"},
		{"127.0.0.1:8080:80 192.0.2.2:8080:81", "cni:web", trust.TierNS, ""},
		{"127.0.0.1:8080:80 192.0.2.2:8080:81", NetworkUser, trust.TierNS, "the same port"},
		{"2000-3023:2000-3023", NetworkUser, trust.TierNS, ""},
		{"2000-3023:2000-3023 4000:4000", NetworkUser, trust.TierNS, "more than 1024"},
	} {
		var asked []Publication
		for s := range strings.FieldsSeq(tt.ports) {
			p, err := ParsePublication(s)
			if err != nil {
				t.Fatal(err)
			}
			asked = append(asked, p)
		}
		got, err := choosePublications(asked, tt.network, tt.tier)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) || err == nil && len(got) != len(asked) {
			t.Errorf("%q on %s: %v, %v; want %q", tt.ports, tt.network, got, err, tt.err)
		}
	}
}

// FuzzParsePublication writes again what it has read.
func FuzzParsePublication(f *testing.F) {
	for _, s := range []string{"8080:80", "127.0.0.1:8080:80/udp", "[::1]:1-9:11-19", "1:2:3:4", "/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePublication(s)
		if err != nil {
			return
		}
		if again, err := ParsePublication(p.String()); err != nil || again != p || p.Count < 1 || int(p.HostPort)+p.Count > 1<<16 || int(p.Port)+p.Count > 1<<16 {
			t.Errorf("%q: %v, then %v, %v", s, p, again, err)
		}
	})
}
