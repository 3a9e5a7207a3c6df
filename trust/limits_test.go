package trust_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/trust"
)

// limitsOf are those of a rule with this allow.
func limitsOf(t *testing.T, allow string) trust.Limits {
	t.Helper()
	text := "name: one\n  match: {name: \"**\"}\n  require: {none: true}\n  tiers: [ns, vm]"
	if allow != "" {
		text += "\n  allow: {" + allow + "}"
	}
	return decided(t, policy(t, rules(text))).Limits()
}

func decided(t *testing.T, p *trust.Policy) trust.Verdict {
	t.Helper()
	v, err := trust.Decide(trust.Request{
		Name: name, Digest: digest([]byte("id")), Source: digest(data), Evidence: inspected(t, nil, newKeyring(t)), Policy: p,
		InsecureNoVerify: p == nil,
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestNetworks says who may have which network.
func TestNetworks(t *testing.T) {
	const all = "none host user cni:a cni:b"
	for allow, want := range map[string]string{
		"":                                  "none user",
		"maxCPUs: 2":                        "none user",
		"networks: [none]":                  "none",
		"networks: [host]":                  "none host",
		"networks: [user, \"cni:a\"]":       "none user cni:a",
		"networks: [host, user, \"cni:b\"]": "none host user cni:b",
	} {
		l := limitsOf(t, allow)
		for network := range strings.FieldsSeq(all) {
			var limit *trust.LimitError
			err := l.AllowsNetwork(network)
			if allowed := strings.Contains(" "+want+" ", " "+network+" "); allowed != (err == nil) || !allowed && !errors.As(err, &limit) {
				t.Errorf("%q, network %s: %v", allow, network, err)
			}
		}
	}
	if err := limitsOf(t, "networks: [host]").AllowsNetwork("user"); err == nil || err.Error() != "the policy allows networks host; asked for: user" {
		t.Error(err)
	}
	for _, network := range []string{"", "bridge", "cni:", "cni:a/b", "HOST"} {
		if err := limitsOf(t, "networks: [host]").AllowsNetwork(network); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("network %q", network)) {
			t.Errorf("%q: %v", network, err)
		}
	}
}

// TestVolumes says who may have which of the host's folders.
func TestVolumes(t *testing.T) {
	for _, tc := range []struct {
		allow, source string
		read, write   bool
	}{
		{"", "/srv", false, false},
		{"volumes: []", "/srv", false, false},
		{"volumes: [\"/srv:rw\"]", "/srv", true, true},
		{"volumes: [\"/srv:rw\"]", "/srv/a/b", true, true},
		{"volumes: [\"/srv:rw\"]", "/srv2", false, false},
		{"volumes: [\"/srv:rw\"]", "/", false, false},
		{"volumes: [\"/srv:ro\"]", "/srv/a", true, false},
		{"volumes: [\"/srv:ro\", \"/srv/a:rw\"]", "/srv/a", true, true},
		{"volumes: [\"/srv:ro\", \"/srv/a:rw\"]", "/srv/b", true, false},
		{"volumes: [\"/home/*/src:rw\"]", "/home/jo/src/x", true, true},
		{"volumes: [\"/home/*/src:rw\"]", "/home/jo", false, false},
		{"volumes: [\"/home/*/src:rw\"]", "/home/jo/x/src", false, false},
		{"volumes: [\"/:ro\"]", "/etc/shadow", true, false},
		{"volumes: [\"/:rw\"]", "/", true, true},
		{"volumes: [\"/a:b:rw\"]", "/a:b", true, true},
	} {
		l := limitsOf(t, tc.allow)
		for readOnly, want := range map[bool]bool{true: tc.read, false: tc.write} {
			var limit *trust.LimitError
			if err := l.AllowsVolume(tc.source, readOnly); want != (err == nil) || !want && !errors.As(err, &limit) {
				t.Errorf("%q, volume %s, read-only %v: %v", tc.allow, tc.source, readOnly, err)
			}
		}
	}
	all := limitsOf(t, "volumes: [\"/:rw\"]")
	for _, source := range []string{"", ".", "srv", "/srv/", "/srv/../etc", "//srv"} {
		if err := all.AllowsVolume(source, true); err == nil || !strings.Contains(err.Error(), "want an absolute path") {
			t.Errorf("%q: %v", source, err)
		}
	}
	if err := limitsOf(t, "volumes: [\"/srv:ro\", \"/a:rw\"]").AllowsVolume("/srv", false); err == nil ||
		err.Error() != "the policy allows volumes /srv:ro, /a:rw; asked for: /srv:rw" {
		t.Error(err)
	}
}

// TestLimitsWithoutPolicy gives a laptop's user what is the user's to give, and the host's network to nobody.
func TestLimitsWithoutPolicy(t *testing.T) {
	l := decided(t, nil).Limits()
	if err := errors.Join(l.AllowsVolume("/srv", false), l.AllowsNetwork("user")); err != nil || l.AllowsNetwork("host") == nil {
		t.Errorf("%+v: %v", l, err)
	}
	var none trust.Limits
	if none.AllowsVolume("/srv", true) == nil || none.AllowsNetwork("host") == nil || none.AllowsNetwork("none") != nil {
		t.Error("the zero Limits give more than they say")
	}
	if (trust.Verdict{}).Limits().AllowsVolume("/", true) == nil {
		t.Error("the zero Verdict gives the host's files")
	}
}

// TestLimitsAreCopies keeps one who was told the limits from changing the policy.
func TestLimitsAreCopies(t *testing.T) {
	v := decided(t, policy(t, rules("name: one\n  match: {name: \"**\"}\n  require: {none: true}\n  tiers: [ns]\n  allow: {networks: [none], volumes: [\"/srv:ro\"], capabilities: [KILL]}")))
	l := v.Limits()
	l.Networks[0], l.Volumes[0].ReadOnly, l.Capabilities[0] = "host", false, "ALL"
	if l = v.Limits(); l.AllowsNetwork("host") == nil || l.AllowsVolume("/srv", false) == nil || l.Capabilities[0] != "KILL" {
		t.Errorf("changed: %+v", l)
	}
}
