package trust_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
)

const someKey = "0123456789ABCDEF0123456789ABCDEF01234567"

// policy parses a file that must be good.
func policy(t testing.TB, text string) *trust.Policy {
	t.Helper()
	p, err := trust.ParsePolicy("policy.yaml", []byte(text), pod.Vocabulary())
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return p
}

// inspected is the evidence of an image that nobody has signed.
func inspected(t testing.TB, signature []byte, k *trust.Keyring) trust.Evidence {
	t.Helper()
	e, err := k.Inspect(context.Background(), bytes.NewReader(data), signature)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func rules(list ...string) string { return "rules:\n- " + strings.Join(list, "\n- ") + "\n" }

// TestPolicyFaults asks for every kind of mistake at its place.
func TestPolicyFaults(t *testing.T) {
	const open = "name: a\n  match: {name: \"**\"}\n  require: {none: true}"
	for _, tc := range []struct{ text, want string }{
		{"", "policy.yaml: is empty"},
		{"rules: []", "1:1: policy: has no rules"},
		{"rules: {}", "1:8: rules: want a list"},
		{"rules:", "1:1: policy: field \"rules\" is empty"},
		{"rule: []", "1:1: policy: unknown field \"rule\": want measurement, rules"},
		{"measurement: {pcr: 15}", "1:14: measurement: has no tpm: want off, optional or required"},
		{"measurement: {tpm: true}", "1:20: tpm: want off, optional or required"},
		{"measurement: {tpm: required, pcr: 7}", "1:35: pcr: 7 is the firmware's: want one from 8 to 23"},
		{"measurement: {tpm: required, pcr: 24}", "1:35: pcr: want a number from 1 to 23"},
		{"measurement: {tpm: optional, device: tpm0}", "1:38: device: \"tpm0\": want a whole path"},
		{"measurement:\n  tpm: off\n  pcr: 15", "3:3: measurement: pcr says nothing where tpm is off"},
		{"measurement: required", "1:14: measurement: want fields, such as device"},
		{"x", "1:1: policy: want fields"},
		{"rules: [", "1:8: "},
		{"rules: &a []", "rules: want a list"},
		{rules(open) + "---\nrules: []", "second document"},
		{rules(open) + "rules: []", "5:1: "},
		{rules("name: a\n  require: {none: true}"), "2:3: rule \"a\": says not which images"},
		{rules("match: {name: \"**\"}\n  require: {none: true}"), "2:3: rule: has no name"},
		{rules("name: a\n  match: {name: \"**\"}"), "2:3: rule \"a\": says not who must have signed"},
		{rules("name: a\n  match: {name: \"**\"}\n  require: {minVersion: 1.0.0}"), "says not who must have signed"},
		{rules(open + "\n  colour: red"), "5:3: rule: unknown field \"colour\""},
		{rules(open + "\n  allow: {network: host}"), "5:11: allow: unknown field \"network\""},
		{rules(open + "\n  allow: {networks: host}"), "5:21: networks: want a list"},
		{rules(open + "\n  allow: {networks: []}"), "5:21: networks: the list is empty"},
		{rules(open + "\n  allow: {networks: [none, bridge]}"), "5:28: networks: network \"bridge\": want none, host, user or cni:NAME"},
		{rules(open + "\n  allow: {networks: [\"cni:\"]}"), "5:22: networks: network \"cni:\": want cni:NAME"},
		{rules(open + "\n  allow: {networks: [\"cni:../x\"]}"), "5:22: networks: network \"cni:../x\": want cni:NAME"},
		{rules(open + "\n  allow: {networks: [none, host]}"), "5:11: rule \"a\": network host does not exist at tier vm"},
		{rules(open + "\n  tiers: [vm]\n  allow: {networks: [\"cni:a\"]}"), "6:11: rule \"a\": network cni:a does not exist at tier vm"},
		{rules(open + "\n  allow: {volumes: [\"/srv:ro\"]}"), "5:11: rule \"a\": volumes do not exist at tier vm"},
		{rules(open + "\n  allow: {ports: [80]}"), "5:11: rule \"a\": published ports do not exist at tier vm"},
		{rules(open + "\n  tiers: [ns]\n  allow: {ports: [80/sctp]}"), "6:19: ports: port \"80/sctp\": want tcp or udp"},
		{rules(open + "\n  tiers: [ns]\n  allow: {ports: [80/tcp, 1-90]}"), "6:19: ports: 80/tcp changes nothing: 1-90 allows it already"},
		{rules(open + "\n  tiers: [ns]\n  allow: {ports: [1-90, 80/tcp]}"), "ports: 80/tcp changes nothing: 1-90 allows it already"},
		{rules(open + "\n  allow: {volumes: [/srv]}"), "5:21: volumes: \"/srv\": say whether it may be written"},
		{rules(open + "\n  allow: {volumes: [\"/srv:z\"]}"), "5:21: volumes: \"/srv:z\": say whether"},
		{rules(open + "\n  allow: {volumes: [\"srv:ro\"]}"), "5:21: volumes: \"srv:ro\": want an absolute path"},
		{rules(open + "\n  allow: {volumes: [\"/srv/../etc:ro\"]}"), "5:21: volumes: \"/srv/../etc:ro\": want an absolute path"},
		{rules(open + "\n  allow: {volumes: [\"/srv/:ro\"]}"), "5:21: volumes: \"/srv/:ro\": want an absolute path"},
		{rules(open + "\n  allow: {volumes: [\"/srv/a*:ro\"]}"), "5:21: volumes: \"/srv/a*:ro\": a wildcard stands for one whole component"},
		{rules(open + "\n  allow: {volumes: [\"/srv/**:ro\"]}"), "5:21: volumes: \"/srv/**:ro\": a wildcard stands for one whole component"},
		{rules(open + "\n  tiers: [ns]\n  allow: {volumes: [\"/srv:rw\", \"/srv/keys:ro\"]}"), "6:32: volumes: /srv/keys:ro changes nothing: /srv:rw allows it already"},
		{rules(open + "\n  tiers: [ns]\n  allow: {volumes: [\"/srv/a:ro\", \"/srv/*:ro\"]}"), "6:21: volumes: /srv/a:ro changes nothing: /srv/*:ro allows it already"},
		{rules("name: a\n  match: {colour: x}"), "3:11: match: unknown field \"colour\""},
		{rules("name: a\n  match: {registry: \"a*.b\"}"), "3:21: registry \"a*.b\": a wildcard stands for one whole label"},
		{rules("name: a\n  match: {registry: \"a.b:0\"}"), "3:21: registry \"a.b:0\": want HOST or HOST:PORT"},
		{rules("name: a\n  match: {registry: \"a.b:*\"}"), "3:21: registry \"a.b:*\": want HOST or HOST:PORT"},
		{rules("name: a\n  match: {registry: a.b/c}"), "3:21: registry \"a.b/c\": want HOST or HOST:PORT"},
		{rules("name: a\n  match: {registry: a..b}"), "3:21: registry \"a..b\": want HOST or HOST:PORT"},
		{rules("name: a\n  match: {name: a.c/**, registry: \"*.b\"}\n  deny: true"), "3:25: rule \"a\": name a.c/** is in no registry *.b"},
		{rules("name: a\n  match: {name: a.b, registry: a.b}\n  deny: true"), "3:22: rule \"a\": name a.b is in no registry a.b"},
		{rules("name: a\n  match: {registry: a.b}\n  require: {signers: keyring, notOlderThan: 9d}"), "4:31: rule \"a\": notOlderThan can never be met by images of a registry"},
		{rules("name: a\n  match: {name: \"**\"}\n  require: {signers: keyring, notOlderThan: 9d, annotations: {a: b}}"), "4:31: rule \"a\": notOlderThan and annotations can never both"},
		{rules("name: a\n  match: {name: \"**\"}\n  require: {signers: [" + someKey + "], annotations: {a: b}}"), "rule \"a\": annotations can never be met: its signers are OpenPGP keys"},
		{rules("name: a\n  match: {registry: a.b}\n  require: {signers: [" + someKey + "]}"), "4:13: rule \"a\": its signers are OpenPGP keys"},
		{rules("name: a\n  match: {name: \"**\"}\n  require: {signers: keyring, selinux: true}\n  tiers: [host, ns]"), "4:31: rule \"a\": selinux is not to be had at tier host"},
		{rules(open + "\n  minTier: host"), "5:3: rule \"a\": tier host isolates nothing and must be listed"},
		{rules(open + "\n  tiers: [\"*\"]"), "5:11: tiers: tier \"*\": want vm, ns or host"},
		{rules(open + "\n  tiers: [host]\n  minTier: ns"), "5:3: rule \"a\": tier host is less than minTier ns"},
		{rules("name: a\n  match: {name: \"a/**/b\"}"), "3:17: name \"a/**/b\": ** stands only at the end"},
		{rules("name: a\n  match: {name: \"a/b*\"}"), "3:17: name \"a/b*\": a wildcard stands for whole"},
		{rules("name: a\n  match: {name: \"A/b\"}"), "3:17: name \"A/b\""},
		{rules("name: a\n  match: {digest: sha512-12}"), "3:19: digest \"sha512-12\""},
		{rules("name: a\n  match: {labels: {os: true}}"), "labels os: want text"},
		{rules("name: a\n  match: {labels: {}}"), "labels: want names with values"},
		{rules("name: a\n  match: {name: \"**\"}\n  require: {signers: all}"), "4:22: signers: want \"keyring\", \"system\" or a list"},
		{rules("name: a\n  match: {name: \"**\"}\n  require: {signers: []}"), "4:22: signers: the list is empty"},
		{rules("name: a\n  match: {name: \"**\"}\n  require: {signers: [89ABCDEF01234567]}"), "4:23: signers: \"89ABCDEF01234567\" is not a fingerprint"},
		{
			rules("name: a\n  match: {name: \"**\"}\n  require: {signers: [" + someKey + ", \"0x" + strings.ToLower(someKey) + "\"]}"),
			"4:65: signers: " + someKey + " stands here twice",
		},
		{
			rules("name: a\n  match: {name: \"**\"}\n  require:\n    signers: [" + someKey + "]\n    atLeast: 2"),
			"6:5: rule \"a\": atLeast 2 of 1 signers can never be met",
		},
		{rules("name: a\n  match: {name: \"**\"}\n  require: {signers: keyring, atLeast: 0}"), "4:40: atLeast: want a number from 1 to 64"},
		{rules("name: a\n  match: {name: \"**\"}\n  require: {none: true, signers: keyring}"), "4:25: rule \"a\": signers contradicts none: true"},
		{rules("name: a\n  match: {name: \"**\"}\n  require: {none: true, notOlderThan: 9d}"), "4:25: rule \"a\": notOlderThan contradicts"},
		{rules("name: a\n  match: {name: \"**\"}\n  require: {none: true, annotations: {a: b}}"), "4:25: rule \"a\": annotations contradicts none: true"},
		{rules("name: a\n  match: {name: \"**\"}\n  require: {signers: keyring, annotations: [a]}"), "annotations: want names with values"},
		{rules("name: a\n  match: {name: \"**\"}\n  require: {none: yes}"), "4:19: none: want true or false"},
		{rules("name: a\n  match: {name: \"**\"}\n  require: {signers: keyring, minVersion: 1.0}"), "4:43: minVersion: \"1.0\" is not a version"},
		{rules("name: a\n  match: {name: \"**\"}\n  require: {signers: keyring, notOlderThan: 1y}"), "4:45: notOlderThan: \"1y\""},
		{rules("name: a\n  match: {name: \"**\"}\n  require: {signers: keyring, notOlderThan: -1d}"), "notOlderThan: \"-1d\""},
		{rules(open + "\n  tiers: []"), "5:10: tiers: the list is empty"},
		{rules(open + "\n  tiers: [vm, vm]"), "5:15: tiers: \"vm\" stands here twice"},
		{rules(open + "\n  tiers: [kvm]"), "5:11: tiers: tier \"kvm\""},
		{rules(open + "\n  tiers: [ns, host]\n  minTier: vm"), "5:3: rule \"a\": tier host is less than minTier vm"},
		{rules(open + "\n  tiers: [vm]\n  minTier: ns"), "6:3: rule \"a\": minTier ns is not among its tiers"},
		{rules("name: a\n  match: {name: \"**\"}\n  deny: true\n  tiers: [vm]"), "5:3: rule \"a\": tiers contradicts deny: true"},
		{rules(open + "\n  deny: true"), "4:3: rule \"a\": require contradicts deny: true"},
		{rules(open + "\n  allow: {capabilities: [FLY]}"), "5:26: capabilities: capability \"FLY\" is unknown"},
		{rules(open + "\n  allow: {maxMemory: lots}"), "5:22: maxMemory: size \"lots\""},
		{rules(open + "\n  allow: {maxMemory: 0}"), "maxMemory: nothing runs without"},
		{rules(open + "\n  allow: {maxCPUs: none}"), "maxCPUs: want a number"},
		{rules(open, "name: a\n  match: {name: a.b/c}\n  deny: true"), "5:3: rule \"a\": line 2 has a rule of this name already"},
		{rules(open, "name: b\n  match: {name: a.b/c}\n  deny: true"), "5:3: rule \"b\" can never be reached: rule \"a\" in line 2"},
	} {
		_, err := trust.ParsePolicy("policy.yaml", []byte(tc.text), pod.Vocabulary())
		var faults trust.PolicyFaults
		if !errors.As(err, &faults) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s\ngot  %v\nwant %s", tc.text, err, tc.want)
		}
	}
	// All mistakes are told at once, in order.
	_, err := trust.ParsePolicy("f", []byte(rules("name: a\n  colour: 1", "name: b\n  shape: 2")), pod.Vocabulary())
	if got := strings.Split(fmt.Sprint(err), "\n"); len(got) != 2 || !strings.HasPrefix(got[0], "f:3:3:") || !strings.HasPrefix(got[1], "f:5:3:") {
		t.Errorf("got %q", got)
	}
	if _, err := trust.ParsePolicy("f", bytes.Repeat([]byte("["), 1<<20), pod.Vocabulary()); err == nil {
		t.Error("took a megabyte")
	}
}

// TestReach says which later rule an earlier one leaves nothing for.
func TestReach(t *testing.T) {
	id := digest([]byte("id")).String()
	for _, tc := range []struct {
		earlier, later string
		covered        bool
	}{
		{`name: "**"`, `name: a.b/c`, true},
		{`name: "**"`, `labels: {os: linux}`, true},
		{`name: "*"`, `labels: {os: linux}`, false},
		{`name: a.b/**`, `name: a.b/*`, true},
		{`name: a.b/**`, `name: a.b/c/**`, true},
		{`name: a.b/**`, `name: a.b`, false},
		{`name: a.b/*`, `name: a.b/**`, false},
		{`name: a.b/*`, `name: a.b/c/d`, false},
		{`name: "*/c"`, `name: a.b/c`, true},
		{`name: a.b/c`, `name: "*/c"`, false},
		{`name: a.b/c`, `name: a.b/d`, false},
		{`labels: {os: linux}`, `labels: {os: linux, arch: amd64}`, true},
		{`labels: {os: linux, arch: amd64}`, `labels: {os: linux}`, false},
		{`labels: {os: linux}`, `labels: {os: plan9}`, false},
		{`name: a.b/c, labels: {os: linux}`, `name: a.b/c`, false},
		{`digest: ` + id, `name: a.b/c, digest: ` + id, true},
		{`name: a.b/c, digest: ` + id, `digest: ` + id, false},
		{`digest: ` + id, `name: "**"`, false},
		{`registry: a.b`, `registry: a.b`, true},
		{`registry: a.b`, `registry: a.b, name: a.b/c`, true},
		{`registry: "*.b"`, `registry: a.b`, true},
		{`registry: a.b`, `registry: "*.b"`, false},
		{`registry: "*.b"`, `registry: c.a.b`, false},
		{`registry: "*.b"`, `registry: "a.b:1"`, false},
		{`registry: "*.b:1"`, `registry: "a.b:1"`, true},
		{`registry: a.b`, `name: a.b/c`, false}, // an ACI may be called that
		{`name: a.b/**`, `registry: a.b`, true},
		{`name: a.b/**`, `registry: a.b, name: "**"`, true},
		{`name: a.b/**`, `registry: "*.b"`, false},
		{`name: a.b/*`, `registry: a.b`, false},
		{`name: "*/**"`, `registry: "*.b"`, true},
		{`name: "**"`, `registry: a.b`, true},
	} {
		text := rules("name: one\n  match: {"+tc.earlier+"}\n  deny: true", "name: two\n  match: {"+tc.later+"}\n  deny: true")
		_, err := trust.ParsePolicy("f", []byte(text), pod.Vocabulary())
		if covered := err != nil && strings.Contains(err.Error(), "never be reached"); covered != tc.covered || (err != nil) != covered {
			t.Errorf("%s then %s: %v", tc.earlier, tc.later, err)
		}
	}
}

// oci makes the request one for an unsigned OCI image.
func oci(name image.Name) func(*trust.Request) {
	return func(r *trust.Request) { r.Name, r.Source, r.Evidence = name, r.Digest, trust.UnsignedOCI(r.Digest) }
}

// TestPrecedence states which rule decides, and what about, without any signature.
func TestPrecedence(t *testing.T) {
	id := digest([]byte("id"))
	const rest = "name: rest\n  match: {name: \"**\"}\n  require: {none: true}"
	none := func(name, match, more string) string {
		return "name: " + name + "\n  match: {" + match + "}\n  require: {none: true" + more + "}"
	}
	for _, tc := range []struct {
		name, policy string
		change       func(*trust.Request)
		tier         trust.Tier
		want         string // in How, or if it begins with "!" in the error
	}{
		{"first match wins", rules(none("one", "name: example.com/app", ""), rest), nil, trust.TierVM, `rule "one" (policy.yaml:2)`},
		{"an earlier misfit does not", rules(none("one", "name: example.com/ap", ""), rest), nil, trust.TierVM, `rule "rest" (policy.yaml:5)`},
		{"deny before allow", rules("name: no\n  match: {name: example.com/*}\n  deny: true", rest), nil, 0, `!is denied by rule "no" (policy.yaml:2)`},
		{"no match", rules(none("one", "name: example.org/**", "")), nil, 0, "!no rule of the policy policy.yaml matches it"},
		{"one component", rules(none("one", "name: \"*/app\"", "")), nil, trust.TierVM, `rule "one"`},
		{"below is not itself", rules(none("one", "name: example.com/app/**", "")), nil, 0, "!no rule"},
		{"digest", rules(none("one", "digest: "+id.String(), ""), rest), nil, trust.TierVM, `rule "one"`},
		{"another digest", rules(none("one", "digest: "+digest(nil).String(), ""), rest), nil, trust.TierVM, `rule "rest"`},
		{"label", rules(none("one", "labels: {os: linux}", ""), rest), nil, trust.TierVM, `rule "one"`},
		{"label's value", rules(none("one", "labels: {os: plan9}", ""), rest), nil, trust.TierVM, `rule "rest"`},
		{"label is missing", rules(none("one", "labels: {arch: arm}", ""), rest), nil, trust.TierVM, `rule "rest"`},
		{"a match is final, also if it refuses", rules("name: one\n  match: {name: example.com/app}\n  require: {signers: keyring}", rest), nil, 0, `!refused by rule "one"`},

		{"version is later", rules(none("one", "name: \"**\"", ", minVersion: 1.9.0")), nil, trust.TierVM, `rule "one"`},
		{"version is the same", rules(none("one", "name: \"**\"", ", minVersion: 1.10.0")), nil, trust.TierVM, `rule "one"`},
		{"version is earlier", rules(none("one", "name: \"**\"", ", minVersion: 1.10.1")), nil, 0, "!requires version 1.10.1 or later; found: version 1.10.0"},
		{"pre-releases come before", rules(none("one", "name: \"**\"", ", minVersion: 1.10.0")), func(r *trust.Request) {
			r.Labels = []image.NameValue{{Name: "version", Value: "1.10.0-rc1"}}
		}, 0, "!found: version 1.10.0-rc1"},
		{"version is none", rules(none("one", "name: \"**\"", ", minVersion: 1.0.0")), func(r *trust.Request) {
			r.Labels = []image.NameValue{{Name: "version", Value: "latest"}}
		}, 0, `!"latest", which is not like 1.2.3`},
		{"version is missing", rules(none("one", "name: \"**\"", ", minVersion: 1.0.0")), func(r *trust.Request) { r.Labels = nil }, 0, `!no label version or org.opencontainers.image.version`},
		{"OCI's version", rules(none("one", "name: \"**\"", ", minVersion: 1.9.0")), func(r *trust.Request) {
			r.Labels = []image.NameValue{{Name: "org.opencontainers.image.version", Value: "1.8.9"}}
		}, 0, "!found: version 1.8.9"},

		{"default tier", rules(rest), nil, trust.TierVM, ""},
		{"less than the default tier", rules(rest), func(r *trust.Request) { r.AskedTier = trust.TierNS }, 0, "!requires tier vm; found: tier ns was asked for"},
		{"least allowed tier", rules(rest + "\n  tiers: [vm, host]"), nil, trust.TierHost, ""},
		{"ns without a flag only where it is listed", rules(rest + "\n  tiers: [vm, ns]"), nil, trust.TierNS, ""},
		{"vm where it is asked for and listed", rules(rest + "\n  tiers: [vm, ns]"), func(r *trust.Request) { r.AskedTier = trust.TierVM }, trust.TierVM, ""},
		{"minTier vm stays vm", rules(rest + "\n  minTier: vm"), nil, trust.TierVM, ""},
		{"minTier vm against --ns", rules(rest + "\n  minTier: vm"), func(r *trust.Request) { r.AskedTier = trust.TierNS }, 0, "!requires tier vm; found: tier ns was asked for"},
		{"between allowed tiers", rules(rest + "\n  tiers: [host, vm]"), func(r *trust.Request) { r.AskedTier = trust.TierNS }, 0, "!requires tier host or vm; found: tier ns was asked for"},
		{"below minTier", rules(rest + "\n  minTier: ns"), func(r *trust.Request) { r.AskedTier = trust.TierHost }, 0, "!requires tier ns or vm"},
		{"minTier", rules(rest + "\n  minTier: ns"), nil, trust.TierNS, ""},
		{"above minTier", rules(rest + "\n  minTier: ns"), func(r *trust.Request) { r.AskedTier = trust.TierVM }, trust.TierVM, ""},
		{"both", rules(rest + "\n  minTier: ns\n  tiers: [vm, ns]"), nil, trust.TierNS, ""},
		{"more than is allowed", rules(rest + "\n  tiers: [ns]"), func(r *trust.Request) { r.AskedTier = trust.TierVM }, 0, "!requires tier ns; found: tier vm was asked for"},

		{"insecure is not allowed by default", rules(rest), func(r *trust.Request) { r.InsecureNoVerify = true }, 0, "!no --insecure-no-verify"},
		{"insecure is allowed", rules("name: one\n  match: {name: \"**\"}\n  require: {signers: keyring}\n  allow: {insecure: true}"), func(r *trust.Request) {
			r.InsecureNoVerify = true
		}, trust.TierVM, `not verified, rule "one"`},
		{"insecure skips no version", rules("name: one\n  match: {name: \"**\"}\n  require: {signers: keyring, minVersion: 2.0.0}\n  allow: {insecure: true}"), func(r *trust.Request) {
			r.InsecureNoVerify = true
		}, 0, "!requires version 2.0.0"},
		{"insecure does not help against deny", rules("name: no\n  match: {name: \"**\"}\n  deny: true"), func(r *trust.Request) { r.InsecureNoVerify = true }, 0, "!is denied by"},
		{"plain HTTP is not allowed by default", rules(rest), func(r *trust.Request) { r.PlainHTTP = true }, 0, "!no --plain-http"},
		{"plain HTTP is allowed", rules(rest + "\n  allow: {plainHTTP: true}"), func(r *trust.Request) { r.PlainHTTP = true }, trust.TierVM, `rule "rest"`},
		{"one bypass does not allow the other", rules(rest + "\n  allow: {plainHTTP: true}"), func(r *trust.Request) { r.PlainHTTP, r.InsecureNoVerify = true, true }, 0, "!no --insecure-no-verify"},
		{"nor the other the one", rules("name: one\n  match: {name: \"**\"}\n  require: {signers: keyring}\n  allow: {insecure: true}"), func(r *trust.Request) {
			r.PlainHTTP, r.InsecureNoVerify = true, true
		}, 0, "!no --plain-http"},
		{"all of match must fit", rules(none("one", "name: \"**\", labels: {os: linux}, digest: "+digest(nil).String(), ""), rest), nil, trust.TierVM, `rule "rest"`},
		{"a registry is a component", rules(none("one", "name: example.com/**", "")), func(r *trust.Request) { r.Name = "example.com:5000/app" }, 0, "!no rule"},
		{"with its port", rules(none("one", "name: \"example.com:5000/*\"", "")), func(r *trust.Request) { r.Name = "example.com:5000/app" }, trust.TierVM, `rule "one"`},
		{"an ACI has no registry", rules(none("one", "registry: example.com", ""), rest), nil, trust.TierVM, `rule "rest"`},
		{"an OCI image has", rules(none("one", "registry: example.com", ""), rest), oci("example.com/app"), trust.TierVM, `rule "one"`},
		{"another registry", rules(none("one", "registry: example.com", ""), rest), oci("example.org/app"), trust.TierVM, `rule "rest"`},
		{"the same host at another port", rules(none("one", "registry: example.com", ""), rest), oci("example.com:5000/app"), trust.TierVM, `rule "rest"`},
		{"the same host and port", rules(none("one", "registry: \"example.com:5000\"", ""), rest), oci("example.com:5000/app"), trust.TierVM, `rule "one"`},
		{"one label of a host", rules(none("one", "registry: \"*.example.com\"", ""), rest), oci("eu.example.com/app"), trust.TierVM, `rule "one"`},
		{"not two", rules(none("one", "registry: \"*.example.com\"", ""), rest), oci("a.eu.example.com/app"), trust.TierVM, `rule "rest"`},
		{"registry and name", rules(none("one", "registry: \"*.com\", name: \"*/app\"", ""), rest), oci("example.com/app/x"), trust.TierVM, `rule "rest"`},
		{"other bytes", rules(rest), func(r *trust.Request) { r.Source = digest(nil) }, 0, "!changed while it was read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := trust.Request{
				Name: name, Digest: id, Source: digest(data), Evidence: inspected(t, nil, newKeyring(t)), Policy: policy(t, tc.policy),
				Labels: []image.NameValue{{Name: "os", Value: "linux"}, {Name: "version", Value: "1.10.0"}},
			}
			if tc.change != nil {
				tc.change(&r)
			}
			v, err := trust.Decide(r)
			if want, refused := strings.CutPrefix(tc.want, "!"); refused {
				if err == nil || !strings.Contains(err.Error(), want) || v != (trust.Verdict{}) {
					t.Errorf("got %v, %v", v.How(), err)
				}
			} else if err != nil || !v.Grants(id) || v.Tier() != tc.tier || !strings.Contains(v.How(), want) || !v.Signer().IsZero() {
				t.Errorf("got %q at %v, %v", v.How(), v.Tier(), err)
			}
			e, _, explained := trust.Explain(r)
			if e.Allowed != (err == nil) || explained != nil && e.Decision != "" {
				t.Errorf("Explain differs: %+v, %v", e, explained)
			}
		})
	}
}

func TestZeroPolicyRefuses(t *testing.T) {
	r := trust.Request{Name: name, Digest: digest([]byte("id")), Source: digest(data), Evidence: inspected(t, nil, newKeyring(t)), Policy: &trust.Policy{}}
	for _, insecure := range []bool{false, true} {
		r.InsecureNoVerify = insecure
		if v, err := trust.Decide(r); err == nil || v != (trust.Verdict{}) {
			t.Errorf("granted: %s", v.How())
		}
	}
}

// TestPolicySigners asks for signatures, made by gpg.
func TestPolicySigners(t *testing.T) {
	g := newGnuPG(t)
	k := newKeyring(t)
	jo := g.key("jo@example.com", "ed25519", "sign", "never")
	mo := g.key("mo@example.com", "ed25519", "sign", "never")
	foreign := g.key("foreign@example.org", "ed25519", "sign", "never")
	add(t, k, string(name), g.export(jo))
	add(t, k, "", g.export(mo))
	add(t, k, "example.org", g.export(foreign))
	sign := func(users ...string) []byte {
		var all []byte
		for _, u := range users {
			all = append(all, g.sign(data, u, "--no-armor")...)
		}
		return all
	}
	old := g.sign(data, jo, "--no-armor", "--faked-system-time", "20200101T000000", "--ignore-time-conflict")
	for _, tc := range []struct {
		name, require string
		signature     []byte
		want          string // signer, or if it begins with "!" in the error
	}{
		{"any trusted key", "signers: keyring", sign(mo), mo},
		{"the nearest prefix is the signer", "signers: keyring", sign(mo, jo), jo},
		{"not one for another name", "signers: keyring", sign(foreign), "!trusted only for example.org"},
		{"nor if it is named", "signers: [" + foreign + "]", sign(foreign), "!trusted only for example.org"},
		{"named", "signers: [" + mo + "]", sign(jo, mo), mo},
		{"not named", "signers: [" + mo + "]", sign(jo), "!requires a signature of " + mo},
		{"one of two", "signers: [" + mo + ", " + jo + "]", sign(mo), mo},
		{"two of two", "signers: [" + mo + ", " + jo + "], atLeast: 2", sign(mo, jo), jo},
		{"two keys, not two signatures", "signers: keyring, atLeast: 2", sign(jo, jo), "!signatures of 2 different keys"},
		{"two of the keyring", "signers: keyring, atLeast: 2", sign(jo, foreign, mo), jo},
		{"no signature", "signers: keyring", nil, "!found: no signature"},
		{"fresh by date", "signers: keyring, notOlderThan: 2021-01-01", sign(jo), jo},
		{"fresh by days", "signers: keyring, notOlderThan: 2d", sign(jo), jo},
		{"not needed, but told", "none: true", sign(jo), jo},
	} {
		t.Run(tc.name, func(t *testing.T) {
			checkSigner(t, k, tc.require, tc.signature, tc.want)
		})
	}
	t.Run("age", func(t *testing.T) {
		// An old signature is older than its key, unless the key is old as well.
		veteran := g.key("veteran@example.com", "ed25519", "sign", "never", "--faked-system-time", "20191231T000000")
		add(t, k, string(name), g.export(veteran))
		aged := g.sign(data, veteran, "--no-armor", "--faked-system-time", "20200101T000000")
		checkSigner(t, k, "signers: keyring", aged, veteran)
		checkSigner(t, k, "signers: keyring, notOlderThan: 2020-01-01", aged, veteran)
		checkSigner(t, k, "signers: keyring, notOlderThan: 2020-01-02", aged, "!not older than 2020-01-02; found: signature of 2020-01-01")
		checkSigner(t, k, "signers: keyring, notOlderThan: 30d", aged, "!not older than 30 days")
		checkSigner(t, k, "signers: keyring", old, "!older than its key")
	})
}

func checkSigner(t *testing.T, k *trust.Keyring, require string, signature []byte, want string) {
	t.Helper()
	v, err := trust.Decide(trust.Request{
		Name: name, Digest: digest([]byte("id")), Source: digest(data), Evidence: inspected(t, signature, k),
		Policy: policy(t, rules("name: one\n  match: {name: \"**\"}\n  require: {"+require+"}")),
	})
	if text, refused := strings.CutPrefix(want, "!"); refused {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got %q, %v; want %s", v.How(), err, text)
		}
		return
	}
	if err != nil || v.Signer().Fingerprint != want || !strings.Contains(v.How(), `rule "one"`) {
		t.Errorf("got %q, %v", v.How(), err)
	}
}

// TestDocumentedPolicies takes the worked policies at their word.
func TestDocumentedPolicies(t *testing.T) {
	text, err := os.ReadFile("../docs/trust.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```yaml\n")[1:]
	if len(blocks) != 3 {
		t.Fatalf("%d policies", len(blocks))
	}
	for i, needsSignature := range []bool{true, true, false} {
		yaml, _, _ := strings.Cut(blocks[i], "```")
		if p := policy(t, yaml); p.NeedsSignature() != needsSignature {
			t.Errorf("policy %d: NeedsSignature is %v", i, p.NeedsSignature())
		}
	}
}

// TestPlaces says which file is in force.
func TestPlaces(t *testing.T) {
	for _, tc := range []struct {
		name                 string
		chosen, system, user bool // has a file
		asUser, asRoot       string
	}{
		{"none", false, false, false, "", ""},
		{"user", false, false, true, "user", ""},
		{"system", false, true, false, "system", "system"},
		{"system before user", false, true, true, "system", "system"},
		{"chosen", true, false, false, "chosen", "chosen"},
		{"chosen before user", true, false, true, "chosen", "chosen"},
		{"only root replaces the system's", true, true, true, "error", "chosen"},
	} {
		dir := t.TempDir()
		for folder, has := range map[string]bool{"chosen": tc.chosen, "system": tc.system, "user": tc.user} {
			if err := os.Mkdir(filepath.Join(dir, folder), 0o755); err != nil {
				t.Fatal(err)
			}
			if has {
				write(t, filepath.Join(dir, folder, "policy.yaml"), "x")
			}
		}
		p := trust.PolicyPlaces{Chosen: filepath.Join(dir, "chosen"), System: filepath.Join(dir, "system")}
		for root, want := range map[bool]string{false: tc.asUser, true: tc.asRoot} {
			p.Root, p.User = root, filepath.Join(dir, "user")
			if root {
				p.User = ""
			}
			got, err := p.Find()
			if (err != nil) != (want == "error") || err == nil && want == "" && got != "" ||
				err == nil && want != "" && got != filepath.Join(dir, want, "policy.yaml") {
				t.Errorf("%s: got %q, %v; want %q", tc.name, got, err, want)
			}
		}
	}
	homeless := trust.PolicyPlaces{Chosen: t.TempDir(), System: t.TempDir()}
	write(t, filepath.Join(homeless.Chosen, "policy.yaml"), "x")
	write(t, filepath.Join(homeless.System, "policy.yaml"), "x")
	if got, err := homeless.Find(); err == nil {
		t.Errorf("somebody without a home replaced the system's policy by %s", got)
	}
	dir := t.TempDir()
	p := trust.PolicyPlaces{System: dir, Chosen: dir, User: t.TempDir()}
	file := filepath.Join(dir, "policy.yaml")
	write(t, file, rules("name: a\n  match: {name: \"**\"}\n  deny: true"))
	if got, err := trust.LoadPolicy(p, pod.Vocabulary()); err != nil || got.Source() != file {
		t.Errorf("the system's folder was chosen: %v, %v", got.Source(), err)
	}
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := trust.LoadPolicy(p, pod.Vocabulary()); err == nil || !strings.Contains(err.Error(), "writable by others") {
		t.Errorf("a file that all may write: %v", err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// FuzzPolicy asks that what is taken decides, and lets nothing unsigned run unless a
// rule says so.
func FuzzPolicy(f *testing.F) {
	f.Add([]byte(rules("name: a\n  match: {name: \"a.b/*\", labels: {os: linux}}\n  deny: true", "name: b\n  match: {name: \"**\"}\n  require: {none: true, minVersion: 1.0.0}")))
	f.Add([]byte(rules("name: a\n  match: {digest: " + digest(nil).String() + "}\n  require: {signers: [" + someKey + "], atLeast: 1, notOlderThan: 9d}")))
	f.Add([]byte("measurement: {tpm: required, pcr: 16, device: /dev/tpm0}\nrules: [{name: a, match: {name: a.b/c}, deny: true}]\n"))
	f.Add([]byte("rules:\n- name: a\n  match: {name: \"**\"}\n  require: {signers: keyring}\n  tiers: [vm, ns]\n  minTier: ns\n  allow: {insecure: false, capabilities: [KILL], maxMemory: 1G, maxCPUs: 2, networks: [host, cni:a], ports: [80, \"127.0.0.1:1-9/udp\"], volumes: [\"/srv/*:ro\", \"/:ro\"]}\n"))
	f.Add([]byte("a: &x [*x]\n<<: *x\n!!str b: |\n  c\n"))
	e := inspected(f, nil, newKeyring(f))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := trust.ParsePolicy("f", text, pod.Vocabulary())
		if err != nil {
			var faults trust.PolicyFaults
			if !errors.As(err, &faults) || len(faults) == 0 {
				t.Errorf("an error without faults: %v", err)
			}
			return
		}
		v, err := trust.Decide(trust.Request{Name: name, Digest: digest([]byte("id")), Source: digest(data), Evidence: e, Policy: p})
		if err == nil && (p.NeedsSignature() || !v.Tier().Valid()) {
			t.Errorf("an unsigned image runs at tier %v: %s", v.Tier(), v.How())
		}
	})
}
