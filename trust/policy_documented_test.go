package trust_test

import (
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
)

// policySchema is the schema that is shipped, compiled by a validator of JSON schemas.
func policySchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile("../docs/policy.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func schemaError(t *testing.T, s *jsonschema.Schema, text string) error {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(asJSON)))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

// TestSchemaTakesDocumentedPolicies holds the worked policies against the schema.
func TestSchemaTakesDocumentedPolicies(t *testing.T) {
	text, err := os.ReadFile("../docs/trust.md")
	if err != nil {
		t.Fatal(err)
	}
	s := policySchema(t)
	blocks := strings.Split(string(text), "```yaml\n")[1:]
	if len(blocks) != 3 {
		t.Fatalf("%d policies", len(blocks))
	}
	for i, block := range blocks {
		policy, _, _ := strings.Cut(block, "```")
		if err := schemaError(t, s, policy); err != nil {
			t.Errorf("policy %d: %v", i, err)
		}
	}
}

// TestSchemaAgreesWithParser asks both about policies that each can judge.
func TestSchemaAgreesWithParser(t *testing.T) {
	s := policySchema(t)
	const rest = "rules: [{name: a, match: {name: \"**\"}, require: {none: true}}]\n"
	for text, ok := range map[string]bool{
		rest:                                    true,
		"measurement: {tpm: off}\n" + rest:      true,
		"measurement: {tpm: optional}\n" + rest: true,
		"measurement: {tpm: required, pcr: 23, device: /dev/tpm0}\n" + rest:                                                           true,
		"measurement: {tpm: required, pcr: 7}\n" + rest:                                                                               false,
		"measurement: {tpm: required, pcr: 24}\n" + rest:                                                                              false,
		"measurement: {tpm: required, device: tpm0}\n" + rest:                                                                         false,
		"measurement: {tpm: off, pcr: 15}\n" + rest:                                                                                   false,
		"measurement: {pcr: 15}\n" + rest:                                                                                             false,
		"measurement: {tpm: maybe}\n" + rest:                                                                                          false,
		"measurement: {tpm: required}\n":                                                                                              false,
		"rules: []\n":                                                                                                                 false,
		"rules: [{name: a, match: {name: a.b/c}}]\n":                                                                                  false,
		"rules: [{name: a, match: {name: a.b/c}, deny: true}]\n":                                                                      true,
		"rules: [{name: a, match: {name: a.b/c}, deny: true, minTier: vm}]\n":                                                         false,
		"rules: [{name: a, match: {}, require: {none: true}}]\n":                                                                      false,
		"rules: [{name: a, match: {name: a.b/c}, require: {none: true, atLeast: 2}}]\n":                                               false,
		"rules: [{name: a, match: {name: a.b/c}, require: {signers: anybody}}]\n":                                                     false,
		"rules: [{name: a, match: {name: a.b/c}, require: {signers: []}}]\n":                                                          false,
		"rules: [{name: a, match: {name: a.b/c}, require: {none: true}, tiers: [kvm]}]\n":                                             false,
		"rules: [{name: a, match: {name: a.b/c}, require: {none: true}, allow: {networks: [bridge]}}]\n":                              false,
		"rules: [{name: a, match: {name: a.b/c}, require: {none: true}, tiers: [ns], allow: {ports: [80, 1-9/udp, \"[::1]:81\"]}}]\n": true,
		"rules: [{name: a, match: {name: a.b/c}, require: {none: true}, tiers: [ns], allow: {ports: []}}]\n":                          true,
		"rules: [{name: a, match: {name: a.b/c}, require: {none: true}, tiers: [ns], allow: {ports: [http]}}]\n":                      false,
		"rules: [{name: a, match: {name: a.b/c}, require: {none: true}, tiers: [ns], allow: {ports: [80/sctp]}}]\n":                   false,
		"rules: [{name: a, match: {name: a.b/c}, require: {none: true}, colour: red}]\n":                                              false,
	} {
		_, err := trust.ParsePolicy("f", []byte(text), pod.Vocabulary())
		if (err == nil) != ok {
			t.Errorf("%s: the parser says %v", text, err)
		}
		if err := schemaError(t, s, text); (err == nil) != ok {
			t.Errorf("%s: the schema says %v", text, err)
		}
	}
}
